"""The finished trials whose checkpoints are kept, so that they can be extended."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from raytune_yesno.files.remote import list_folders
from raytune_yesno.metrics import Objective
from raytune_yesno.study import Trial
from raytune_yesno.study.candidates import rank_trials
from raytune_yesno.study.front import order_trials
from raytune_yesno.study.load import apply_event
from raytune_yesno.study.store import Event


def list_finished(trials: Iterable[Trial]) -> list[Trial]:
    """Return the finished trials, ordered by :func:`~raytune_yesno.study.front.order_trials`."""
    return order_trials(rank_trials(trials, ("done",)))


def list_kept(trials: Iterable[Trial], keep: int) -> list[Trial]:
    """Return the first ``keep`` finished trials with a checkpoint, given trials by number."""
    return [each for each in list_finished(trials) if each.checkpoint][:keep]


def select_stored(trials: Iterable[Trial], folder: str) -> list[Trial]:
    """Return trials without the finished ones whose checkpoint was deleted.

    With several objectives, a trial can be among the first ones again after it was not.

    Args:
        trials: trials of a study.
        folder: the folder that has one folder for each trial.
    """
    names = {Path(each).name for each in list_folders(folder)}
    return [
        trial
        for trial in trials
        if trial.status != "done"
        or (trial.checkpoint and Path(trial.checkpoint[0]).parent.name in names)
    ]


class KeptTrials:
    """Follows the events of a study and knows at each time whose checkpoints are kept.

    Args:
        keep: the number of trials whose checkpoints are kept.
        objective: the objective of the study.
        earlier: the trials before this session.
    """

    def __init__(self, keep: int, objective: Objective, earlier: Iterable[Trial] = ()) -> None:
        self.keep, self.objective = keep, objective
        self.trials: dict[int, Trial] = {}
        for trial in earlier:
            copied = replace(trial, epochs=[*trial.epochs], mutations=[*trial.mutations])
            self.trials[trial.number] = replace(copied, replaced=[])

    @property
    def numbers(self) -> set[int]:
        """The numbers of the finished trials whose checkpoints are kept."""
        return {number for number, trial in self.trials.items() if trial.status == "done"}

    def listen(self, event: Event) -> None:
        """Update the trials from an event of the study. Forget ended ones that are not kept."""
        number = event.get("trial", -1)
        if self.keep and event["event"] == "asked":
            self.trials[number] = Trial(
                number, event["point"], objective=self.objective, repeat_of=event.get("repeat_of")
            )
        elif trial := self.trials.get(number):
            apply_event(trial, event)
            if event["event"] == "ended":
                trials = [self.trials[each] for each in sorted(self.trials)]
                kept = list_kept(trials, self.keep)
                running = [each for each in trials if each.status == "running"]
                self.trials = {each.number: each for each in (*running, *kept)}
