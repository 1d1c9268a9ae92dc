"""Hyperband as published, with synchronous brackets."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from raytune_yesno.errors import InputError
from raytune_yesno.pareto import order
from raytune_yesno.schedulers.stopping_rules import TrialState
from raytune_yesno.schedulers.synchronous import STOPPED, SynchronousScheduler


@dataclass(frozen=True)
class Rung:
    """A level of a bracket: how many trials train, and up to which epoch."""

    trials: int
    epochs: int


def build_bracket(num_trials: int, halvings: int, epochs: int, factor: float) -> list[Rung]:
    """Return a bracket's rungs: Li et al. (2018), algorithm 1, lines 5 and 6.

    Epochs are rounded down to at least 1, and rungs that fall on the same epoch are merged.

    Args:
        num_trials: trials that start in the bracket.
        halvings: how often the number of trials is divided by ``factor``.
        epochs: epochs of the last rung.
        factor: eta of the paper.
    """
    rungs: dict[int, int] = {}
    for halving in range(halvings + 1):
        reached = max(1, _floor(epochs * factor ** (halving - halvings)))
        rungs.setdefault(reached, max(1, _floor(num_trials * factor**-halving)))
    return [Rung(trials, reached) for reached, trials in rungs.items()]


def build_band(epochs: int, factor: float) -> list[list[Rung]]:
    """Return the brackets of one round of Hyperband: Li et al. (2018), algorithm 1.

    With R = ``epochs`` and eta = ``factor``: from s = floor(log_eta R) halvings down to none,
    ceil((s_max + 1) eta^s / (s + 1)) trials start.
    """
    max_halvings = 0
    while factor ** (max_halvings + 1) <= epochs * (1 + 1e-9):
        max_halvings += 1
    return [
        build_bracket(_ceil((max_halvings + 1) / (s + 1) * factor**s), s, epochs, factor)
        for s in range(max_halvings, -1, -1)
    ]


def advance(rungs: Sequence[Rung], states: Sequence[TrialState | None]) -> list[int]:
    """Return the epoch up to which each trial of a bracket may train, or STOPPED.

    The best trials of a rung continue once all of its trials have reached it or have ended; with
    several objectives, these are the first in the order of :func:`raytune_yesno.pareto.order`.

    Args:
        rungs: the rungs of the bracket.
        states: one state a trial; None for a trial that has not started.
    """
    goals = [rungs[0].epochs] * len(states)
    racing = list(range(len(states)))
    for rung, following in itertools.pairwise(rungs):
        if any(not _has_reached(states[index], rung.epochs) for index in racing):
            break
        costs = {
            index: state.costs[rung.epochs]
            for index in racing
            if (state := states[index]) and rung.epochs in state.costs
        }
        reached = sorted(costs)
        ranked = order([costs[index] for index in reached])
        best = [reached[index] for index in ranked[: following.trials]]
        for index in racing:
            goals[index] = following.epochs if index in best else STOPPED
        racing = best
    return goals


class Hyperband(SynchronousScheduler):
    """Run brackets of successive halving, from many short trials to a few long ones.

    Li et al. (2018), "Hyperband: a novel bandit-based approach to hyperparameter optimization".
    Trials join brackets in the order of their numbers. The bracket with the most halvings is the
    first, and the sequence of brackets repeats. The last bracket is smaller if the trials do not
    fill it. While a bracket waits for its slowest trial, trials of the next bracket start.
    """

    def __init__(self, epochs: int, reduction_factor: float) -> None:
        if not 1.5 <= reduction_factor <= 100:
            raise InputError(f"reduction_factor: {reduction_factor} must be from 1.5 to 100")
        super().__init__(epochs)
        self.factor = float(reduction_factor)

    def brackets(self) -> list[tuple[range, list[Rung]]]:
        """Return the trial numbers and the rungs of each bracket."""
        brackets: list[tuple[range, list[Rung]]] = []
        first = 0
        band = build_band(self.epochs, self.factor)
        while first < self.num_trials:
            index = len(brackets) % len(band)
            rungs = band[index]
            size = rungs[0].trials
            if first + size > self.num_trials:
                size = self.num_trials - first
                halvings = len(band) - 1 - index
                rungs = build_bracket(size, halvings, self.epochs, self.factor)
            brackets.append((range(first, first + size), rungs))
            first += size
        return brackets

    def milestones(self) -> dict[int, int]:
        """Return the epoch up to which each trial may train, or STOPPED."""
        return {
            number: goal
            for numbers, rungs in self.brackets()
            for number, goal in zip(
                numbers, advance(rungs, [self.states.get(n) for n in numbers]), strict=True
            )
        }


def _has_reached(state: TrialState | None, epochs: int) -> bool:
    return state is not None and (state.ended or epochs in state.costs)


# Tolerances: a power that should be an integer may be off by a rounding error.
def _floor(value: float) -> int:
    return math.floor(value + 1e-9)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)
