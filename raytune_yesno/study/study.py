"""Read a study: typed trials, tidy tables, the best, and where the time went."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.errors import one_line
from raytune_yesno.metrics import LEGACY_OBJECTIVE, Metric, Objective
from raytune_yesno.study.efficiency import Efficiency, measure_efficiency
from raytune_yesno.study.store import Event

METRIC = LEGACY_OBJECTIVE.metric.name

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Trial:
    """One trial, as far as the store knows it.

    Attributes:
        number: from 0, in the order of asking.
        point: the sampled values; of a trial that another one was copied over, the latest.
        status: ``running`` (or cut off), ``done``, ``stopped``, ``diverged`` or ``failed``.
        epochs: one record an epoch, the latest attempt's where an epoch was trained twice.
        attempts: times it was started.
        checkpoint: where its latest checkpoint lies, and the epoch of that.
        error: one line, of a failed trial.
        objective: what it is judged by.
        mutations: the events by which another trial was copied over this one, with what
            its point had been until then as ``before``.
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

    @property
    def best_point(self) -> dict[str, Any]:
        """The point that its best epoch was trained with."""
        if self.best_epoch and "point" in self.best_epoch:
            return dict(self.best_epoch["point"])
        best = (self.best_epoch or {}).get("epoch", 0)
        after = (event["before"] for event in self.mutations if event["epoch"] >= best)
        return next(after, self.point) if best else self.point

    @property
    def best_epoch(self) -> Event | None:
        """The epoch of the best metric, the later one of equals; None without any."""
        scored = [epoch for epoch in self.epochs if epoch.get(self.metric) is not None]
        return min(scored, key=self.score, default=None)

    @property
    def last_epoch(self) -> int:
        """The greatest number of an epoch; 0 without any."""
        return max((int(epoch["epoch"]) for epoch in self.epochs), default=0)

    def score(self, epoch: Event) -> tuple[float, ...]:
        """Return what orders epochs; the least is best."""
        return self.objective.epoch_score(epoch)

    @property
    def metric(self) -> str:
        """The name of the metric that decides."""
        return self.objective.metric.name

    @property
    def costs(self) -> list[tuple[int, float]]:
        """Epochs and their costs (see :meth:`Metric.cost`), where the metric was reported."""
        metric = self.objective.metric
        return [
            (epoch["epoch"], metric.cost(epoch))
            for epoch in self.epochs
            if epoch.get(metric.name) is not None
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the best epoch; empty without any."""
        best = self.best_epoch
        return {key: best[key] for key in best if key not in _BOOKKEEPING} if best else {}

    @property
    def seconds(self) -> float:
        """Seconds inside the training loop, on its first rank."""
        return float(sum(epoch["seconds"] for epoch in self.epochs))


@dataclass(frozen=True)
class Study:
    """A study as its store tells it.

    Attributes:
        path: its folder.
        asked: the first event: config, space, search, scheduler, trials, seed, corpus, versions;
            trials and stop conditions as they were last asked for.
        trial_list: in the order of their numbers.
        refit: the refit's event, if it came to that.
        searched: the search came to its end.
        end_time: when the search ended, or the last that was heard of it.
        pauses: from when to when it stood still, interrupted or killed.
        problems: what was left out, and why.
        objective: what it is judged by, and the other metrics that its task declares.
        metric_source, mode_source: where these come from; empty if the study itself says so.
        ranked: statuses of trials that may be the best.
        reason: why the search ended before its last trial, where it did.
    """

    path: Path
    asked: Event
    trial_list: list[Trial]
    refit: Event | None
    searched: bool
    end_time: float
    pauses: list[tuple[float, float]]
    problems: list[str]
    objective: Objective = LEGACY_OBJECTIVE
    metric_source: str = ""
    mode_source: str = ""
    ranked: tuple[str, ...] = ("done", "stopped")
    reason: str | None = None

    @property
    def metric(self) -> str:
        """The name of the metric that decides."""
        return self.objective.metric.name

    @property
    def mode(self) -> str:
        """Whether ``min`` or ``max`` of it is best."""
        return self.objective.metric.mode

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that its task declares, the one that decides first."""
        return self.objective.metrics

    def find_metric(self, name: str) -> Metric:
        """Return how a metric is read; a plain number if its task does not declare it."""
        return next((known for known in self.metrics if known.name == name), Metric(name))

    @property
    def task(self) -> str:
        """The name of its task; empty where the record does not say, or says no name."""
        name = self.asked.get("config", {}).get("task")
        return name if isinstance(name, str) else ""

    @property
    def data(self) -> str | None:
        """How its corpus was named; None where the task has none."""
        return str(self.asked["data"]) if self.asked.get("corpus") else None

    @property
    def best(self) -> Trial | None:
        """The first of :attr:`ranking`; None without any."""
        return next(iter(self.ranking), None)

    @cached_property
    def ranking(self) -> list[Trial]:
        """The trials with a result and a status that may be the best, the best first."""
        scored = [
            (trial.objective.score(best), trial)
            for trial in self.trial_list
            if trial.status in self.ranked and (best := trial.best_epoch)
        ]
        return [trial for _, trial in sorted(scored, key=lambda pair: pair[0])]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.absolute().name

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """One row a trial.

        Columns: ``trial``, ``status``, ``epochs`` (trained), ``best_epoch``, the metrics of that
        epoch (``train_loss``, ``valid_loss``, ``valid_wer``), ``seconds`` (in the training loop),
        ``attempts``, ``error``, and the point's values as ``config.KEY``. Of a Ray Tune experiment,
        a metric that is named like a column of ours is ``metric.NAME``.
        """
        return _build_table(self.trial_rows, TRIAL_COLUMNS)

    @property
    def trial_rows(self) -> list[dict[str, Any]]:
        """The rows of :attr:`trials`, each value as it was recorded."""
        rows = []
        for trial in self.trial_list:
            metrics = dict(trial.metrics)
            best_epoch = metrics.pop("epoch", None)
            metrics.pop("seconds", None)
            rows.append(
                {
                    "trial": trial.number,
                    "status": trial.status,
                    "epochs": len(trial.epochs),
                    "best_epoch": best_epoch,
                    **({"train_loss": None} if self.metric == METRIC else {}),
                    self.metric: None,
                    **metrics,
                    "seconds": trial.seconds,
                    "attempts": trial.attempts,
                    "error": trial.error,
                    **{f"config.{key}": value for key, value in trial.best_point.items()},
                }
            )
        return rows

    @cached_property
    def epochs(self) -> "pd.DataFrame":
        """One row a trial and epoch: ``trial``, ``epoch``, metrics, ``seconds``, ``attempt``,
        ``host``, ``pid``, and ``began`` and ``ended``, seconds since 1970 on the worker's clock."""
        return _build_table(self.epoch_rows, EPOCH_COLUMNS)

    @property
    def epoch_rows(self) -> list[dict[str, Any]]:
        """The rows of :attr:`epochs`, each value as it was recorded."""
        return [
            {key: value for key, value in epoch.items() if key not in _UNLISTED}
            for trial in self.trial_list
            for epoch in trial.epochs
        ]

    @property
    def num_slots(self) -> int:
        """Trials at a time."""
        return int(self.asked.get("slots", 1))

    @cached_property
    def efficiency(self) -> Efficiency | None:
        """Where the time went; None before the first epoch."""
        return measure_efficiency(
            [epoch for trial in self.trial_list for epoch in trial.epochs],
            num_slots=self.num_slots,
            asked_at=self.asked["time"],
            end=self.end_time,
            pauses=self.pauses,
        )


def join_trials(studies: Sequence[Study]) -> "pd.DataFrame":
    """Return the trials of several studies as one table; the column ``study`` says whose."""
    rows = [
        {"study": name, **row}
        for name, study in zip(name_studies(studies), studies, strict=True)
        for row in study.trial_rows
    ]
    return _build_table(rows, ("study", *(TRIAL_COLUMNS if studies else ())))


def name_studies(studies: Sequence[Study]) -> list[str]:
    """Return a name for each: the last part of its path, or as many as tell it from the others."""
    names = [study.path.absolute().parts for study in studies]
    for length in range(1, max((len(name) for name in names), default=1) + 1):
        short = [one_line("/".join(name[-length:])) for name in names]
        if len(set(short)) == len(set(names)):
            break
    seen: Counter[str] = Counter()
    unique = []
    for name in short if names else []:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


_BOOKKEEPING = frozenset(
    (
        "event",
        "time",
        "trial",
        "attempt",
        "host",
        "node",
        "pid",
        "device",
        "began",
        "ended",
        "diverged",
        "point",
    )
)

_UNLISTED = frozenset(("event", "time", "point"))  # fields of an epoch that its table leaves out

# Of tables without rows, so that code that reads a column works from the start.
TRIAL_COLUMNS = (
    *("trial", "status", "epochs", "best_epoch", "train_loss", "valid_loss"),
    *("seconds", "attempts", "error"),
)
EPOCH_COLUMNS = (
    *("trial", "epoch", "train_loss", "valid_loss", "seconds", "attempt"),
    *("host", "pid", "began", "ended"),
)


def _build_table(rows: Sequence[dict[str, Any]], columns: Iterable[str]) -> "pd.DataFrame":
    """Return rows as a table; ``columns`` are those of a table without rows."""
    import pandas as pd

    if not rows:
        return pd.DataFrame(columns=list(columns))
    keys = dict.fromkeys(key for row in rows for key in row)
    # By columns: from ten thousand trials' rows, pandas takes several times as long.
    table = pd.DataFrame({key: [row.get(key) for row in rows] for key in keys})
    for key in keys:
        # Beside a missing value, pandas makes floats of integers, which rounds large ones.
        if table[key].dtype == "float64" and table[key].abs().max() > 2**53:
            values = [row.get(key) for row in rows]
            if any(isinstance(value, int) for value in values):
                table[key] = pd.Series(values, dtype=object)
    return table
