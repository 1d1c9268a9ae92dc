"""The rules of early stopping: whether a trial stops, given the costs of other trials.

A rule serves both forms of a scheduler. The asynchronous one compares a trial with all others, the
deterministic one with the trials of lower numbers. Several objectives are compared by
non-dominated sorting (:func:`raytune_yesno.pareto.order`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from raytune_yesno.metrics import COSTS
from raytune_yesno.pareto import positions

Vector = tuple[float, ...]


@dataclass
class TrialState:
    """The state of one trial: its costs after each epoch, and whether it has ended."""

    costs: dict[int, Vector] = field(default_factory=dict)
    ended: bool = False
    _means: dict[tuple[int, int], Vector] = field(default_factory=dict, repr=False, compare=False)

    @property
    def epoch(self) -> int:
        """The last epoch trained; 0 before the first."""
        return max(self.costs, default=0)

    def note(self, epoch: int, *costs: float | None) -> None:
        """Store the costs; None and NaN become infinity, worse than any other cost."""
        if epoch in self.costs:  # trained again after a restart
            self._means.clear()
        self.costs[epoch] = tuple(math.inf if c is None or math.isnan(c) else c for c in costs)

    def note_result(self, result: Mapping[str, Any], metric: str) -> None:
        """Store the costs of a result; a trial that ends before its first epoch has none."""
        if "epoch" in result:
            self.note(result["epoch"], *(result.get(COSTS) or (result.get(metric),)))

    def best(self, last: int) -> Vector:
        """Return the smallest value of each cost up to an epoch."""
        rows = [vector for epoch, vector in self.costs.items() if epoch <= last]
        return tuple(min(column) for column in zip(*rows, strict=True))

    def mean(self, first: int, last: int) -> Vector:
        """Return the mean of each cost over the epochs ``first`` to ``last``; it is cached."""
        if (first, last) not in self._means:
            rows = [vector for epoch, vector in self.costs.items() if first <= epoch <= last]
            columns = zip(*rows, strict=True)
            self._means[first, last] = tuple(math.fsum(c) / len(rows) for c in columns)
        return self._means[first, last]


class Rule(Protocol):
    """A rule of early stopping.

    Attributes:
        checks: the epochs after which trials are compared, in rising order.
    """

    checks: Sequence[int]

    def stops(self, own: TrialState, others: Iterable[TrialState], epoch: int) -> bool:
        """Return whether a trial stops at a check.

        Args:
            own: the trial, which has trained the epoch.
            others: the trials to compare it with; those that have not trained the epoch are
                ignored.
            epoch: one of ``checks``.
        """


class SuccessiveHalving:
    """Stop a trial that is not among the best 1 / ``reduction_factor`` at a rung.

    Li et al. (2020), "A system for massively parallel hyperparameter tuning". With one objective,
    the loss is compared with an interpolated percentile of the others' losses at the rung, as in
    Ray's ASHA; with several as by Schmucker et al. (2021), "MO-ASHA". The first trial at a rung
    always continues.

    Args:
        epochs: epochs of a trial that is not stopped early.
        grace_period: the epoch of the first rung.
        reduction_factor: the ratio of the epochs of two rungs.
    """

    def __init__(self, epochs: int, grace_period: int, reduction_factor: float) -> None:
        self.factor = reduction_factor
        self.checks: Sequence[int] = list_rungs(epochs, grace_period, reduction_factor)

    def stops(self, own: TrialState, others: Iterable[TrialState], epoch: int) -> bool:
        """Compare the costs of the trials at the same rung."""
        costs, known = (
            own.costs[epoch],
            [seen.costs[epoch] for seen in others if epoch in seen.costs],
        )
        if len(costs) > 1:
            return not is_among_best(costs, known, 1 / self.factor)
        return is_worse(costs[0], [vector[0] for vector in known], fraction=1 / self.factor)


class MedianStopping:
    """Stop a trial whose best loss is worse than the median of the others' running means.

    Golovin et al. (2017), "Google Vizier". The means are those from the grace period to the check.
    With several objectives, a trial stops if it is worse in each.

    Args:
        epochs: epochs of a trial that is not stopped early.
        grace_period: the first check.
        min_trials: other trials with finite means that a comparison needs.
    """

    def __init__(self, epochs: int, grace_period: int, min_trials: int) -> None:
        self.grace_period, self.min_trials = grace_period, min_trials
        self.checks: Sequence[int] = range(grace_period, epochs)

    def stops(self, own: TrialState, others: Iterable[TrialState], epoch: int) -> bool:
        """Compare the best costs of a trial with the running means of the others."""
        means = [seen.mean(self.grace_period, epoch) for seen in others if epoch in seen.costs]
        if sum(all(map(math.isfinite, mean)) for mean in means) < self.min_trials:
            return False
        pairs = zip(own.best(epoch), zip(*means, strict=True), strict=True)
        return all(is_worse(cost, column, fraction=1 / 2) for cost, column in pairs)


def list_rungs(epochs: int, grace_period: int, reduction_factor: float) -> list[int]:
    """Return the epochs of the rungs, in rising order, all before the last epoch."""
    rungs, rung = [], float(grace_period)
    while math.ceil(rung) < epochs:
        rungs.append(math.ceil(rung))
        rung *= reduction_factor
    return rungs


def is_among_best(own: Vector, others: Sequence[Vector], fraction: float) -> bool:
    """Return whether a vector is within the best ``fraction`` of itself and the finite others.

    Vectors are ordered by non-dominated sorting (:func:`raytune_yesno.pareto.order`). At least one
    is among the best, so the first trial always continues.
    """
    finite = [vector for vector in others if all(map(math.isfinite, vector))]
    position = positions([*finite, own])[-1]
    return position < max(1, math.floor((len(finite) + 1) * fraction))


def is_worse(loss: float, others: Sequence[float], *, fraction: float) -> bool:
    """Return whether a loss is worse than the best ``fraction`` of the finite others.

    Without any finite others, return False.
    """
    # Negated as in Ray's ASHA, so that an interpolated percentile rounds in the same direction.
    scores = [-other for other in others if math.isfinite(other)]
    return bool(scores) and -loss < float(np.percentile(scores, (1 - fraction) * 100))
