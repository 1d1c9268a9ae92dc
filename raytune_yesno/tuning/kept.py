"""The finished trials whose checkpoints are kept, so that they can be extended."""

from collections.abc import Iterable
from dataclasses import replace

from raytune_yesno.metrics import Objective
from raytune_yesno.study import Trial
from raytune_yesno.study.candidates import rank_trials
from raytune_yesno.study.load import apply_event
from raytune_yesno.study.store import Event


def list_kept(trials: Iterable[Trial], keep: int) -> list[Trial]:
    """Return the best ``keep`` finished trials with a checkpoint, given trials by number."""
    return [trial for trial in rank_trials(trials, ("done",)) if trial.checkpoint][:keep]


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
        if keep:
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
