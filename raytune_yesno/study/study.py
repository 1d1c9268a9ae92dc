"""Read a study: typed trials, tidy tables, the best, and where the time went."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.errors import one_line
from raytune_yesno.metrics import LEGACY_METRICS, Metric, Objective, build_objective
from raytune_yesno.study.clock import correct_times
from raytune_yesno.study.efficiency import Efficiency, measure_efficiency
from raytune_yesno.study.store import ENDINGS, STORE, Event, read_events

METRIC = LEGACY_METRICS[0].name

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
        metric, mode: which metric is judged by, and whether ``min`` or ``max`` is best.
        ties: other metrics that break ties, in order.
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
    metric: str = METRIC
    mode: str = "min"
    ties: tuple[Metric, ...] = ()
    mutations: list[Event] = field(default_factory=list)

    @property
    def best_point(self) -> dict[str, Any]:
        """The point that its best epoch was trained with."""
        best = (self.best_epoch or {}).get("epoch", 0)
        after = (event["before"] for event in self.mutations if event["epoch"] >= best)
        return next(after, self.point) if best else self.point

    @property
    def best_epoch(self) -> Event | None:
        """The epoch of the best metric, the later one of equals; None without any."""
        scored = [epoch for epoch in self.epochs if epoch.get(self.metric) is not None]
        return min(scored, key=self.score, default=None)

    def score(self, epoch: Event) -> tuple[float, ...]:
        """Return what orders epochs; the least is best."""
        return self.objective.epoch_score(epoch)

    @cached_property
    def objective(self) -> Objective:
        """What it is judged by."""
        return Objective(Metric(self.metric, "max" if self.mode == "max" else "min"), self.ties)

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
        metric, mode: which metric is judged by, and whether ``min`` or ``max`` is best.
        reason: why the search ended before its last trial, where it did.
        metrics: what its task declares, the objective first.
    """

    path: Path
    asked: Event
    trial_list: list[Trial]
    refit: Event | None
    searched: bool
    end_time: float
    pauses: list[tuple[float, float]]
    problems: list[str]
    metric: str = METRIC
    mode: str = "min"
    reason: str | None = None
    metrics: tuple[Metric, ...] = LEGACY_METRICS

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
        """The best of the trials that were not cut off and did not fail; None without any."""
        return next(iter(self.ranking), None)

    @cached_property
    def ranking(self) -> list[Trial]:
        """The trials that came to a result, the best first."""
        scored = [
            (trial.objective.score(best), trial)
            for trial in self.trial_list
            if trial.status in ("done", "stopped") and (best := trial.best_epoch)
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
        ``attempts``, ``error``, and the point's values as ``config.KEY``.
        """
        import pandas as pd

        rows = self.trial_rows
        return pd.DataFrame(rows, columns=None if rows else list(_TRIAL_COLUMNS))

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
        import pandas as pd

        rows = self.epoch_rows
        if not rows:
            return pd.DataFrame(columns=list(_EPOCH_COLUMNS))
        keys = dict.fromkeys(key for row in rows for key in row)
        # By columns: from ten thousand trials' rows, pandas takes several times as long.
        return pd.DataFrame({key: [row.get(key) for row in rows] for key in keys})

    @property
    def epoch_rows(self) -> list[dict[str, Any]]:
        """The rows of :attr:`epochs`, each value as it was recorded."""
        return [
            {key: value for key, value in epoch.items() if key not in ("event", "time")}
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


def load(
    path: str | Path,
    *,
    metric: str | None = None,
    mode: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Read a study, finished, running, interrupted or failed, or any Ray Tune experiment.

    Args:
        path: the study's folder; a Ray Tune experiment's, with ``result.json`` and ``params.json``
            in a folder each trial; or either's URI, ``s3://…`` or another that pyarrow knows.
        metric, mode: what to judge by, and ``min`` or ``max`` [the study's own; an experiment's
            metric is guessed where only one is possible].
        progress: called now and then with the bytes read, and all there are.

    Raises:
        InputError: there is no study, or its metric cannot be told.
    """
    from raytune_yesno.study import ray_experiment as foreign

    if "://" in str(path):
        with foreign.copy_texts(str(path)) as folder:
            study = load(folder, metric=metric, mode=mode, progress=progress)
        return replace(study, path=Path(str(path).split("?")[0]))  # a query may hold a password
    folder = Path(path)
    if not (folder / STORE).is_file() and foreign.is_experiment(folder):
        return foreign.read_experiment(folder, metric=metric, mode=mode, progress=progress)
    events, problems = read_events(folder, progress)
    objective = _read_objective(events[0], metric, mode)
    return _build_study(folder, correct_times(events), problems, objective)


def load_all(paths: Iterable[str | Path], **options: Any) -> list[Study]:
    """Read several studies, each as :func:`load` does."""
    return [load(path, **options) for path in paths]


def join_trials(studies: Sequence[Study]) -> "pd.DataFrame":
    """Return the trials of several studies as one table; the column ``study`` says whose."""
    import pandas as pd

    names = name_studies(studies)
    tables = [study.trials.assign(study=name) for study, name in zip(studies, names, strict=True)]
    columns = dict.fromkeys(["study", *(key for table in tables for key in table.columns)])
    rows = [row for table in tables for row in table.to_dict("records")]
    return pd.DataFrame(rows, columns=list(columns))


def name_studies(studies: Sequence[Study]) -> list[str]:
    """Return a name for each: the last part of its path, or as many as tell it from the others."""
    names = [study.path.absolute().parts for study in studies]
    for length in range(1, max((len(name) for name in names), default=1) + 1):
        short = ["/".join(name[-length:]) for name in names]
        if len(set(short)) == len(set(names)):
            break
    seen: Counter[str] = Counter()
    unique = []
    for name in short if names else []:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _build_study(
    folder: Path, events: list[Event], problems: list[str], objective: Objective
) -> Study:
    judged: dict[str, Any] = {"metric": objective.metric.name, "mode": objective.metric.mode}
    trials: dict[int, Trial] = {}
    refit = reason = None
    searched = False
    asked = events[0]
    unknown = 0
    for event in events:
        kind = event["event"]
        if kind == "asked" and event["trial"] in trials:
            problems = [*problems, f"trial {event['trial']}: asked for twice, the first counts"]
        elif kind == "asked":
            trials[event["trial"]] = Trial(
                event["trial"], event["point"], ties=objective.ties, **judged
            )
        elif kind == "resumed":
            asked = {**asked, **{key: event[key] for key in _MAY_CHANGE & event.keys()}}
            refit = reason = None
        elif kind == "searched":
            reason = event.get("reason")
        elif kind == "refitted":  # it names the best trial, but is no event of it
            refit = event
        elif kind == "damaged":
            problems = [*problems, one_line(f"trial {event['trial']}: {event['reason']}")]
        elif (trial := trials.get(event.get("trial", -1))) is not None:
            _apply(trial, event)
        elif "trial" in event:
            unknown += 1
        searched = kind == "searched" or (searched and kind != "resumed")
    if unknown:
        problems = [*problems, f"{unknown} events left out: of trials whose asking is lost"]
    ends = [event["time"] for event in events if event["event"] not in ("refitted", "study")]
    return Study(
        path=folder,
        asked=asked,
        trial_list=[trials[number] for number in sorted(trials)],
        refit=refit,
        reason=reason,
        searched=searched,
        end_time=max(ends, default=events[0]["time"]),
        pauses=_find_pauses(events),
        problems=problems,
        metrics=objective.metrics,
        **judged,
    )


def _read_objective(asked: Event, name: str | None, mode: str | None) -> Objective:
    """Return what a study is judged by: as it was asked, or as the reader asks now."""
    declared: Sequence[Metric] = LEGACY_METRICS
    if asked.get("metrics"):
        declared = Objective.from_dicts(asked["metrics"]).metrics
    if name and not any(name in (metric.name, metric.label) for metric in declared):
        declared = (Metric(name), *declared)
    return build_objective(declared, name or "", mode or "")


def _find_pauses(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Return from when to when nobody searched: a refit comes after the search."""
    searching = [event for event in events if event["event"] != "refitted"]
    return [
        (before["time"], event["time"])
        for before, event in itertools.pairwise(searching)
        if event["event"] == "resumed"
    ]


_MAY_CHANGE = {"trials", "time_budget", "target", "patience", "max_failures"}  # when resumed

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
    )
)

# Of tables without rows, so that code that reads a column works from the start.
_TRIAL_COLUMNS = (
    *("trial", "status", "epochs", "best_epoch", "train_loss", "valid_loss"),
    *("seconds", "attempts", "error"),
)
_EPOCH_COLUMNS = (
    *("trial", "epoch", "train_loss", "valid_loss", "seconds", "attempt"),
    *("host", "pid", "began", "ended"),
)


def _apply(trial: Trial, event: Event) -> None:
    """Bring a trial up to date with one of its events."""
    match event["event"]:
        case "started":
            trial.attempts += 1
            trial.status, trial.error = "running", None
        case "epoch":
            # A trial that was retried trains again what came after its last checkpoint.
            while trial.epochs and trial.epochs[-1]["epoch"] >= event["epoch"]:
                trial.epochs.pop()
            trial.epochs.append(event)
        case "saved":
            trial.checkpoint = (event["checkpoint"], event["epoch"])
        case "mutated":
            trial.mutations.append({**event, "before": trial.point})
            trial.point, trial.checkpoint = event["point"], (event["checkpoint"], event["epoch"])
        case "ended" if event["status"] in ENDINGS:
            trial.status, trial.error = event["status"], event.get("error")
