"""The objective: what decides between epochs and between trials, and the limits they must keep."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from raytune_yesno.metrics.metric import TRAIN_LOSS, Metric, Mode


@dataclass(frozen=True)
class Limit:
    """A bound that the result of a trial must keep.

    Example:
        >>> from raytune_yesno.metrics import Limit, Metric
        >>> limit = Limit(Metric("num_parameters"), "<=", 20000)
        >>> limit.excess({"num_parameters": 30000}), limit.excess({"num_parameters": 9000}) <= 0
        (0.5, True)

    Attributes:
        metric: the metric that is bounded.
        relation: ``<=`` or ``>=``.
        bound: the largest or the smallest value.
    """

    metric: Metric
    relation: Literal["<=", ">="]
    bound: float

    def excess(self, record: Mapping[str, Any]) -> float:
        """Return by how much of the bound a result exceeds it; at most 0 if it keeps it.

        The excess is relative to the size of the bound, or absolute for a bound of 0. It is
        infinite for a value that is missing or not finite.
        """
        cost = replace(self.metric, mode=self.mode).cost(record)
        return (cost - (self.bound if self.mode == "min" else -self.bound)) / (
            abs(self.bound) or 1.0
        )

    @property
    def mode(self) -> Mode:
        """The direction in which the limit is met."""
        return "min" if self.relation == "<=" else "max"

    def __str__(self) -> str:
        return f"{self.metric.name}{self.relation}{self.bound:.10g}"


def sum_excesses(excesses: Iterable[float]) -> float:
    """Return by how much limits are exceeded in all; 0 if they are kept."""
    return math.fsum(max(excess, 0.0) for excess in excesses)


_TIE_BREAK = 1e-7
"""What a tie-breaking metric adds to a rate at most: less than one item in a million."""

SMOOTH_EPOCHS = 3
"""Epochs over which the deciding metric is averaged before epochs are compared."""


def find_best_epoch(costs: Sequence[float], smooth: int = SMOOTH_EPOCHS) -> int | None:
    """Return the index of the best epoch, or None if no epoch has a finite value.

    Epochs are compared by the mean cost of ``smooth`` epochs, the epoch and those before it. This
    reduces the influence of chance on a small validation part. Of equal epochs, the later one wins.
    An epoch with too few epochs before it counts only if there is no other, so that an early,
    half-trained epoch cannot win for lack of smoothing. Epochs without a finite value are skipped.

    A new epoch becomes the best, or the best one stays; an earlier one never becomes the best
    later. It is therefore sufficient to keep the checkpoint of the epoch that is best so far.

    Args:
        costs: the cost of each epoch, in order, to be minimised.
        smooth: epochs in a mean; 1 compares single epochs.
    """
    found = [(index, cost) for index, cost in enumerate(costs) if math.isfinite(cost)]
    best, least = None, math.inf
    for last in range(max(0, min(smooth, len(found)) - 1), len(found)):
        recent = [cost for _, cost in found[max(0, last + 1 - smooth) : last + 1]]
        if (mean := math.fsum(recent) / len(recent)) <= least:
            best, least = found[last][0], mean
    return best


@dataclass(frozen=True)
class Objective:
    """The criterion by which epochs and trials are compared.

    Example:
        >>> from raytune_yesno.metrics import Metric, Objective
        >>> objective = Objective(Metric("accuracy", mode="max"), smooth=1)
        >>> objective.find_best([{"accuracy": 0.7}, {"accuracy": 0.9}, {"accuracy": 0.8}])
        1

    Attributes:
        metric: the metric that decides, the first objective: it chooses the best epoch of a trial.
        ties: other metrics, which break ties between trials, in order.
        smooth: epochs over which the metric is averaged before epochs are compared.
        others: further objectives. Trials are then compared by non-dominated sorting.
        limits: bounds that a result must keep.
    """

    metric: Metric
    ties: tuple[Metric, ...] = ()
    smooth: int = SMOOTH_EPOCHS
    others: tuple[Metric, ...] = ()
    limits: tuple[Limit, ...] = ()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics, the objectives first."""
        known = (*self.objectives, *self.ties, *(limit.metric for limit in self.limits))
        first: dict[str, Metric] = {}
        for metric in known:
            first.setdefault(metric.name, metric)
        return tuple(first.values())

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """The objectives, the deciding one first."""
        return (self.metric, *self.others)

    @property
    def required(self) -> tuple[Metric, ...]:
        """The metrics that every result must have: the objectives, then those with a limit."""
        return (*self.objectives, *(limit.metric for limit in self.limits))

    def costs(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return one cost for each objective; the first one is that of :meth:`cost`."""
        return (self.cost(record), *(metric.cost(record) for metric in self.others))

    def excesses(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return by how much a record exceeds each limit, see :meth:`Limit.excess`."""
        return tuple(limit.excess(record) for limit in self.limits)

    def excess(self, record: Mapping[str, Any]) -> float:
        """Return by how much a record exceeds the limits in all; 0 if it keeps them."""
        return sum_excesses(self.excesses(record))

    def is_feasible(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record keeps all limits."""
        return self.excess(record) == 0

    def score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a sort key of an epoch or trial; the smallest is best."""
        return tuple(metric.cost(record) for metric in (self.metric, *self.others, *self.ties))

    def cost(self, record: Mapping[str, Any]) -> float:
        """Return the one number that searches and schedulers minimise.

        A rate takes few values: early in training all trials may be at 100%, and a scheduler that
        sees only this number could tell none of them apart. So the first tie-breaking metric
        enters below the smallest difference between two rates.
        """
        cost = self.metric.cost(record)
        if self.metric.format == "percent" and self.ties and math.isfinite(cost):
            cost += _TIE_BREAK * math.atan(self.ties[0].cost(record)) * 2 / math.pi
        return cost

    def epoch_score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a sort key of a trial's epoch; the smallest is best.

        The key uses the value itself, not a mean: trials are ranked by the values that searches and
        schedulers receive. Of equal epochs, the later one is better.
        """
        return self.cost(record), -record["epoch"]

    def break_tie(self, records: Sequence[Mapping[str, Any]], epochs: int) -> tuple[float, ...]:
        """Return a sort key of points with equal means: the other metrics, then fewest epochs.

        Args:
            records: the best epochs of the trainings that decide.
            epochs: the epochs that a training of the point needs.
        """
        means = (
            math.fsum(metric.cost(record) for record in records) / len(records)
            for metric in self.ties
            if records
        )
        return *means, epochs

    def find_best(self, records: Sequence[Mapping[str, Any]]) -> int | None:
        """Return the index of the best epoch, see :func:`find_best_epoch`, or None.

        Args:
            records: the epochs of a run, in order.
        """
        return find_best_epoch([self.metric.cost(record) for record in records], self.smooth)

    def has_value(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has a finite value of the deciding metric."""
        return math.isfinite(self.metric.cost(record))

    def has_diverged(self, record: Mapping[str, Any]) -> bool:
        """Return whether an objective, or the training loss, is reported but not finite.

        A run ends with such an epoch. Other metrics may be undefined in some epochs.
        """
        deciding = (*self.objectives, TRAIN_LOSS)
        return any(
            metric.name in record and not math.isfinite(metric.cost(record)) for metric in deciding
        )

    def as_dicts(self) -> list[dict[str, str]]:
        """Return the metrics as plain mappings, for :meth:`from_dicts`."""
        return [asdict(metric) for metric in self.metrics]

    @classmethod
    def from_dicts(cls, plain: Iterable[Mapping[str, str]]) -> "Objective":
        """Build an objective from the result of :meth:`as_dicts`; unknown keys are ignored."""
        known = Metric.__dataclass_fields__.keys()
        first, *rest = (Metric(**{k: v for k, v in each.items() if k in known}) for each in plain)  # type: ignore[arg-type]
        return cls(first, tuple(rest))


LEGACY_METRICS = (
    Metric("valid_loss", label="loss"),
    Metric("valid_wer", format="percent", label="wer"),
    TRAIN_LOSS,
)
"""The metrics of studies that were recorded before studies declared them."""

LEGACY_OBJECTIVE = Objective(LEGACY_METRICS[0], LEGACY_METRICS[1:], smooth=1)
"""Their objective: the smallest loss of a single epoch."""
