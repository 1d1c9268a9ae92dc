"""Hyperband, as it was published."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from raytune_yesno.errors import InputError
from raytune_yesno.schedulers.synchronous import OUT, Entrant, Rounds


@dataclass(frozen=True)
class Rung:
    """So many trials train up to so many epochs."""

    trials: int
    epochs: int


def build_bracket(num_trials: int, halvings: int, epochs: int, factor: float) -> list[Rung]:
    """Return a bracket's rungs: Li et al. (2018), algorithm 1, lines 5 and 6.

    Epochs are rounded down, and at least 1; rungs that come to lie on the same epoch are one.
    """
    rungs: dict[int, int] = {}
    for halving in range(halvings + 1):
        reached = max(1, _floor(epochs * factor ** (halving - halvings)))
        rungs.setdefault(reached, max(1, _floor(num_trials * factor**-halving)))
    return [Rung(trials, reached) for reached, trials in rungs.items()]


def build_band(epochs: int, factor: float) -> list[list[Rung]]:
    """Return the brackets of one round of Hyperband: Li et al. (2018), algorithm 1.

    With R = ``epochs`` and eta = ``factor``: from s = floor(log_eta R) halvings down to none,
    ceil((s_max + 1) eta^s / (s + 1)) trials begin.
    """
    most = 0
    while factor ** (most + 1) <= epochs * (1 + 1e-9):
        most += 1
    return [
        build_bracket(_ceil((most + 1) / (s + 1) * factor**s), s, epochs, factor)
        for s in range(most, -1, -1)
    ]


def advance(rungs: Sequence[Rung], entrants: Sequence[Entrant | None]) -> list[int]:
    """Return up to which epoch each of a bracket's trials may train, or OUT.

    At a rung the best go on, once all have come to it or have ended; None is a trial to come.
    """
    goals = [rungs[0].epochs] * len(entrants)
    racing = list(range(len(entrants)))
    for rung, following in itertools.pairwise(rungs):
        if any(not _has_settled(entrants[index], rung.epochs) for index in racing):
            break
        losses = {
            index: entrant.losses[rung.epochs]
            for index in racing
            if (entrant := entrants[index]) and rung.epochs in entrant.losses
        }
        best = sorted(losses, key=lambda index: (losses[index], index))[: following.trials]
        for index in racing:
            goals[index] = following.epochs if index in best else OUT
        racing = best
    return goals


class Hyperband(Rounds):
    """Run brackets of successive halving, from many trials that begin short to few long ones.

    Li et al. (2018), "Hyperband: a novel bandit-based approach to hyperparameter optimization".
    Trials join brackets in the order of their numbers, the bracket of most halvings first, and
    after the last bracket the first comes again; the number of trials may cut the last one short.
    While a bracket waits for its last trial, the next one's begin.
    """

    def __init__(self, epochs: int, reduction_factor: float) -> None:
        if not 1.5 <= reduction_factor <= 100:
            raise InputError(f"reduction_factor: {reduction_factor} must be from 1.5 to 100")
        super().__init__(epochs)
        self.factor = float(reduction_factor)

    def brackets(self) -> list[tuple[range, list[Rung]]]:
        """Return the numbers and the rungs of each bracket."""
        brackets: list[tuple[range, list[Rung]]] = []
        first = 0
        band = build_band(self.epochs, self.factor)
        for index in itertools.count():
            if first >= self.num_trials:
                return brackets
            rungs = band[index % len(band)]
            size = rungs[0].trials
            if first + size > self.num_trials:
                size = self.num_trials - first
                halvings = len(band) - 1 - index % len(band)
                rungs = build_bracket(size, halvings, self.epochs, self.factor)
            brackets.append((range(first, first + size), rungs))
            first += size
        raise AssertionError

    def milestones(self) -> dict[int, int]:
        """Return the epoch up to which each trial may train."""
        return {
            number: goal
            for numbers, rungs in self.brackets()
            for number, goal in zip(
                numbers, advance(rungs, [self.entrants.get(n) for n in numbers]), strict=True
            )
        }


def _has_settled(entrant: Entrant | None, epochs: int) -> bool:
    return entrant is not None and (entrant.ended or epochs in entrant.losses)


# A power that should be whole may come out a rounding error beside it.
def _floor(value: float) -> int:
    return math.floor(value + 1e-9)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)
