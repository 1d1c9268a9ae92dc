"""Read a study: typed trials, tidy tables, the best, and where the time went."""

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.efficiency import Efficiency, measure_efficiency
from raytune_yesno.store import ENDINGS, Event, read_events

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Trial:
    """One trial, as far as the store knows it.

    Attributes:
        number: from 0, in the order of asking.
        point: the sampled values.
        status: ``running`` (or cut off), ``done``, ``stopped``, ``diverged`` or ``failed``.
        epochs: one record an epoch, the latest attempt's where an epoch was trained twice.
        attempts: times it was started.
        checkpoint: where its latest checkpoint lies, and the epoch of that.
        error: one line, of a failed trial.
    """

    number: int
    point: dict[str, Any]
    status: str = "running"
    epochs: list[Event] = field(default_factory=list)
    attempts: int = 0
    checkpoint: tuple[str, int] | None = None
    error: str | None = None

    @property
    def best_epoch(self) -> Event | None:
        """The epoch of least validation loss, ties by word error rate; None without any."""
        scored = [epoch for epoch in self.epochs if epoch.get("valid_loss") is not None]
        return min(scored, key=_score, default=None)

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
        asked: the first event: config, space, search, scheduler, trials, seed, corpus, versions.
        trial_list: in the order of their numbers.
        refit: the refit's event, if it came to that.
        searched: the search came to its end.
        end_time: when the search ended, or the last that was heard of it.
        pauses: from when to when it stood still, interrupted or killed.
        problems: lines of the store that were left out, and why.
    """

    path: Path
    asked: Event
    trial_list: list[Trial]
    refit: Event | None
    searched: bool
    end_time: float
    pauses: list[tuple[float, float]]
    problems: list[str]

    @property
    def best(self) -> Trial | None:
        """The trial of least validation loss among those that were not cut off or failed."""
        ranked = [
            trial
            for trial in self.trial_list
            if trial.status in ("done", "stopped") and trial.best_epoch
        ]
        return min(ranked, key=lambda trial: _score(trial.best_epoch or {}), default=None)

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """One row a trial.

        Columns: ``trial``, ``status``, ``epochs`` (trained), ``best_epoch``, the metrics of that
        epoch (``train_loss``, ``valid_loss``, ``valid_wer``), ``seconds`` (in the training loop),
        ``attempts``, ``error``, and the point's values as ``config.KEY``.
        """
        import pandas as pd

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
                    "train_loss": None,
                    "valid_loss": None,
                    **metrics,
                    "seconds": trial.seconds,
                    "attempts": trial.attempts,
                    "error": trial.error,
                    **{f"config.{key}": value for key, value in trial.point.items()},
                }
            )
        return pd.DataFrame(rows, columns=None if rows else list(_TRIAL_COLUMNS))

    @cached_property
    def epochs(self) -> "pd.DataFrame":
        """One row a trial and epoch: ``trial``, ``epoch``, metrics, ``seconds``, ``attempt``,
        ``host``, ``pid``, and ``began`` and ``ended``, seconds since 1970 on the worker's clock."""
        import pandas as pd

        rows = [
            {key: value for key, value in epoch.items() if key not in ("event", "time")}
            for trial in self.trial_list
            for epoch in trial.epochs
        ]
        return pd.DataFrame(rows, columns=None if rows else list(_EPOCH_COLUMNS))

    @cached_property
    def efficiency(self) -> Efficiency | None:
        """Where the time went; None before the first epoch."""
        return measure_efficiency(
            [epoch for trial in self.trial_list for epoch in trial.epochs],
            num_slots=self.asked["slots"],
            asked_at=self.asked["time"],
            end=self.end_time,
            pauses=self.pauses,
        )


def load(path: str | Path) -> Study:
    """Read a study's folder: finished, running, interrupted or failed.

    Raises:
        InputError: there is no study.
    """
    folder = Path(path)
    events, problems = read_events(folder)
    trials: dict[int, Trial] = {}
    refit = None
    searched = False
    for event in events:
        if event["event"] == "asked":
            trials[event["trial"]] = Trial(event["trial"], event["point"])
        elif event["event"] == "refitted":  # it names the best trial, but is no event of it
            refit = event
        elif (trial := trials.get(event.get("trial", -1))) is not None:
            _apply(trial, event)
        searched = event["event"] == "searched" or (searched and event["event"] != "resumed")
    ends = [event["time"] for event in events if event["event"] not in ("refitted", "study")]
    return Study(
        path=folder,
        asked=events[0],
        trial_list=[trials[number] for number in sorted(trials)],
        refit=refit,
        searched=searched,
        end_time=max(ends, default=events[0]["time"]),
        pauses=[
            (before["time"], event["time"])
            for before, event in itertools.pairwise(events)
            if event["event"] == "resumed"
        ],
        problems=problems,
    )


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


def _score(epoch: dict[str, Any]) -> tuple[float, float]:
    loss, wer = epoch.get("valid_loss"), epoch.get("valid_wer")
    return (math.inf if loss is None else loss, 0.0 if wer is None else wer)


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
        case "ended" if event["status"] in ENDINGS:
            trial.status, trial.error = event["status"], event.get("error")
