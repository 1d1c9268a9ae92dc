"""How far a search is, derived from the study's events."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from raytune_yesno.metrics import Objective
from raytune_yesno.study.store import Event


@dataclass
class Progress:
    """How far a search is.

    Attributes:
        objective: what decides which epoch is the best so far.
        asked_for: trials of the whole study.
        slots: trials that can run at a time.
        epochs_per_trial: the most epochs that a trial may train.
        on_change: called with this object whenever it has changed.
        ended: trials that have ended, by status.
        epochs: epochs trained.
        best: the metrics of the best epoch so far; None before the first.
        best_trial: the trial of that epoch.
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
    _running: set[int] = field(default_factory=set)

    @property
    def running(self) -> int:
        """Trials that are training now."""
        return len(self._running)

    def listen(self, event: Event) -> None:
        """Take an event of the study."""
        match event["event"]:
            case "started":
                self._running.add(event["trial"])
            case "epoch":
                self.take(event["trial"], event)
            case "ended":
                self._running.discard(event["trial"])
                self.ended[event["status"]] += 1
            case _:
                return
        self.on_change(self)

    def take(self, trial: int, metrics: dict[str, Any]) -> None:
        """Count an epoch, and remember it if it is the best so far."""
        self.epochs += 1
        if not self.objective.reached(metrics):
            return
        score = self.objective.score
        if self.best is None or score(metrics) < score(self.best):
            self.best, self.best_trial = metrics, trial

    def pause(self, trial: int) -> None:
        """Note that a trial gave its slot up: it waits for others, or its process was lost."""
        self._running.discard(trial)

    def unpause(self, trial: int) -> None:
        """Note that a paused trial trains on."""
        self._running.add(trial)
        self.on_change(self)
