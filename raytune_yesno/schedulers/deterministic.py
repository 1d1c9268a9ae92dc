"""Deterministic early stopping (``tune --ordered``): equal results on any number of slots.

Runs differ because trials finish in a different order. Here that order has no influence: at a
check, a trial is compared only with the trials of lower numbers, after all of them have passed the
check or have ended. Until then the trial is paused and its slot goes to another one. The live trial
of the lowest number never waits, so there is no deadlock.
"""

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from raytune_yesno.schedulers.synchronous import STOPPED, SynchronousScheduler


class DeterministicScheduler(SynchronousScheduler):
    """Compare each trial with the trials of lower numbers, at fixed epochs.

    Args:
        epochs: epochs of a trial that is not stopped early.
        checks: the epochs at which trials are compared.
    """

    def __init__(self, epochs: int, checks: Iterable[int]) -> None:
        super().__init__(epochs)
        self.checks = sorted(set(checks))
        self.verdicts: dict[tuple[int, int], bool] = {}
        self.first_live = 0  # all trials below this number have ended

    def should_stop(self, number: int, epoch: int) -> bool:
        """Return whether a trial stops at a check that all lower trials have passed."""
        raise NotImplementedError

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

    def _find_goal(self, number: int, lower: Collection[int]) -> int:
        for check in self.checks:
            if any(self.states[n].epoch < check for n in (*lower, number)):
                return check
            if (number, check) not in self.verdicts:
                self.verdicts[number, check] = self.should_stop(number, check)
            if self.verdicts[number, check]:
                return STOPPED
        return self.epochs


class DeterministicASHA(DeterministicScheduler):
    """Asynchronous successive halving with a fixed order of decisions.

    Li et al. (2020), "A system for massively parallel hyperparameter tuning". A trial continues
    past a rung if its loss there is within the best 1 / ``reduction_factor`` of the lower trials'
    losses there, an interpolated percentile. The first trial at a rung always continues.
    """

    def __init__(self, epochs: int, grace_period: int, reduction_factor: float) -> None:
        self.factor = reduction_factor
        super().__init__(epochs, list_rungs(epochs, grace_period, reduction_factor))

    def should_stop(self, number: int, epoch: int) -> bool:
        """Compare a trial with the lower trials' losses at the same rung."""
        below = (self.states[n].losses.get(epoch, math.inf) for n in range(number))
        return is_worse(self.states[number].losses[epoch], list(below), fraction=1 / self.factor)


class DeterministicMedian(DeterministicScheduler):
    """The median stopping rule with a fixed order of decisions.

    Golovin et al. (2017), "Google Vizier". A trial stops if its best loss is worse than the median
    of the running means, from the grace period to the check, of the lower trials that reached the
    check.
    """

    def __init__(self, epochs: int, grace_period: int, min_trials: int) -> None:
        super().__init__(epochs, range(grace_period, epochs))
        self.grace_period, self.min_trials = grace_period, min_trials
        self.means: dict[tuple[int, int], float] = {}

    def should_stop(self, number: int, epoch: int) -> bool:
        """Compare a trial's best loss with the running means of the lower trials."""
        reached = [n for n in range(number) if epoch in self.states[n].losses]
        means = [self._mean(n, epoch) for n in reached]
        if np.isfinite(means).sum() < self.min_trials:
            return False
        own = self.states[number].losses
        return is_worse(min(own[e] for e in own if e <= epoch), means, fraction=1 / 2)

    def _mean(self, number: int, epoch: int) -> float:
        """Return a trial's running mean up to an epoch; cached, its losses no longer change."""
        if (number, epoch) not in self.means:
            losses = self.states[number].losses
            window = [losses[e] for e in range(self.grace_period, epoch + 1) if e in losses]
            self.means[number, epoch] = math.fsum(window) / len(window)
        return self.means[number, epoch]


def list_rungs(epochs: int, grace_period: int, reduction_factor: float) -> list[int]:
    """Return the epochs of the rungs, in rising order, all before the last epoch."""
    rungs, rung = [], float(grace_period)
    while math.ceil(rung) < epochs:
        rungs.append(math.ceil(rung))
        rung *= reduction_factor
    return rungs


def is_worse(loss: float, others: Sequence[float], *, fraction: float) -> bool:
    """Return whether a loss is worse than the best ``fraction`` of the finite others.

    Without any finite others, return False.
    """
    # Negated as in Ray's ASHA, so that an interpolated percentile rounds in the same direction.
    scores = [-other for other in others if math.isfinite(other)]
    return bool(scores) and -loss < float(np.percentile(scores, (1 - fraction) * 100))
