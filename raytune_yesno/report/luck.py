"""How much of a search's best result was luck, according to the final round."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from raytune_yesno.search.repeats import estimate_variance
from raytune_yesno.study import Study
from raytune_yesno.study.candidates import Candidate, result_costs
from raytune_yesno.study.trial import RANKED, Trial
from raytune_yesno.text import join_names

LEVEL = 0.9
PRIOR = 3
"""Weight of the variance of the other points beside a point's own, in degrees of freedom.

The noise of points differs, so that a pooled variance alone is too small for some of them, and
their own, from a few seeds, is too uncertain. For the same reason, and because noise is seldom
normal, the others add only half their weight to the degrees of freedom of Student's t.
"""
_NUM_DRAWS = 20_000


@dataclass(frozen=True)
class Luck:
    """What the final round says of the search's best point.

    With several objectives, it is the chosen point, and the results are those in the first one.

    Attributes:
        trial: the number of its first training. A point that kept the limits in the search precedes
            one that exceeded them.
        result: its result in the search, a value of the deciding metric.
        mean: the mean of its results in the final round.
        repeats: their number.
        diverged: the number of its trainings in the final round that diverged; they have no result
            that ``mean`` could contain.
        flattery: by how much the search's result is better than that mean.
        low: lower end of the interval of ``flattery`` at :data:`LEVEL`, see :func:`estimate_means`.
        high: upper end.
        chosen: the first training of the point with the best mean, which is refitted.
        probability: the probability that it is the best of the finalists, or of those that keep the
            limits as it does; None with several objectives.
        ties: the first trainings of these finalists that cannot be told from it: the interval of
            the difference of their means, at :data:`LEVEL`, includes 0.
        lost: the first trainings of the finalists without a result in the final round: all their
            trainings there failed or diverged. ``trial`` is the best of the other finalists.
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
    probability: float | None
    ties: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


def measure_luck(study: Study) -> Luck | None:
    """Return what the final round says; None without one that has enough results."""
    finalists = {
        each.trial.number: results
        for each in study.candidates
        if math.isfinite(_search_cost(each)) and (results := _final_results(each))
    }
    groups = {number: list(results.values()) for number, results in finalists.items()}
    searched = [each for each in study.candidates if each.trial.number in finalists]
    if estimate_variance(groups.values()) is None or not searched:
        return None
    means = dict(zip(groups, estimate_means(list(groups.values())), strict=True))
    several = bool(study.objective.others)
    best = searched[0] if several else min(searched, key=_search_standing)
    own, cost = means[best.trial.number], _search_cost(best)
    flattery = own.mean - cost
    value_of = study.objective.metric.value_of
    chosen = searched[0].trial.number
    rivals = {
        each.trial.number: finalists[each.trial.number]
        for each in searched
        if not several and each.excess == searched[0].excess
    }
    leads = _find_leads(rivals, means, chosen) if rivals else {}
    return Luck(
        trial=best.trial.number,
        result=value_of(cost),
        mean=value_of(own.mean),
        repeats=len(finalists[best.trial.number]),
        diverged=sum(math.isinf(cost) for cost in best.results),
        flattery=flattery,
        low=flattery - own.half_width,
        high=flattery + own.half_width,
        chosen=chosen,
        probability=None if several else _find_probability(list(leads.values())),
        ties=tuple(sorted(n for n, lead in leads.items() if abs(lead.mean) <= lead.half_width)),
        lost=_find_lost(study),
    )


@dataclass(frozen=True)
class Estimate:
    """The mean of a point's results, its standard error, and that one's degrees of freedom."""

    mean: float
    error: float
    freedom: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval of the mean at :data:`LEVEL`."""
        return self.error * float(student.ppf((1 + LEVEL) / 2, self.freedom))


def estimate_means(groups: Sequence[Sequence[float]]) -> list[Estimate]:
    """Return the estimates of the points that have these results."""
    means = [math.fsum(group) / len(group) for group in groups]
    squares = np.array(
        [
            math.fsum((x - mean) * (x - mean) for x in group)  # `**` would raise if huge
            for group, mean in zip(groups, means, strict=True)
        ]
    )
    estimates = []
    for index, (group, mean) in enumerate(zip(groups, means, strict=True)):
        own = len(group) - 1
        others = sum(map(len, groups)) - len(groups) - own
        weight = min(PRIOR, others)
        pooled = np.delete(squares, index).sum() / max(1, others)
        variance = (weight * pooled + squares[index]) / (weight + own)
        error = math.sqrt(variance / len(group))
        estimates.append(Estimate(mean, error, weight / 2 + own))
    return estimates


def describe_luck(study: Study) -> str:
    """Return the final round's outcome in sentences; empty without one."""
    luck, lost = measure_luck(study), ""
    if numbers := _find_lost(study):
        which = join_names([f"trial {number}" for number in numbers])
        lost = f"All new trainings of {which} failed or diverged."
    if luck is None:
        return lost
    show = study.objective.metric.show
    worse = "worse" if luck.flattery >= 0 else "better"
    diverged = f" Trainings that diverged, not in the mean: {luck.diverged}." * (luck.diverged > 0)
    same = "It was chosen" if luck.chosen == luck.trial else f"Trial {luck.chosen} was chosen"
    which = f"The search's best{' of the others' * bool(lost)}"
    first = study.candidates[0]
    equal = [each for each in study.candidates if each.finals and each.excess == first.excess]
    keep = bool(study.objective.limits) and not first.excess
    if luck.probability is None:
        which, outcome = "The chosen point", ""
    elif keep and len(equal) == 1:
        outcome = f" {same}, the only finalist that keeps the limits."
    else:
        outcome = (
            f" {same}; it is the best of the finalists{' that keep the limits' * keep} with a "
            f"probability of {luck.probability:.0%}."
        )
    ties = ""
    if luck.ties:
        noun = "trial" if len(luck.ties) == 1 else "trials"
        ties = f" It cannot be told from {noun} {', '.join(map(str, luck.ties))}."
    interval = f"{LEVEL:.0%} interval {luck.low:.3g} to {luck.high:.3g} worse"
    return f"{lost} ".lstrip() + (
        f"{which}, trial {luck.trial}, reached {study.metric} {show(luck.result)}; its "
        f"mean over {luck.repeats} new seeds is {show(luck.mean)}, {abs(luck.flattery):.3g} "
        f"{worse} ({interval}).{diverged}{outcome}{ties}"
    )


def _find_lost(study: Study) -> tuple[int, ...]:
    """Return the finalists without a result in any final round, by their first trainings."""

    def has_result(trial: Trial) -> bool:
        return trial.status in RANKED and math.isfinite(result_costs(trial)[0])

    lost = (c for c in study.candidates if c.finals and not any(map(has_result, c.finals)))
    return tuple(sorted(each.trial.number for each in lost))


def _final_results(candidate: Candidate) -> dict[int | None, float]:
    """Return the finite costs of a candidate's trainings of the final round, by their seeds."""
    return {
        trial.seed: cost
        for trial, cost in zip(candidate.judged, candidate.results, strict=True)
        if trial.final and math.isfinite(cost)
    }


def _search_cost(candidate: Candidate) -> float:
    """Return the mean cost of a candidate's trainings in the search; failed ones do not count."""
    return replace(candidate, finals=()).mean


def _search_standing(candidate: Candidate) -> tuple[float, float]:
    """Return a sort key by the trainings in the search: the excess over the limits, the cost."""
    known = replace(candidate, finals=())
    return known.excess, known.mean


def _find_leads(
    finalists: Mapping[int, Mapping[int | None, float]],
    means: Mapping[int, Estimate],
    chosen: int,
) -> dict[int, Estimate]:
    """Return by how much the mean of each other finalist is worse than that of ``chosen``.

    What a seed changes for all points, such as the validation part, does not count: results of the
    same seed are subtracted. Only if a training has failed, the means are (Welch 1947).
    """
    best, others = finalists[chosen], [number for number in finalists if number != chosen]
    if all(finalists[number].keys() == best.keys() for number in others):
        pairs = [[finalists[n][seed] - cost for seed, cost in best.items()] for n in others]
        return dict(zip(others, estimate_means(pairs), strict=True))
    own, leads = means[chosen], {}
    for number in others:
        other = means[number]
        total = math.hypot(own.error, other.error)
        share = (own.error / total) ** 2 if total else 1.0
        freedom = 1 / (share**2 / own.freedom + (1 - share) ** 2 / other.freedom)
        leads[number] = Estimate(other.mean - own.mean, total, freedom)
    return leads


def _find_probability(leads: Sequence[Estimate]) -> float:
    """Return the share of draws from t distributions in which no lead is negative.

    The mean of the chosen point is part of all leads: their errors correlate by a half.
    """
    if not leads:
        return 1.0
    means, errors, freedoms = np.array([(each.mean, each.error, each.freedom) for each in leads]).T
    generator, shape = np.random.default_rng(0), (_NUM_DRAWS, len(leads))
    normal = generator.standard_normal((_NUM_DRAWS, 1)) + generator.standard_normal(shape)
    scale = errors * np.sqrt(freedoms / generator.chisquare(freedoms, shape) / 2)
    draws = means + scale * normal
    wins = (draws >= 0).all(axis=1) / (1 + (draws == 0).sum(axis=1))
    return float(wins.mean())
