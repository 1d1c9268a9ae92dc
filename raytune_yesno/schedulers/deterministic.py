"""Early stopping that comes to the same, however many trials run at a time (``tune --ordered``).

What makes a study differ from run to run is who is first. Here that decides nothing: at a check a
trial is judged beside those of lower numbers alone, once all of them have passed it or have ended.
Until then it waits, and gives its slot to another. The lowest trial waits for nobody, so nothing
locks.
"""

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from raytune_yesno.schedulers.synchronous import OUT, Rounds


class InOrder(Rounds):
    """Judge each trial, at the epochs of ``checks``, beside the trials of lower numbers."""

    def __init__(self, epochs: int, checks: Iterable[int]) -> None:
        super().__init__(epochs)
        self.checks = sorted(set(checks))
        self.verdicts: dict[tuple[int, int], bool] = {}
        self.num_settled = 0  # all trials below this number have ended

    def is_bad(self, number: int, epoch: int) -> bool:
        """Say whether a trial is to end at a check that no lower trial is still to pass."""
        raise NotImplementedError

    def milestones(self) -> dict[int, int]:
        """Return up to which epoch each trial that has not ended may train."""
        while (seen := self.entrants.get(self.num_settled)) and seen.ended:
            self.num_settled += 1
        live = range(self.num_settled, max(self.entrants, default=-1) + 1)
        goals: dict[int, int] = {}
        for number in live:
            if number in self.entrants and not self.entrants[number].ended:
                goals[number] = self._find_goal(number, goals)
        return goals

    def _find_goal(self, number: int, lower: Collection[int]) -> int:
        for check in self.checks:
            if any(self.entrants[n].epoch < check for n in (*lower, number)):
                return check
            if (number, check) not in self.verdicts:
                self.verdicts[number, check] = self.is_bad(number, check)
            if self.verdicts[number, check]:
                return OUT
        return self.epochs


class OrderedASHA(InOrder):
    """Successive halving, a trial at a time: Li et al. (2020), "A system for massively parallel
    hyperparameter tuning".

    A trial goes on from a rung if its loss there is no worse than the best 1/eta of the lower
    trials' losses there, as a percentile between them; who comes first goes on.
    """

    def __init__(self, epochs: int, grace_period: int, reduction_factor: float) -> None:
        self.factor = reduction_factor
        super().__init__(epochs, place_rungs(epochs, grace_period, reduction_factor))

    def is_bad(self, number: int, epoch: int) -> bool:
        """Compare with what the lower trials came to at the same rung."""
        below = (self.entrants[n].losses.get(epoch, math.inf) for n in range(number))
        return is_worse(self.entrants[number].losses[epoch], list(below), fraction=1 / self.factor)


class OrderedMedian(InOrder):
    """The median stopping rule, a trial at a time: Golovin et al. (2017), "Google Vizier".

    A trial ends if its best loss is worse than the median of the running means, from the grace
    period to the check, of those lower trials that came as far.
    """

    def __init__(self, epochs: int, grace_period: int, min_trials: int) -> None:
        super().__init__(epochs, range(grace_period, epochs))
        self.grace_period, self.min_trials = grace_period, min_trials
        self.means: dict[tuple[int, int], float] = {}

    def is_bad(self, number: int, epoch: int) -> bool:
        """Compare with the means of the lower trials."""
        reached = [n for n in range(number) if epoch in self.entrants[n].losses]
        means = [self._mean(n, epoch) for n in reached]
        if np.isfinite(means).sum() < self.min_trials:
            return False
        own = self.entrants[number].losses
        return is_worse(min(own[e] for e in own if e <= epoch), means, fraction=1 / 2)

    def _mean(self, number: int, epoch: int) -> float:
        """Return a trial's running mean, whose losses up to there no longer change."""
        if (number, epoch) not in self.means:
            losses = self.entrants[number].losses
            window = [losses[e] for e in range(self.grace_period, epoch + 1) if e in losses]
            self.means[number, epoch] = math.fsum(window) / len(window)
        return self.means[number, epoch]


def place_rungs(epochs: int, grace_period: int, reduction_factor: float) -> list[int]:
    """Return the epochs below the last at which trials are halved."""
    rungs, rung = [], float(grace_period)
    while math.ceil(rung) < epochs:
        rungs.append(math.ceil(rung))
        rung *= reduction_factor
    return rungs


def is_worse(loss: float, others: Sequence[float], *, fraction: float) -> bool:
    """Say whether a loss lies above a fraction of the others that are finite; False without any."""
    # Negated, as in Ray's ASHA: what lies between two values rounds the other way else.
    scores = [-other for other in others if math.isfinite(other)]
    return bool(scores) and -loss < float(np.percentile(scores, (1 - fraction) * 100))
