"""Attainment: what the studies of a search reach in two objectives, by how many of them.

A study attains a pair of values if some trial on its front is at least as good in both. The pairs
that at least k of n studies attain are bounded by a front, the k-th attainment surface (Fonseca &
Fleming, 1996): that of one study is the best, that of all is the worst, and half is the median.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raytune_yesno import pareto
from raytune_yesno.metrics import Metric
from raytune_yesno.report.study_groups import Group, describe_incomparable
from raytune_yesno.report.tables import MISSING, Table
from raytune_yesno.study import Study
from raytune_yesno.study.front import list_vectors

_MAX_LEVELS = 6  # rows of the table

Pair = tuple[float, float]


@dataclass(frozen=True)
class Attainment:
    """The attainment surfaces of the studies of one search; each is a front of pairs of costs.

    Attributes:
        label: the search.
        num_studies: its studies that ended or have a result.
        best: what at least one study attains.
        median: what at least half of the studies attain.
        worst: what all of them attain; it is empty if they share no pair.
    """

    label: str
    num_studies: int
    best: list[Pair]
    median: list[Pair]
    worst: list[Pair]


def attain(fronts: Sequence[Sequence[Pair]], count: int) -> list[Pair]:
    """Return the front of the pairs of costs that at least ``count`` fronts attain.

    Example:
        >>> attain([[(1, 4), (3, 1)], [(2, 2)]], 2)
        [(2, 4), (3, 2)]

    Args:
        fronts: pairs of costs; dominated pairs change nothing.
        count: at least 1.
    """
    surface: list[Pair] = []
    for first in sorted({pair[0] for front in fronts for pair in front}):
        reached = sorted(
            min(inside)
            for front in fronts
            if (inside := [second for other, second in front if other <= first])
        )
        if len(reached) >= count and (not surface or reached[count - 1] < surface[-1][1]):
            surface.append((first, reached[count - 1]))
    return surface


def measure_attainment(studies: Sequence[Study], groups: Sequence[Group]) -> list[Attainment]:
    """Return the attainment of each group.

    There is none unless all studies have the same data and the same two objectives, and some
    trial keeps the limits. A study that ended without such a trial attains nothing.

    Args:
        studies: one or more studies.
        groups: studies that are repetitions of each other.
    """
    if describe_incomparable(studies) or len(studies[0].objective.objectives) != 2:
        return []
    found = []
    for group in groups:
        vectors = [list_vectors(studies[member].trial_list) for member in group.members]
        fronts = [[(v[k][0], v[k][1]) for k in pareto.find_front(v)] for v in vectors]
        fronts = [
            front
            for member, front in zip(group.members, fronts, strict=True)
            if front or studies[member].searched
        ]
        if num := len(fronts):
            surfaces = [attain(fronts, count) for count in (1, -(-num // 2), num)]
            found.append(Attainment(group.label, num, *surfaces))
    return found if any(each.best for each in found) else []


def tabulate_attainment(
    attained: Sequence[Attainment], objectives: Sequence[Metric], max_levels: int = _MAX_LEVELS
) -> Table:
    """Return what each search reaches in the first objective, for bounds on the second one.

    Args:
        attained: the attainment of each search.
        objectives: the two objectives.
        max_levels: the number of bounds.
    """
    first, second = objectives
    bounds = sorted({pair[1] for each in attained for pair in (*each.best, *each.median)})
    if len(bounds) > max_levels:
        last = len(bounds) - 1
        bounds = [bounds[round(k * last / (max_levels - 1))] for k in range(max_levels)]
    relation = "at most" if second.mode == "min" else "at least"
    heads = (f"{second.title} {relation}", *(each.label for each in attained))
    rows = [
        [second.show(second.value_of(bound)), *(_show(each, bound, first) for each in attained)]
        for bound in bounds
    ]
    return Table(heads, rows)


def describe_attainment(attained: Sequence[Attainment], objectives: Sequence[Metric]) -> str:
    """Return how to read the table of attainment."""
    first, second = objectives
    text = f"Best {first.title} within a bound on {second.title}"
    if any(each.num_studies > 1 for each in attained):
        text += ": what half of the studies of a search reach (the best study to the worst study)"
    return f"{text}. A dash means that no trial is within the bound."


def build_attainment_payload(
    attained: Sequence[Attainment], objectives: Sequence[Metric]
) -> dict[str, Any] | None:
    """Return the data of the plot of attainment; None if there is nothing to draw."""
    if not attained:
        return None
    return {
        "objectives": [
            {"name": metric.name, "mode": metric.mode, "percent": metric.format == "percent"}
            for metric in objectives
        ],
        "searches": [
            {
                "label": each.label,
                "studies": each.num_studies,
                **{
                    level: [
                        [
                            metric.value_of(cost)
                            for metric, cost in zip(objectives, pair, strict=True)
                        ]
                        for pair in getattr(each, level)
                    ]
                    for level in ("best", "median", "worst")
                },
            }
            for each in attained
        ],
    }


def _show(each: Attainment, bound: float, metric: Metric) -> str:
    best, median, worst = (
        _find(surface, bound) for surface in (each.best, each.median, each.worst)
    )
    middle, *ends = (
        MISSING if cost is None else metric.show(metric.value_of(cost))
        for cost in (median, best, worst)
    )
    return middle if each.num_studies == 1 or best is None else f"{middle} ({' to '.join(ends)})"


def _find(surface: Sequence[Pair], bound: float) -> float | None:
    """Return the least first cost of a surface whose second cost is within a bound."""
    return min((first for first, second in surface if second <= bound), default=None)
