"""The progress of a search, derived from the study's events."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from raytune_yesno.metrics import Objective
from raytune_yesno.study import Trial
from raytune_yesno.study.store import Event


@dataclass
class Progress:
    """The progress of a search.

    Attributes:
        objective: the objective by which the best epoch is chosen.
        asked_for: number of trials in the study.
        slots: number of trials that can run at a time.
        epochs_per_trial: the most epochs a trial may train.
        on_change: called with this object after every change.
        ended: number of ended trials by status.
        epochs: number of epochs trained.
        best: metrics of the best epoch so far; None before the first epoch.
        best_trial: number of the trial with that epoch.
        running: the trials that are training now, by number, with the metrics of their last epoch;
            None before the first one.
    """

    objective: Objective
    asked_for: int
    slots: int
    epochs_per_trial: int
    on_change: Callable[["Progress"], None] = lambda progress: None
    ended: dict[str, int] = field(
        default_factory=lambda: {"done": 0, "stopped": 0, "diverged": 0, "failed": 0}
    )
    epochs: int = 0
    best: dict[str, Any] | None = None
    best_trial: int | None = None
    running: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    _last: dict[int, dict[str, Any]] = field(default_factory=dict)

    def recall(self, earlier: Iterable[Trial]) -> None:
        """Count the trials of a study that is resumed; none outside its space is the best."""
        for trial in earlier:
            for epoch in trial.epochs:
                self.take(trial.number, epoch, may_win=not trial.outside)
            if trial.status != "running":
                self.ended[trial.status] += 1

    def has_trained_all(self, number: int) -> bool:
        """Return whether a trial that has not ended has trained its last epoch."""
        last = self._last.get(number)
        return last is not None and last["epoch"] >= self.epochs_per_trial

    def listen(self, event: Event) -> None:
        """Update the progress from an event of the study."""
        match event["event"]:
            case "started":
                self.running[event["trial"]] = self._last.get(event["trial"])
            case "epoch":
                self.take(event["trial"], event)
            case "ended":
                self.running.pop(event["trial"], None)
                self._last.pop(event["trial"], None)
                self.ended[event["status"]] += 1
            case _:
                return
        self.on_change(self)

    def take(self, trial: int, metrics: dict[str, Any], *, may_win: bool = True) -> None:
        """Count an epoch and keep its metrics if it is the best so far."""
        self.epochs += 1
        self._last[trial] = metrics
        if trial in self.running:
            self.running[trial] = metrics
        if not may_win or not self.objective.has_value(metrics):
            return
        if self.best is None or self._score(metrics) < self._score(self.best):
            self.best, self.best_trial = metrics, trial

    def _score(self, metrics: dict[str, Any]) -> tuple[float, ...]:
        """Return a sort key of epochs: those that keep the limits precede the others."""
        return self.objective.excess(metrics), *self.objective.score(metrics)

    def pause(self, trial: int) -> None:
        """Mark a trial as not running: it waits for other trials, or its process was lost."""
        self.running.pop(trial, None)

    def unpause(self, trial: int) -> None:
        """Mark a paused trial as running again."""
        self.running[trial] = self._last.get(trial)
        self.on_change(self)
