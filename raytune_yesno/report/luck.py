"""How much of a search's best result was luck, according to the final round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from raytune_yesno.search.repeats import estimate_variance
from raytune_yesno.study import Study
from raytune_yesno.study.candidates import Candidate

LEVEL = 0.9
PRIOR = 2
"""Weight of the pooled variance beside a point's own, in degrees of freedom.

The noise of points differs, so that a pooled variance alone is too small for some of them, and
their own, from a few seeds, is too uncertain. In simulations with 2 to 5 seeds, normal, skewed or
heavy-tailed noise, equal or up to e-fold different between points, an interval of 90 % contained
the mean in 86 to 94 % of cases; with the pooled variance alone in 82 to 91 %.
"""
_NUM_DRAWS = 20_000


@dataclass(frozen=True)
class Luck:
    """What the final round says of the search's best point.

    Attributes:
        trial: the number of its first training.
        result: its result in the search, a value of the deciding metric.
        mean: the mean of its results in the final round.
        repeats: their number.
        diverged: the number of its trainings in the final round that diverged; they have no result
            that ``mean`` could contain.
        flattery: by how much the search's result is better than that mean.
        low: lower end of the interval of ``flattery`` at :data:`LEVEL`, see :func:`find_error`.
        high: upper end.
        chosen: the first training of the point with the best mean, which is refitted.
        probability: the probability that it is the best of the finalists.
        ties: the first trainings of the finalists that cannot be told from it: the interval of the
            difference of their means, at :data:`LEVEL`, includes 0.
    """

    trial: int
    result: float
    mean: float
    repeats: int
    diverged: int
    flattery: float
    low: float
    high: float
    chosen: int
    probability: float
    ties: tuple[int, ...] = ()


def measure_luck(study: Study) -> Luck | None:
    """Return what the final round says; None without one that has enough results."""
    finalists = {
        each.trial.number: results
        for each in study.candidates
        if each.finals and math.isfinite(_search_cost(each)) and (results := _final_results(each))
    }
    variance = estimate_variance(finalists.values())
    searched = [each for each in study.candidates if each.trial.number in finalists]
    if variance is None or not searched:
        return None
    best = min(searched, key=_search_cost)
    own = finalists[best.trial.number]
    mean, cost = math.fsum(own) / len(own), _search_cost(best)
    half = find_half_width(own, variance)
    value_of = study.objective.metric.value_of
    chosen = searched[0].trial.number
    others = [number for number in finalists if number != chosen]
    return Luck(
        trial=best.trial.number,
        result=value_of(cost),
        mean=value_of(mean),
        repeats=len(own),
        diverged=sum(math.isinf(cost) for cost in best.results),
        flattery=mean - cost,
        low=mean - cost - half,
        high=mean - cost + half,
        chosen=chosen,
        probability=_find_probability(list(finalists), finalists, variance, chosen),
        ties=tuple(
            number
            for number in sorted(others)
            if is_tie(finalists[number], finalists[chosen], variance)
        ),
    )


def find_error(results: Sequence[float], pooled: float) -> tuple[float, int]:
    """Return the standard error of a point's mean and its degrees of freedom for Student's t.

    Args:
        results: the results of the point.
        pooled: the variance pooled over all points.
    """
    mean = math.fsum(results) / len(results)
    squares = math.fsum((result - mean) ** 2 for result in results)
    freedom = PRIOR + len(results) - 1
    return math.sqrt((PRIOR * pooled + squares) / freedom / len(results)), freedom


def find_half_width(results: Sequence[float], pooled: float) -> float:
    """Return half the width of the interval of a point's mean at :data:`LEVEL`."""
    error, freedom = find_error(results, pooled)
    return error * float(student.ppf((1 + LEVEL) / 2, freedom))


def is_tie(one: Sequence[float], other: Sequence[float], pooled: float) -> bool:
    """Return whether the interval of the difference of two means includes 0 (Welch 1947)."""
    (error, freedom), (error_2, freedom_2) = (find_error(each, pooled) for each in (one, other))
    gap = abs(math.fsum(one) / len(one) - math.fsum(other) / len(other))
    total = math.hypot(error, error_2)
    if not total:
        return gap == 0
    together = total**4 / (error**4 / freedom + error_2**4 / freedom_2)
    return gap <= total * float(student.ppf((1 + LEVEL) / 2, together))


def describe_luck(study: Study) -> str:
    """Return the final round's outcome in sentences; empty without one."""
    luck = measure_luck(study)
    if luck is None:
        return ""
    show = study.objective.metric.show
    worse = "worse" if luck.flattery >= 0 else "better"
    diverged = f" Trainings that diverged, not in the mean: {luck.diverged}." * (luck.diverged > 0)
    same = "It was chosen" if luck.chosen == luck.trial else f"Trial {luck.chosen} was chosen"
    ties = ""
    if luck.ties:
        verb = "trial" if len(luck.ties) == 1 else "trials"
        ties = f" It cannot be told from {verb} {', '.join(map(str, luck.ties))}."
    interval = f"{LEVEL:.0%} interval {luck.low:.3g} to {luck.high:.3g} worse"
    return (
        f"The search's best, trial {luck.trial}, reached {study.metric} {show(luck.result)}; its "
        f"mean over {luck.repeats} new seeds is {show(luck.mean)}, {abs(luck.flattery):.3g} "
        f"{worse} ({interval}).{diverged} {same}; it "
        f"is the best of the finalists with a probability of {luck.probability:.0%}.{ties}"
    )


def _final_results(candidate: Candidate) -> list[float]:
    """Return the finite costs of the trainings of a candidate's final round that decide."""
    return [
        cost
        for trial, cost in zip(candidate.judged, candidate.results, strict=True)
        if trial.final and math.isfinite(cost)
    ]


def _search_cost(candidate: Candidate) -> float:
    """Return the mean cost of a candidate's trainings in the search; failed ones do not count."""
    return replace(candidate, finals=()).mean


def _find_probability(
    numbers: list[int], finalists: dict[int, list[float]], variance: float, chosen: int
) -> float:
    """Return the share of draws from the means' t distributions in which ``chosen`` is best."""
    means = np.array([np.mean(finalists[number]) for number in numbers])
    errors, freedoms = np.array([find_error(finalists[number], variance) for number in numbers]).T
    generator = np.random.default_rng(0)
    draws = means + errors * generator.standard_t(freedoms, size=(_NUM_DRAWS, len(numbers)))
    ties = draws == draws.min(axis=1, keepdims=True)
    return float((ties[:, numbers.index(chosen)] / ties.sum(axis=1)).mean())
