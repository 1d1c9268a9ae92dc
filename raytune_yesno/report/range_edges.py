"""Best values at the edge of their range: a wider range may hold better ones."""

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any, NamedTuple

from raytune_yesno.config import find_task
from raytune_yesno.errors import InputError
from raytune_yesno.report.axes import Axis, list_domains, read_domain
from raytune_yesno.study import Study
from raytune_yesno.study.events import is_number
from raytune_yesno.task_registry import TASKS
from raytune_yesno.text import format_value

AT_EDGE = 0.05  # share of the range, at each end
NEAR_EDGE = 0.2
MIN_TRIALS = 5  # with fewer results, a value at the edge is likely to be chance


class Edge(NamedTuple):
    """A hyperparameter whose best values lie at an end of its range.

    Attributes:
        name: the config key.
        value: its value in the best trial.
        upper: whether it lies at the upper end.
        low: the lower end of the range.
        high: the upper end of the range.
    """

    name: str
    value: float
    upper: bool
    low: float
    high: float

    def __str__(self) -> str:
        side = "upper" if self.upper else "lower"
        low, high = format_value(self.low), format_value(self.high)
        return (
            f"{self.name} = {format_value(self.value)} is at the {side} end of its range "
            f"({low} to {high}). Widen {self.name}."
        )


def find_edges(study: Study) -> list[Edge]:
    """Return the hyperparameters whose best values lie at an end of their range.

    The value of the best trial lies in the outer 5 % of the range, and at least half of the best
    trials (a tenth of all, at least three, and those that tie with them) in the outer 20 % on the
    same side. If more than half of the trials tie, nothing is known. An end that the config itself
    does not allow to pass, such as 0 for a dropout, is no edge. With several objectives there are
    no edges: the front reaches the ends of ranges by its nature.
    """
    candidates = study.candidates
    if study.objective.others or len(candidates) < MIN_TRIALS:
        return []
    count = max(3, len(candidates) // 10)
    least = candidates[count - 1].standing
    best = [each.trial for each in candidates if each.standing <= least]
    if len(best) > max(count, len(candidates) // 2):
        return []
    limits = _find_limits(study.task)
    edges = []
    domains = list(list_domains(study.settings.get("space")))
    repeated = Counter(name for name, _ in domains)
    for name, domain in domains:
        axis = read_domain(name, domain)
        if axis is None or axis.kind == "choice" or repeated[name] > 1:
            continue
        shares = [_locate(axis, trial.best_point.get(name)) for trial in best]
        for upper, bound in ((False, axis.low), (True, axis.high)):
            distances = [
                math.inf if share is None else 1 - share if upper else share for share in shares
            ]
            near = sum(distance <= NEAR_EDGE for distance in distances)
            passable = bound != limits.get(name, (None, None))[upper]
            if passable and distances[0] <= AT_EDGE and 2 * near >= len(best):
                value = best[0].best_point[name]
                edges.append(Edge(name, value, upper, axis.low, axis.high))
    return edges


def _locate(axis: Axis, value: Any) -> float | None:
    """Return where a value lies in its range: 0 at the lower end, 1 at the upper end."""
    if not is_number(value) or not axis.low < axis.high:
        return None
    low, high = axis.low, axis.high
    if axis.kind == "log":
        if min(low, high, value) <= 0:
            return None
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))


def _find_limits(task: str) -> Mapping[str, tuple[float | None, float | None]]:
    """Return the smallest and largest valid value of each config key of a built-in task."""
    if task not in TASKS:
        return {}
    with suppress(InputError):
        return {
            key.name: (key.metadata.get("low"), key.metadata.get("high"))
            for key in fields(find_task(task).config_class)
        }
    return {}
