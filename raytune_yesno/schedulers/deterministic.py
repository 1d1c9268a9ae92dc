"""Deterministic early stopping (``tune --ordered``): equal results on any number of slots.

Runs differ because trials finish in a different order. Here that order has no influence: at a
check, a trial is compared only with the trials of lower numbers, after all of them have passed the
check or have ended. Until then the trial is paused and its slot goes to another one. The live trial
of the lowest number never waits, so there is no deadlock.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from raytune_yesno.pareto import positions
from raytune_yesno.schedulers.synchronous import STOPPED, SynchronousScheduler

Vector = tuple[float, ...]


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
    losses there, an interpolated percentile. The first trial at a rung always continues. With
    several objectives, trials are compared by domination, see :func:`is_among_best`.
    """

    def __init__(self, epochs: int, grace_period: int, reduction_factor: float) -> None:
        self.factor = reduction_factor
        super().__init__(epochs, list_rungs(epochs, grace_period, reduction_factor))

    def should_stop(self, number: int, epoch: int) -> bool:
        """Compare a trial with the lower trials' losses at the same rung."""
        own = self.states[number].costs[epoch]
        below = [c for n in range(number) if (c := self.states[n].costs.get(epoch))]
        if len(own) > 1:
            return not is_among_best(own, below, 1 / self.factor)
        return is_worse(own[0], [costs[0] for costs in below], fraction=1 / self.factor)


class DeterministicMedian(DeterministicScheduler):
    """The median stopping rule with a fixed order of decisions.

    Golovin et al. (2017), "Google Vizier". A trial stops if its best loss is worse than the median
    of the running means, from the grace period to the check, of the lower trials that reached the
    check; with several objectives, if that is so in each.
    """

    def __init__(self, epochs: int, grace_period: int, min_trials: int) -> None:
        super().__init__(epochs, range(grace_period, epochs))
        self.grace_period, self.min_trials = grace_period, min_trials
        self.means: dict[tuple[int, int], Vector] = {}

    def should_stop(self, number: int, epoch: int) -> bool:
        """Compare a trial's best loss with the running means of the lower trials."""
        reached = [n for n in range(number) if epoch in self.states[n].costs]
        means = [self._mean(n, epoch) for n in reached]
        if sum(all(map(math.isfinite, mean)) for mean in means) < self.min_trials:
            return False
        return is_worse_everywhere(find_best(self.states[number].costs, epoch), means)

    def _mean(self, number: int, epoch: int) -> Vector:
        """Return a trial's running means up to an epoch; cached, its costs no longer change."""
        if (number, epoch) not in self.means:
            costs = self.states[number].costs
            self.means[number, epoch] = find_mean(costs, self.grace_period, epoch)
        return self.means[number, epoch]


def list_rungs(epochs: int, grace_period: int, reduction_factor: float) -> list[int]:
    """Return the epochs of the rungs, in rising order, all before the last epoch."""
    rungs, rung = [], float(grace_period)
    while math.ceil(rung) < epochs:
        rungs.append(math.ceil(rung))
        rung *= reduction_factor
    return rungs


def find_best(costs: Mapping[int, Vector], last: int) -> Vector:
    """Return the smallest value of each cost up to an epoch."""
    rows = [vector for epoch, vector in costs.items() if epoch <= last]
    return tuple(min(column) for column in zip(*rows, strict=True))


def find_mean(costs: Mapping[int, Vector], first: int, last: int) -> Vector:
    """Return the mean of each cost over the epochs ``first`` to ``last``."""
    rows = [vector for epoch, vector in costs.items() if first <= epoch <= last]
    return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))


def is_among_best(own: Vector, others: Sequence[Vector], fraction: float) -> bool:
    """Return whether a vector is within the best ``fraction`` of itself and the finite others.

    Vectors are ordered by domination (:func:`raytune_yesno.pareto.order`). At least one is among
    the best, so the first trial always continues.
    """
    finite = [vector for vector in others if all(map(math.isfinite, vector))]
    position = positions([*finite, own])[-1]
    return position < max(1, math.floor((len(finite) + 1) * fraction))


def is_worse_everywhere(best: Vector, means: Sequence[Vector]) -> bool:
    """Return whether a vector is worse than the median of the others in every cost."""
    columns = zip(*means, strict=True)
    return all(is_worse(c, column, fraction=1 / 2) for c, column in zip(best, columns, strict=True))


def is_worse(loss: float, others: Sequence[float], *, fraction: float) -> bool:
    """Return whether a loss is worse than the best ``fraction`` of the finite others.

    Without any finite others, return False.
    """
    # Negated as in Ray's ASHA, so that an interpolated percentile rounds in the same direction.
    scores = [-other for other in others if math.isfinite(other)]
    return bool(scores) and -loss < float(np.percentile(scores, (1 - fraction) * 100))
