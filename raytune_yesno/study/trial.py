"""A trial that was read: its point, its epochs, how it ended."""

from dataclasses import dataclass, field
from typing import Any

from raytune_yesno.errors import one_line
from raytune_yesno.metrics import LEGACY_OBJECTIVE, Objective
from raytune_yesno.study.events import EPOCH_FIELDS
from raytune_yesno.study.store import Event
from raytune_yesno.text import format_point

LEGACY_METRIC = LEGACY_OBJECTIVE.metric.name
RANKED = ("done", "stopped")
"""Statuses of trials that may be the best: trained to the end, or stopped early."""
UNSUCCESSFUL = ("failed", "diverged")

_BOOKKEEPING = EPOCH_FIELDS - {"epoch", "seconds"}


@dataclass
class Trial:
    """A trial.

    Attributes:
        number: from 0, in the order of sampling.
        point: the sampled hyperparameters; the latest ones if a scheduler changed them.
        status: ``running`` (or interrupted), ``done``, ``stopped``, ``diverged`` or ``failed``.
        epochs: one event per epoch, of the latest attempt that trained it.
        attempts: number of starts.
        checkpoint: folder or URI of the latest checkpoint, and its epoch.
        error: one line, for a failed trial.
        objective: the metric and direction that judge the trial.
        mutations: events that copied another trial over this one, each with the previous point
            as ``before``.
        repeat_of: the number of the first trial of the same point; None for that trial itself.
        seed: the seed of a repeat; None for the study's own.
        final: whether the repeat belongs to a final round.
        replaced: epochs that a later attempt trained again; they count nowhere else.
        request: the name of the request that gave the point; None if the search proposed it.
        is_stop_requested: whether a request to stop the trial was taken.
        is_cut_off: whether the end of the search, or a changed space, stopped the trial.
        is_extended: whether the user chose to train it longer; then it is not stopped early.
        planned: pairs of an epoch and the number of epochs planned after it; more than one pair
            if the trial was extended.
        outside: why the trial does not count since the space was changed; None if it counts.
        ended: the time of its end, in seconds since 1970; 0 if it runs or the time is unknown.
    """

    number: int
    point: dict[str, Any]
    status: str = "running"
    epochs: list[Event] = field(default_factory=list)
    attempts: int = 0
    checkpoint: tuple[str, int] | None = None
    error: str | None = None
    objective: Objective = LEGACY_OBJECTIVE
    mutations: list[Event] = field(default_factory=list)
    repeat_of: int | None = None
    seed: int | None = None
    final: bool = False
    replaced: list[Event] = field(default_factory=list)
    request: str | None = None
    is_stop_requested: bool = False
    is_cut_off: bool = False
    is_extended: bool = False
    outside: str | None = None
    planned: list[tuple[int, int]] = field(default_factory=list)
    ended: float = 0.0

    def __repr__(self) -> str:
        best = f", {self.metric} {self.result}" if self.best_epoch else ""
        point = format_point(self.best_point)
        return one_line(
            f"Trial({self.number}: {self.status}, epochs {len(self.epochs)}{best}; {point})"
        )

    @property
    def best_point(self) -> dict[str, Any]:
        """The point with which the best epoch was trained."""
        if self.best_epoch and "point" in self.best_epoch:
            return dict(self.best_epoch["point"])
        best = (self.best_epoch or {}).get("epoch", 0)
        after = (event["before"] for event in self.mutations if event["epoch"] >= best)
        return next(after, self.point) if best else self.point

    @property
    def overrides(self) -> dict[str, Any]:
        """The config values in which this trial differs from the study's config."""
        return self.point if self.seed is None else {**self.point, "seed": self.seed}

    @property
    def best_epoch(self) -> Event | None:
        """The event of the best epoch, the later one of equals; None without any."""
        scored = [epoch for epoch in self.epochs if epoch.get(self.metric) is not None]
        return min(scored, key=self.score, default=None)

    @property
    def is_feasible(self) -> bool:
        """Whether the trial has a result, and it keeps all limits."""
        best = self.best_epoch
        return best is not None and self.objective.is_feasible(best)

    def planned_at(self, epoch: int, default: int) -> int:
        """Return the number of epochs that the trial was to train when it trained an epoch."""
        earlier = [epochs for after, epochs in self.planned if after < epoch]
        return earlier[-1] if earlier else default

    @property
    def last_epoch(self) -> int:
        """The largest epoch number; 0 without any."""
        return max((int(epoch["epoch"]) for epoch in self.epochs), default=0)

    def score(self, epoch: Event) -> tuple[float, ...]:
        """Return a sort key of an epoch; the smallest is the best."""
        return self.objective.epoch_score(epoch)

    @property
    def metric(self) -> str:
        """The name of the objective's metric."""
        return self.objective.metric.name

    @property
    def costs(self) -> list[tuple[int, float]]:
        """Epoch numbers and costs (see :meth:`Metric.cost`) of epochs that report the metric."""
        metric = self.objective.metric
        return [
            (epoch["epoch"], self.objective.cost(epoch))
            for epoch in self.epochs
            if epoch.get(metric.name) is not None
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the best epoch; empty without any."""
        best = self.best_epoch
        return {key: best[key] for key in best if key not in _BOOKKEEPING} if best else {}

    @property
    def result(self) -> str:
        """The best value of the objective's metric, for people."""
        return self.objective.metric.show(self.metrics.get(self.metric))

    @property
    def seconds(self) -> float:
        """Seconds of training, measured on rank 0."""
        return float(sum(epoch["seconds"] for epoch in self.epochs))
