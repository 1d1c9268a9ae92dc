"""A study that was read: its trials, tables, best trial and efficiency."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.config import Config, declare_task, find_task, upgrade_config
from raytune_yesno.errors import InputError, one_line
from raytune_yesno.metrics import LEGACY_OBJECTIVE, METRIC_PREFIX, Metric, Objective
from raytune_yesno.space import parse_space
from raytune_yesno.space.choice import freeze
from raytune_yesno.study import front
from raytune_yesno.study.candidates import Candidate, list_candidates, rank_trials
from raytune_yesno.study.efficiency import Efficiency, measure_efficiency, omit_pauses
from raytune_yesno.study.notebook import study_to_html
from raytune_yesno.study.requests import ENQUEUE
from raytune_yesno.study.store import Event
from raytune_yesno.study.trial import LEGACY_METRIC, RANKED, Trial
from raytune_yesno.task_declaration import TaskDeclaration
from raytune_yesno.text import format_seconds, plural

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Study:
    """A study that was read, or an experiment of Ray Tune.

    :attr:`best` is the best trial, :attr:`front` has the best compromises of several objectives.
    :attr:`trials` and :attr:`epochs` are tables of pandas.

    Example:
        >>> from raytune_yesno.study import load
        >>> study = load("studies/first")  # doctest: +SKIP
        >>> study.best.best_point, study.best.metrics["valid_loss"]  # doctest: +SKIP
        ({'learning_rate': 0.0031, 'dropout': 0.12}, 0.0127)
        >>> study.trials.groupby("status")["epochs"].mean()  # doctest: +SKIP

    Attributes:
        path: the study's folder.
        settings: the fields of the first event: config, space, search, scheduler, trials, seed,
            data, versions. What may change on resume is as the last resumption left it.
        trial_list: the trials by number.
        refit: the refit's event; None without one.
        refits: the events of all refits since the search ended; more than one with ``refit: all``.
        searched: whether the search and its final round have ended.
        end_time: when the search ended, else the time of its last event; seconds since 1970.
        pauses: start and end of each interruption, in seconds since 1970.
        problems: a message for everything that was left out, with the reason.
        objective: the metric and direction that judge trials, and the task's other metrics.
        metric_source: where the metric comes from; empty for the study itself.
        mode_source: where the direction comes from; empty for the study itself.
        ranked: statuses of trials that may be the best.
        reason: why the search ended before its last trial; None otherwise.
        finalists: the first trials of the points of the current final round; None without one.
        final_from: the number of its first trial.
        begun_with: the fields of the first event, unchanged by resumptions.
        requests: the requests that were taken, see :mod:`raytune_yesno.study.requests`.
        is_stop_requested: whether a request to stop the search was taken and not yet carried out.
        counts_from: when a search that had ended was extended, or the space was changed, for the
            last time; patience and failures are counted from there. Seconds since 1970; 0 for from
            the beginning.
        slot_changes: the times of resumptions, in seconds since 1970, and the number of slots from
            then on.
    """

    path: Path
    settings: Event
    trial_list: list[Trial]
    refit: Event | None
    searched: bool
    end_time: float
    pauses: list[tuple[float, float]]
    problems: list[str]
    objective: Objective = LEGACY_OBJECTIVE
    metric_source: str = ""
    mode_source: str = ""
    ranked: tuple[str, ...] = RANKED
    reason: str | None = None
    finalists: list[int] | None = None
    final_from: int | None = None
    begun_with: Event = field(default_factory=dict)
    requests: list[Event] = field(default_factory=list)
    refits: list[Event] = field(default_factory=list)
    is_stop_requested: bool = False
    counts_from: float = 0.0
    slot_changes: list[tuple[float, int]] = field(default_factory=list)

    def __repr__(self) -> str:
        return one_line(f"Study({str(self.path)!r}: {', '.join(self._facts)})")

    def _repr_html_(self) -> str:
        return study_to_html(self.name, self._facts, [each.trial for each in self.candidates])

    @property
    def _facts(self) -> list[str]:
        count, best = len(self.trial_list), self.best
        facts = [
            self.method,
            plural(count, "trial"),
            "" if self.searched else "not finished",
            f"best {self.metric} {best.result} (trial {best.number})" if best else "no result",
            format_seconds(self.duration),
        ]
        return [fact for fact in facts if fact]

    @property
    def metric(self) -> str:
        """The name of the objective's metric."""
        return self.objective.metric.name

    @property
    def mode(self) -> str:
        """The direction of the metric: ``min`` or ``max``."""
        return self.objective.metric.mode

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the task, the objective first."""
        return self.objective.metrics

    def find_metric(self, name: str) -> Metric:
        """Return the declaration of a metric; a default one if the task does not declare it."""
        return next((known for known in self.metrics if known.name == name), Metric(name))

    @property
    def method(self) -> str:
        """The search and the scheduler, as far as the record names them: ``tpe + asha``."""
        names = (self.settings.get("search"), self.settings.get("scheduler"))
        return " + ".join(str(name) for name in names if name)

    @property
    def config(self) -> Mapping[str, Any]:
        """The recorded config of all trials; empty if the record has none."""
        config: Mapping[str, Any] = self.settings.get("config", {})
        return config

    def config_of(self, trial: Trial) -> dict[str, Any]:
        """Return the config of a trial at its best epoch, without the trial's own point.

        The learning rate followed the number of epochs that was planned then, see ``extended``.
        """
        config = upgrade_config(self.config)
        if best := trial.best_epoch:
            planned = trial.planned_at(best["epoch"], config.get("epochs", Config.epochs))
            config["epochs"] = planned
        return config

    def declare(self) -> TaskDeclaration:
        """Return what the task declares in this study, for :func:`build_config`.

        Raises:
            InputError: the task is unknown, or the record does not fit it.
        """
        name, space = self.config.get("task", Config.task), self.settings.get("space")
        try:
            task = find_task(name)
            if not task.function:
                return task
            domains = parse_space(space, exact=True) if space else {}
            return declare_task(name, space=domains, config=self.config, metrics=self.metrics)
        except InputError as error:
            raise InputError(f"{self.path}: config: task: {error}") from None

    @property
    def task(self) -> str:
        """The name of the task; empty if the record has no valid name."""
        name = self.config.get("task")
        return name if isinstance(name, str) else ""

    @property
    def data(self) -> str | None:
        """The name of the data as given by the user; None if the task has none."""
        return str(self.settings["data"]) if self.settings.get("corpus") else None

    @property
    def best(self) -> Trial | None:
        """The first training of the best of :attr:`candidates`; None without any."""
        return next((candidate.trial for candidate in self.candidates), None)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The points with a result, each with all its trainings, the best first.

        Without repeats and with one objective, these are the trials of :attr:`ranking`, in the same
        order. With several, the chosen point is first, and the rest of the front follows.
        """
        found = list_candidates([t for t in self.trial_list if not t.outside], self.ranked)
        return front.arrange(found, self.prefer) if self.objective.others else found

    @cached_property
    def untuned(self) -> Candidate | None:
        """The point with the values of the config, which are those without tuning, if tried."""

        def is_config(point: Mapping[str, Any]) -> bool:
            return bool(point) and all(
                key in self.config and freeze(self.config[key]) == freeze(value)
                for key, value in point.items()
            )

        return next((each for each in self.candidates if is_config(each.trial.point)), None)

    @property
    def prefer(self) -> str | None:
        """The limit by which a point is chosen from the front; None for the knee."""
        prefer = self.settings.get("prefer")
        return prefer if isinstance(prefer, str) and prefer else None

    @cached_property
    def front(self) -> list[Trial]:
        """The trials that no other one dominates, the best in the first objective first.

        With one objective this is the best trial alone. Repeats of a point are not among them.
        """
        if not self.objective.others:
            return [self.best] if self.best else []
        members = front.find_members(self.candidates) if self.candidates else []
        return [member.trial for member in members]

    @cached_property
    def feasible(self) -> frozenset[int]:
        """The numbers of the trials that keep all limits.

        A point that was trained several times is judged by the mean, as in :attr:`candidates`; this
        is what counts for its first training.
        """
        kept = {each.trial.number: not each.excess for each in self.candidates}
        return frozenset(
            trial.number for trial in self.trial_list if kept.get(trial.number, trial.is_feasible)
        )

    @cached_property
    def hypervolume(self) -> tuple[float, tuple[float, ...]]:
        """The hypervolume of the front and its reference point, in costs to minimise."""
        return front.measure_hypervolume(self.trial_list)

    @property
    def has_config(self) -> bool:
        """Whether the record has a config. That of an experiment of Ray Tune has none."""
        return "config" in self.settings

    @cached_property
    def duration(self) -> float:
        """Seconds from the beginning of the search to its end, without pauses."""
        return omit_pauses(self.end_time, self.pauses) - float(self.settings["time"])

    @cached_property
    def ranking(self) -> list[Trial]:
        """The trials that count, with a result and a status in :attr:`ranked`, the best first.

        Those that keep all limits precede the others. Repeats are not among them.
        """
        return rank_trials(self.trial_list, self.ranked)

    @property
    def enqueued(self) -> list[Event]:
        """The accepted requests for a point, launched or not."""
        return [
            event
            for event in self.requests
            if event["action"] == ENQUEUE and not event.get("refused")
        ]

    @property
    def num_asked(self) -> int:
        """The number of trials that were asked for: of the search, and of requested points.

        Trials of a final round are among them once they have begun.
        """
        asked = int(self.settings.get("trials") or 0) + len(self.enqueued)
        return max(asked, len(self.trial_list))

    @property
    def has_search_ended(self) -> bool:
        """Whether the search has ended; its final round may not have."""
        return self.searched or self.finalists is not None

    @property
    def num_proposed(self) -> int:
        """The number of trials that the search proposed: no requested ones, no final round."""
        return sum(trial.request is None and not trial.final for trial in self.trial_list)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.absolute().name

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """A table with one row per trial.

        Columns: ``trial``, ``status``, ``epochs`` (number trained), ``best_epoch``, the metrics of
        the best epoch (such as ``valid_loss``), ``seconds`` (of training), ``attempts``, ``error``,
        and the hyperparameters as ``config.KEY``. A metric named like another column is
        ``metric.NAME``.
        """
        return _build_table(self.trial_rows, self.trial_columns)

    @property
    def trial_columns(self) -> tuple[str, ...]:
        """The columns that :attr:`trials` has even without rows, so that code can read them."""
        first = ("trial", "status", "epochs", "best_epoch")
        return *first, *self._metric_columns, "seconds", "attempts", "error"

    @property
    def _metric_columns(self) -> tuple[str, ...]:
        return ("train_loss", LEGACY_METRIC) if self.metric == LEGACY_METRIC else (self.metric,)

    @property
    def trial_rows(self) -> list[dict[str, Any]]:
        """The rows of :attr:`trials`, with each value as it was recorded."""
        rows = []
        several, members = bool(self.objective.others), {trial.number for trial in self.front}
        limited = bool(self.objective.limits)
        repeated = any(trial.repeat_of is not None for trial in self.trial_list)
        for trial in self.trial_list:
            about = {
                **({"front": trial.number in members} if several else {}),
                **({"feasible": trial.number in self.feasible} if limited else {}),
                **({"repeat_of": trial.repeat_of, "seed": trial.seed} if repeated else {}),
            }
            metrics = {self.metric: None, **trial.metrics}
            best_epoch = metrics.pop("epoch", None)
            metrics.pop("seconds", None)
            rows.append(
                {
                    "trial": trial.number,
                    "status": trial.status,
                    "epochs": len(trial.epochs),
                    "best_epoch": best_epoch,
                    **({"train_loss": None} if self.metric == LEGACY_METRIC else {}),
                    **{METRIC_PREFIX * (key in about) + key: metrics[key] for key in metrics},
                    "seconds": trial.seconds,
                    "attempts": trial.attempts,
                    "error": trial.error,
                    **about,
                    **{f"config.{key}": value for key, value in trial.best_point.items()},
                }
            )
        return rows

    @cached_property
    def epochs(self) -> "pd.DataFrame":
        """A table with one row per trial and epoch.

        Columns: ``trial``, ``epoch``, the metrics, ``seconds`` (of training), ``attempt``,
        ``host``, ``pid``, and ``began`` and ``ended`` in seconds since 1970.
        """
        return _build_table(self.epoch_rows, self.epoch_columns)

    @property
    def epoch_columns(self) -> tuple[str, ...]:
        """The columns that :attr:`epochs` has even without rows, so that code can read them."""
        about = ("seconds", "attempt", "host", "pid", "began", "ended")
        return "trial", "epoch", *self._metric_columns, *about

    @property
    def epoch_rows(self) -> list[dict[str, Any]]:
        """The rows of :attr:`epochs`, with each value as it was recorded."""
        return [
            {key: value for key, value in epoch.items() if key not in _UNLISTED}
            for trial in self.trial_list
            for epoch in trial.epochs
        ]

    @property
    def num_slots(self) -> int:
        """The number of concurrent trials; the largest one if a resumption changed it."""
        return max(count for _, count in self.slot_phases)

    @property
    def slot_phases(self) -> list[tuple[float, int]]:
        """Since when there were how many slots: pairs of seconds since 1970 and a number."""
        return [(self.settings["time"], int(self.settings.get("slots", 1))), *self.slot_changes]

    @property
    def slots_text(self) -> str:
        """The number of slots for people: ``4``, or ``1 to 4`` if it was changed."""
        fewest, most = min(count for _, count in self.slot_phases), self.num_slots
        return str(most) if fewest == most else f"{fewest} to {most}"

    @cached_property
    def efficiency(self) -> Efficiency | None:
        """How the slots spent their time; None before the first epoch."""
        return measure_efficiency(
            [epoch for trial in self.trial_list for epoch in trial.epochs],
            phases=self.slot_phases,
            asked_at=self.settings["time"],
            end=self.end_time,
            pauses=self.pauses,
        )


def join_trials(studies: Sequence[Study]) -> "pd.DataFrame":
    """Return the trials of several studies as one table with a column ``study``."""
    rows = [
        {"study": name, **row}
        for name, study in zip(name_studies(studies), studies, strict=True)
        for row in study.trial_rows
    ]
    columns = (column for study in studies for column in study.trial_columns)
    return _build_table(rows, dict.fromkeys(("study", *columns)))


def name_studies(studies: Sequence[Study]) -> list[str]:
    """Return unique names: the last parts of each path, as many as tell the studies apart."""
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


_UNLISTED = frozenset(("event", "time", "point"))  # fields of an epoch without a column


def _build_table(rows: Sequence[dict[str, Any]], columns: Iterable[str]) -> "pd.DataFrame":
    """Return rows as a table; ``columns`` are the columns of a table without rows."""
    import pandas as pd

    if not rows:
        return pd.DataFrame(columns=list(columns))
    keys = dict.fromkeys(key for row in rows for key in row)
    # By columns: building from rows is several times slower for ten thousand trials.
    table = pd.DataFrame({key: [row.get(key) for row in rows] for key in keys})
    for key in keys:
        # With a missing value, pandas converts integers to floats, which rounds large ones.
        if table[key].dtype == "float64" and table[key].abs().max() > 2**53:
            values = [row.get(key) for row in rows]
            if any(isinstance(value, int) for value in values):
                table[key] = pd.Series(values, dtype=object)
    return table
