"""Deterministic early stopping (``tune --ordered``): equal results on any number of slots.

Runs differ because trials finish in a different order. Here that order has no influence: at a
check, a trial is compared only with the trials of lower numbers, after all of them have passed the
check or have ended. Until then the trial is paused and its slot goes to another one. The live trial
of the lowest number never waits, so there is no deadlock.
"""

from collections.abc import Collection

from raytune_yesno.schedulers.stopping_rules import Rule
from raytune_yesno.schedulers.synchronous import STOPPED, SynchronousScheduler


class DeterministicScheduler(SynchronousScheduler):
    """Compare each trial by a rule with the trials of lower numbers.

    Args:
        epochs: epochs of a trial that is not stopped early.
        rule: the rule of early stopping.
    """

    def __init__(self, epochs: int, rule: Rule) -> None:
        super().__init__(epochs)
        self.rule = rule
        self.verdicts: dict[tuple[int, int], bool] = {}
        self.first_live = 0  # all trials below this number have ended

    def milestones(self) -> dict[int, int]:
        """Return the epoch up to which each live trial may train, or STOPPED."""
        while (seen := self.states.get(self.first_live)) and seen.ended:
            self.first_live += 1
        live = range(self.first_live, max(self.states, default=-1) + 1)
        goals: dict[int, int] = {}
        for number in live:
            if number in self.states and not self.states[number].ended:
                goals[number] = self._find_goal(number, goals)
        return goals

    def _find_goal(self, number: int, live: Collection[int]) -> int:
        """Return the goal of a trial; ``live`` are the live trials of lower numbers."""
        for check in self.rule.checks:
            if any(self.states[n].epoch < check for n in (*live, number)):
                return check
            if (number, check) not in self.verdicts:
                lower = (self.states[n] for n in range(number))
                self.verdicts[number, check] = self.rule.stops(self.states[number], lower, check)
            if self.verdicts[number, check]:
                return STOPPED
        return self.epochs
