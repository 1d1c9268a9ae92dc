"""Synchronous schedulers: trials train to a milestone and pause until the group can be judged.

Decisions depend only on the trials' losses at the milestones. Those are in a study's records, so a
resumed study makes the same decisions. A paused trial frees its slot, and resumes from its
checkpoint.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raytune_yesno.schedulers.stopping_rules import TrialState
from raytune_yesno.study import Trial
from raytune_yesno.study.store import StudyStore

STOPPED = 0
"""The milestone of a trial that is to stop."""


class SynchronousScheduler(FIFOScheduler):  # type: ignore[misc]
    """Pause trials at the epochs that :meth:`milestones` returns.

    Args:
        epochs: epochs of a trial that is not stopped early.
    """

    synchronous = True
    stopped: Collection[int] = frozenset()
    _supports_buffered_results = False

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.states: dict[int, TrialState] = {}
        self.trials: dict[int, RayTrial] = {}
        self.num_trials = self.slots = 1
        self.store: StudyStore | None = None
        self.on_wait: Callable[[int], None] = lambda number: None
        self._cached: dict[int, int] | None = None

    def prepare(
        self,
        earlier: Iterable[Trial],
        *,
        num_trials: int,
        slots: int,
        store: StudyStore,
        on_wait: Callable[[int], None],
    ) -> None:
        """Restore the state of all trials; an interrupted one resumes from its checkpoint."""
        self.on_wait = on_wait
        self.num_trials, self.slots, self.store = num_trials, slots, store
        for trial in earlier:
            ended = trial.status != "running"
            state = self.states[trial.number] = TrialState(ended=ended)
            saved = trial.checkpoint[1] if trial.checkpoint else 0
            for epoch in trial.epochs:
                if ended or epoch["epoch"] <= saved:
                    state.note(epoch["epoch"], *trial.objective.costs(epoch))

    def milestones(self) -> dict[int, int]:
        """Return the epoch up to which each trial may train, or STOPPED, from ``states`` alone."""
        raise NotImplementedError

    @property
    def has_room(self) -> bool:
        """Whether a new trial may start: a slot is free and no paused trial is ready to resume."""
        return self._num_active() < self.slots and not self._ready()

    @property
    def has_live_trials(self) -> bool:
        """Whether any trial has not ended."""
        return any(not trial.is_finished() for trial in self.trials.values())

    def expect(self, change: int) -> None:
        """Expect more trials, or fewer if ``change`` is negative."""
        self.num_trials += change
        self._cached = None

    def end(self, number: int) -> None:
        """Note that a trial has ended: others do not wait for it."""
        self.states[number].ended = True
        self._cached = None

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Add a trial; it is paused at once if it has already reached its milestone."""
        number = trial.config["number"]
        state = self.states.setdefault(number, TrialState())
        state.ended = False
        self._cached = None
        if number not in self.trials and state.epoch >= self._milestones()[number]:
            trial.set_status(RayTrial.PAUSED)
            trial.init_local_path()  # else Tune cannot end a trial that never ran
        self.trials[number] = trial

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Return whether a trial continues, pauses at its milestone, or stops."""
        self._note(trial, result)
        goal = self._milestones()[trial.config["number"]]
        if goal == STOPPED:
            return str(TrialScheduler.STOP)
        if result["epoch"] < goal:
            return str(TrialScheduler.CONTINUE)
        self.on_wait(trial.config["number"])
        return str(TrialScheduler.PAUSE)

    def on_trial_complete(
        self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]
    ) -> None:
        """Record the end of a running trial."""
        self._note(trial, result)
        self.end(trial.config["number"])
        self.trials.pop(trial.config["number"], None)

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """Record a failure; Tune adds the trial again if it is retried."""
        self.end(trial.config["number"])

    def on_trial_remove(self, tune_controller: Any, trial: RayTrial) -> None:
        """Record the end of a paused trial."""
        self.end(trial.config["number"])
        self.trials.pop(trial.config["number"], None)

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """Stop trials at STOPPED; return a paused trial that may resume, else a pending one."""
        for number, trial in list(self.trials.items()):
            if trial.status == RayTrial.PAUSED and self._milestones()[number] == STOPPED:
                tune_controller.stop_trial(trial)
        ready = self._ready() if self._num_active() < self.slots else None
        pending = (t for t in self.trials.values() if t.status == RayTrial.PENDING)
        return ready or next(pending, None)

    def _ready(self) -> RayTrial | None:
        goals = self._milestones()
        for number, trial in sorted(self.trials.items()):
            waits = trial.status == RayTrial.PAUSED
            if waits and goals[number] > self.states[number].epoch:
                return trial
        return None

    def _num_active(self) -> int:
        active = (RayTrial.PENDING, RayTrial.RUNNING)
        return sum(trial.status in active for trial in self.trials.values())

    def _milestones(self) -> dict[int, int]:
        if self._cached is None:
            self._cached = self.milestones()
        return self._cached

    def _note(self, trial: RayTrial, result: dict[str, Any]) -> None:
        self.states[trial.config["number"]].note_result(result, self.metric)
        self._cached = None
