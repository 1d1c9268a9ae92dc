"""Studies without training: slots, a clock, a search and one of the project's own schedulers.

What a trial would report is known beforehand; the time of each report is simulated. The schedulers
are those of :mod:`raytune_yesno.schedulers.build`, called as Ray Tune's controller calls them.
`pbt` cannot be simulated: it changes a trial's point during training, for which there is no record.
"""

import dataclasses
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import TrialScheduler

from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.schedulers.synchronous import SynchronousScheduler
from raytune_yesno.search import History, Observation
from raytune_yesno.space import Point


class Searching(Protocol):
    """A source of points: an algorithm of the project, or a peer."""

    def ask(self, number: int, history: History) -> Point | None:
        """Return the point of a trial, None if there are no more."""

    def tell(self, seen: Observation) -> None:
        """Receive an ended trial."""


@dataclass(frozen=True)
class Curve:
    """What a trial would report: one loss per epoch, and the duration of an epoch."""

    losses: Sequence[float]
    seconds: float = 1.0


@dataclass
class Outcome:
    """The result of a simulated study.

    Attributes:
        points: of each trial, in the order of their numbers.
        ended: the least loss of each trial, in the order in which they ended.
        spent: epochs spent by all trials, at each improvement of the best loss...
        bests: ... and that loss.
        epochs: epochs spent in all.
    """

    points: list[Point] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)
    bests: list[float] = field(default_factory=list)
    epochs: int = 0

    def note(self, loss: float) -> None:
        """Receive the loss of an epoch."""
        self.epochs += 1
        if not self.bests or loss < self.bests[-1]:
            self.spent.append(self.epochs)
            self.bests.append(loss)


class _Trial:
    """Has the attributes of Ray's trials that schedulers read."""

    def __init__(self, number: int, curve: Curve) -> None:
        self.trial_id, self.config = str(number), {"number": number}
        self.curve, self.epoch, self.status = curve, 0, RayTrial.PENDING

    def set_status(self, status: str) -> None:
        self.status = status

    def is_finished(self) -> bool:
        return self.status in (RayTrial.TERMINATED, RayTrial.ERROR)


class _Simulation:
    """The part of Ray Tune's controller that launches trials and passes results on."""

    def __init__(
        self,
        search: Searching,
        train: Callable[[Point], Curve],
        scheduler: Any,
        epochs: int,
        num_trials: int,
        slots: int,
    ) -> None:
        self.search, self.train, self.scheduler = search, train, scheduler
        self.epochs, self.num_left, self.slots = epochs, num_trials, slots
        self.history, self.outcome = History(), Outcome()
        self.trials: list[_Trial] = []
        self.events: list[tuple[float, int]] = []  # when a trial's epoch ends
        self.now = 0.0

    def run(self) -> Outcome:
        self.launch()
        while self.events:
            self.now, number = heapq.heappop(self.events)
            self.take(self.trials[number])
            self.launch()
        return self.outcome

    def launch(self) -> None:
        """Fill the free slots: first with paused trials that may continue, then with new ones."""
        waiting = isinstance(self.scheduler, SynchronousScheduler)
        while len(self.events) < self.slots:
            if self.num_left and (not waiting or self.scheduler.has_room):
                self.add()
            trial = self.scheduler.choose_trial_to_run(self) if waiting else self.find_pending()
            if trial is None:
                return
            trial.set_status(RayTrial.RUNNING)
            heapq.heappush(self.events, (self.now + trial.curve.seconds, trial.config["number"]))

    def add(self) -> None:
        number = len(self.trials)
        point = self.search.ask(number, self.history)
        if point is None:
            self.num_left = 0
            return
        self.num_left -= 1
        self.outcome.points.append(point)
        self.history.observe(Observation(number, point))
        self.trials.append(_Trial(number, self.train(point)))
        self.scheduler.on_trial_add(self, self.trials[-1])

    def find_pending(self) -> _Trial | None:
        return next((t for t in reversed(self.trials) if t.status == RayTrial.PENDING), None)

    def take(self, trial: _Trial) -> None:
        """Receive an epoch of a trial, and carry out the scheduler's decision."""
        trial.epoch += 1
        loss = trial.curve.losses[trial.epoch - 1]
        self.outcome.note(loss)
        number = trial.config["number"]
        seen = self.history.find(number)
        best = loss if seen.loss is None else min(loss, seen.loss)
        losses = (*seen.losses, loss)
        self.history.observe(
            dataclasses.replace(seen, loss=best, epochs=trial.epoch, losses=losses)
        )
        result = {"epoch": trial.epoch, "valid_loss": loss}
        if trial.epoch == min(self.epochs, len(trial.curve.losses)):
            self.scheduler.on_trial_complete(self, trial, result)
            self.end(trial, "done" if trial.epoch == self.epochs else "diverged")
            return
        verdict = self.scheduler.on_trial_result(self, trial, result)
        if verdict == TrialScheduler.CONTINUE:
            heapq.heappush(self.events, (self.now + trial.curve.seconds, number))
        elif verdict == TrialScheduler.PAUSE:
            trial.set_status(RayTrial.PAUSED)
        else:
            self.end(trial, "done")

    def end(self, trial: _Trial, status: Any) -> None:
        trial.set_status(RayTrial.TERMINATED)
        seen = dataclasses.replace(self.history.find(trial.config["number"]), status=status)
        self.history.observe(seen)
        self.search.tell(seen)
        assert seen.loss is not None
        self.outcome.ended.append(seen.loss)

    def stop_trial(self, trial: _Trial) -> None:
        """End a paused trial; called by schedulers."""
        self.scheduler.on_trial_remove(self, trial)
        self.end(trial, "done")

    def get_live_trials(self) -> list[_Trial]:
        """Return the trials that have not ended; called by schedulers."""
        return [trial for trial in self.trials if not trial.is_finished()]


def simulate(
    search: Searching,
    train: Callable[[Point], Curve],
    *,
    epochs: int,
    num_trials: int,
    slots: int,
    scheduler: str = "fifo",
) -> Outcome:
    """Run a study of trials whose curves ``train`` knows, and return its result."""
    built = build_scheduler(scheduler, epochs)
    built.set_search_properties("valid_loss", "min")
    if isinstance(built, SynchronousScheduler):
        built.num_trials, built.slots = num_trials, slots
    return _Simulation(search, train, built, epochs, num_trials, slots).run()
