"""Asynchronous early stopping for several objectives.

Trials are compared by the vectors of their costs: by the rank of domination and, within a rank, by
an epsilon-net (:func:`raytune_yesno.pareto.order`).
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import TrialScheduler

from raytune_yesno.metrics import COST, COSTS
from raytune_yesno.schedulers.asha_median import FIFO
from raytune_yesno.schedulers.deterministic import (
    Vector,
    find_best,
    find_mean,
    is_among_best,
    is_worse_everywhere,
)
from raytune_yesno.schedulers.synchronous import TrialState
from raytune_yesno.study import Trial


class _Comparing(FIFO):
    """A scheduler that keeps the costs of all trials by epoch, and stops trials by them."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[int, TrialState] = defaultdict(TrialState)

    def prepare(self, earlier: Iterable[Trial], **context: Any) -> None:
        """Store the costs of recorded trials."""
        for trial in earlier:
            for epoch in trial.epochs:
                self.states[trial.number].note(epoch["epoch"], *trial.objective.costs(epoch))

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Return whether a trial continues after this epoch."""
        number, epoch = trial.config["number"], result["epoch"]
        self.states[number].note(epoch, *(result.get(COSTS) or (result[COST],)))
        stop = self.should_stop(number, epoch)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def find_others(self, number: int, epoch: int) -> dict[int, Vector]:
        """Return the costs of the other trials at an epoch, by trial number."""
        known = {n: state.costs for n, state in self.states.items() if n != number}
        return {n: costs[epoch] for n, costs in known.items() if epoch in costs}

    def should_stop(self, number: int, epoch: int) -> bool:
        """Return whether a trial stops after an epoch."""
        raise NotImplementedError


class ParetoASHA(_Comparing):
    """Asynchronous successive halving by domination (Schmucker et al., 2021, "MO-ASHA").

    At a rung, a trial continues if it is within the best 1 / ``factor`` of the trials that have
    reached it.

    Args:
        rungs: the epochs of the rungs.
        factor: the reduction factor.
    """

    def __init__(self, rungs: Iterable[int], factor: float) -> None:
        super().__init__()
        self.rungs, self.factor = set(rungs), factor

    def should_stop(self, number: int, epoch: int) -> bool:
        """Compare a trial with the others at the same rung."""
        if epoch not in self.rungs:
            return False
        others = list(self.find_others(number, epoch).values())
        return not is_among_best(self.states[number].costs[epoch], others, 1 / self.factor)


class ParetoMedian(_Comparing):
    """The median stopping rule for each objective.

    A trial stops if its best cost is worse than the median of the others' running means in every
    objective.

    Args:
        grace_period: epochs before which no trial stops.
        min_trials: other trials that must have reached the epoch.
    """

    def __init__(self, grace_period: int, min_trials: int) -> None:
        super().__init__()
        self.grace_period, self.min_trials = grace_period, min_trials

    def should_stop(self, number: int, epoch: int) -> bool:
        """Compare the best costs of a trial with the running means of the others."""
        if epoch < self.grace_period:
            return False
        means = [
            find_mean(self.states[n].costs, self.grace_period, epoch)
            for n in self.find_others(number, epoch)
        ]
        if sum(all(map(math.isfinite, mean)) for mean in means) < self.min_trials:
            return False
        return is_worse_everywhere(find_best(self.states[number].costs, epoch), means)
