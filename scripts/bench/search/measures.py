"""Figures over seeds: medians with exact intervals, and how soon a value was reached; tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binom


@dataclass(frozen=True)
class Median:
    """A median over seeds, and the interval that covers the true one with 95 % or more."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_write(self.value)} ({_write(self.low)}–{_write(self.high)})"


def take_median(values: Sequence[float]) -> Median:
    """Return the median with its interval from order statistics: no assumption on the values'
    distribution, some of which may be infinite (never reached). Six seeds is the least at which
    95 % are covered; of fewer the interval is all there are."""
    ordered = sorted(values)
    num = len(ordered)
    rank = int(binom.ppf(0.025, num, 0.5))  # this many may lie outside on either side
    rank -= binom.cdf(rank - 1, num, 0.5) > 0.025
    rank = max(rank, 1)
    middle = [ordered[(num - 1) // 2], ordered[num // 2]]
    value = middle[0] if middle[0] == middle[1] else sum(middle) / 2
    return Median(value, ordered[rank - 1], ordered[num - rank])


def best_after(ended: Sequence[float], num: int) -> float:
    """Return the least of the first ``num`` losses."""
    return min(ended[:num])


def evaluations_to(ended: Sequence[float], target: float) -> float:
    """Return how many evaluations it took to reach a loss; infinite if it never did."""
    return next((n for n, loss in enumerate(ended, start=1) if loss <= target), math.inf)


def epochs_to(spent: Sequence[int], bests: Sequence[float], target: float) -> float:
    """Return how many epochs it took to reach a loss; infinite if it never did."""
    reached = (epochs for epochs, best in zip(spent, bests, strict=True) if best <= target)
    return next(reached, math.inf)


def _write(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.3g}"


def write_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]
