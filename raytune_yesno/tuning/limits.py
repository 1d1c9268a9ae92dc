"""Limits that are known without training: a point that exceeds one costs no trial."""

import math
from typing import Any

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, Interrupted, first_line
from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.multi_objective import Limited, LimitedGrid
from raytune_yesno.space import Point
from raytune_yesno.tasks.task import Data
from raytune_yesno.text import format_point
from raytune_yesno.training.costs import find_costs
from raytune_yesno.tuning.plan import Plan

_CHECKED = 256
_LISTED = 10_000  # points that are tried one by one if none of these keeps the limits


def build_limited(plan: Plan, data: Data | None) -> Any:
    """Return the search of a plan, which proposes no point that exceeds a known limit.

    Points that the user gives are not refused.

    Args:
        plan: the plan of a study.
        data: the data of its task.

    Raises:
        InputError: no point of a large sample of the space keeps the limits, or the costs of one
            cannot be computed.
    """
    algorithm, seed = plan.build_algorithm(), plan.config.seed
    limits = plan.config.objective.limits
    names = {limit.metric.name for limit in limits}
    if plan.entry.is_given or not names:
        return algorithm

    def find(point: Point) -> dict[str, float]:
        try:
            return find_costs(build_config(plan.config, point), data)
        except Interrupted:
            raise
        except Exception as error:
            shown = format_point(point)
            cause = f"{type(error).__name__}: {first_line(error)}"
            raise InputError(f"limits: the costs of {shown} cannot be computed: {cause}") from error

    is_grid = plan.entry.is_finite
    first = algorithm.suggest(0, []) if is_grid else UnitCube(plan.space).draw(seed, 0)
    if not names & find(first).keys():
        return algorithm
    errors: list[InputError] = []

    def excess(point: Point) -> tuple[float, ...]:
        try:
            costs = find(point)
        except InputError as error:
            # Later, such a point is refused: it must not end a study that has run for long.
            errors.append(error)
            return (math.inf,) * len(limits)
        return tuple(
            limit.excess(costs) if limit.metric.name in costs else float("nan") for limit in limits
        )

    kind = LimitedGrid if is_grid else Limited
    limited = kind(algorithm, plan.space, seed, excess)
    num_allowed = limited.num_allowed(_CHECKED)
    if errors:
        raise errors[0]
    if num_allowed == 0 and not limited.has_allowed(_LISTED):
        closest = [
            f"{limit} by {worst:.0%}"
            for limit, worst in zip(limits, limited.least_excess, strict=True)
            if worst > 0
        ]
        raise InputError(
            f"limits: none of {limited.num_checked:,} points of the search space keeps them; the "
            f"nearest exceeds {', '.join(closest)}; raise the limit or widen the space"
        )
    return limited
