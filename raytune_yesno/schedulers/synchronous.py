"""Schedulers whose trials meet: each trains to a milestone and waits there until all are judged.

What is decided is a function of the trials' losses at the milestones alone, and those are in a
study's records: so a study that is resumed goes on from where its trials stood. A trial that waits
gives its slot to another, and goes on from the checkpoint that it was saved in.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raytune_yesno.metrics import COST
from raytune_yesno.study import Trial
from raytune_yesno.study.store import StudyStore

OUT = 0
"""The milestone of a trial that was judged too bad to go on."""


@dataclass
class Entrant:
    """What is known of one trial: its loss after each epoch, and whether it will train on."""

    losses: dict[int, float] = field(default_factory=dict)
    ended: bool = False

    @property
    def epoch(self) -> int:
        """Return the last epoch trained, 0 before the first."""
        return max(self.losses, default=0)

    def note(self, epoch: int, loss: float | None) -> None:
        """Take a loss; one that is not a number is worse than any."""
        self.losses[epoch] = math.inf if loss is None or math.isnan(loss) else loss


class Rounds(FIFOScheduler):  # type: ignore[misc]
    """Pause trials at milestones; :meth:`milestones` says how far each may go."""

    synchronous = True
    _supports_buffered_results = False

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self._metric = COST
        self.entrants: dict[int, Entrant] = {}
        self.trials: dict[int, RayTrial] = {}
        self.num_trials = self.slots = 1
        self.store: StudyStore | None = None
        self.on_wait: Callable[[int], None] = lambda number: None
        self._known: dict[int, int] | None = None

    def prepare(
        self,
        earlier: Iterable[Trial],
        *,
        num_trials: int,
        slots: int,
        store: StudyStore,
        on_wait: Callable[[int], None],
    ) -> None:
        """See :class:`StudyScheduler`. A trial that was cut off continues at its checkpoint."""
        self.on_wait = on_wait
        self.num_trials, self.slots, self.store = num_trials, slots, store
        for trial in earlier:
            ended = trial.status != "running"
            entrant = self.entrants[trial.number] = Entrant(ended=ended)
            saved = trial.checkpoint[1] if trial.checkpoint else 0
            for epoch in trial.epochs:
                if ended or epoch["epoch"] <= saved:
                    entrant.note(epoch["epoch"], trial.objective.metric.cost(epoch))

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take the metric, of which the least must be best."""
        self._metric = metric or COST
        return mode in (None, "min")

    def milestones(self) -> dict[int, int]:
        """Return the epoch up to which each trial may train, or OUT; a function of `entrants`."""
        raise NotImplementedError

    @property
    def has_room(self) -> bool:
        """Whether a new trial may begin: a slot is free and nobody who waits is to have it."""
        return self._num_active() < self.slots and not self._ready()

    @property
    def has_live_trials(self) -> bool:
        """Whether some trial has not ended."""
        return any(not trial.is_finished() for trial in self.trials.values())

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Let a trial in; one that stands at its milestone already waits from the start."""
        number = trial.config["number"]
        entrant = self.entrants.setdefault(number, Entrant())
        entrant.ended = False
        self._known = None
        if number not in self.trials and entrant.epoch >= self._milestones()[number]:
            trial.set_status(RayTrial.PAUSED)
            trial.init_local_path()  # else Tune cannot end a trial that never ran
        self.trials[number] = trial

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Let a trial train on, or wait at its milestone."""
        self._note(trial, result)
        goal = self._milestones()[trial.config["number"]]
        if goal == OUT:
            return str(TrialScheduler.STOP)
        if result["epoch"] < goal:
            return str(TrialScheduler.CONTINUE)
        self.on_wait(trial.config["number"])
        return str(TrialScheduler.PAUSE)

    def on_trial_complete(
        self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]
    ) -> None:
        """Note the end of a trial that was running."""
        self._note(trial, result)
        self._end(trial)
        self.trials.pop(trial.config["number"], None)

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """Note that a trial failed; one that is tried again is added again."""
        self._end(trial)

    def on_trial_remove(self, tune_controller: Any, trial: RayTrial) -> None:
        """Note the end of a trial that was waiting."""
        self._end(trial)
        self.trials.pop(trial.config["number"], None)

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """Stop those who are out; return the first who waited and may go on, or is new."""
        for number, trial in list(self.trials.items()):
            if trial.status == RayTrial.PAUSED and self._milestones()[number] == OUT:
                tune_controller.stop_trial(trial)
        ready = self._ready() if self._num_active() < self.slots else None
        pending = (t for t in self.trials.values() if t.status == RayTrial.PENDING)
        return ready or next(pending, None)

    def _ready(self) -> RayTrial | None:
        goals = self._milestones()
        for number, trial in sorted(self.trials.items()):
            waits = trial.status == RayTrial.PAUSED
            if waits and goals[number] > self.entrants[number].epoch:
                return trial
        return None

    def _num_active(self) -> int:
        active = (RayTrial.PENDING, RayTrial.RUNNING)
        return sum(trial.status in active for trial in self.trials.values())

    def _milestones(self) -> dict[int, int]:
        if self._known is None:
            self._known = self.milestones()
        return self._known

    def _note(self, trial: RayTrial, result: dict[str, Any]) -> None:
        if "epoch" in result:
            self.entrants[trial.config["number"]].note(result["epoch"], result.get(self._metric))
            self._known = None

    def _end(self, trial: RayTrial) -> None:
        self.entrants[trial.config["number"]].ended = True
        self._known = None
