"""Several objectives, and limits, for searches that were written for one loss.

A layer between a study and a search, as :mod:`raytune_yesno.search.repeats`: it gives the search a
history in which one loss stands for the costs and the limits of a trial. A search that only uses
the order of losses gets the position of a trial in non-dominated sorting, as in NSGA-II and
MOTPE. A search that uses their sizes, or moves towards one best point, gets a weighted distance to
the ideal point, whose weights differ from proposal to proposal, as in ParEGO.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from raytune_yesno import pareto
from raytune_yesno.metrics import sum_excesses
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation, select_tried
from raytune_yesno.space import Point, Space

_SUM_WEIGHT = 0.05  # rho of Knowles (2006), eq. 2
_TRIES = 20  # proposals of the search for one trial, then random points
_RANDOM_TRIES = 10_000
_STEP = 10_007  # between the numbers of these tries
_SAMPLES = 64  # points whose limits the search knows from the beginning

Losses = Callable[[Sequence[Observation], int], list[float]]


class Scalarised:
    """A search that sees one loss in place of several costs and limits.

    Args:
        algorithm: the search.
        losses: returns the losses of trials with results, for a trial number.
    """

    def __init__(self, algorithm: Any, losses: Losses) -> None:
        self.algorithm, self.losses = algorithm, losses

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, given the history."""
        known = [seen for seen in history if has_vector(seen)]
        losses = self.losses(known, number)
        scalars = {
            seen.number: dataclasses.replace(seen, loss=loss, losses=(), costs=())
            for seen, loss in zip(known, losses, strict=True)
        }
        told = [scalars.get(seen.number) or _hide_loss(seen) for seen in history]
        point: Point | None = self.algorithm.suggest(number, told)
        return point


def _hide_loss(seen: Observation) -> Observation:
    """Return a trial without a vector as one without a finite loss, which counts as the worst.

    Its first cost is not on the scale of the other losses.
    """
    loss = None if seen.loss is None else math.inf
    return dataclasses.replace(seen, loss=loss, losses=(), costs=())


def has_vector(seen: Observation) -> bool:
    """Return whether a trial that has not diverged has a result of which all costs are finite."""
    costs, is_bad = seen.all_costs, seen.status in ("failed", "diverged")
    return bool(costs) and not is_bad and all(map(math.isfinite, costs))


def order_losses(known: Sequence[Observation], number: int) -> list[float]:
    """Return the position of each trial in the order of :func:`raytune_yesno.pareto.order`.

    Trials that exceed a limit follow the others, in the order of their excess (Deb, 2000).
    """
    feasible = [index for index, seen in enumerate(known) if seen.is_feasible]
    places = pareto.positions([known[index].all_costs for index in feasible])
    losses = dict(zip(feasible, map(float, places), strict=True))
    rest = [index for index in range(len(known)) if index not in losses]
    rest.sort(key=lambda index: (sum_excesses(known[index].excesses), index))
    losses |= {index: float(place) for place, index in enumerate(rest, start=len(feasible))}
    return [losses[index] for index in range(len(known))]


def order_results(results: Sequence[Observation]) -> list[float]:
    """Return :func:`order_losses` of ended trials; those without a vector of costs are last."""
    known = [index for index, seen in enumerate(results) if has_vector(seen)]
    places = order_losses([results[index] for index in known], 0)
    losses = dict(zip(known, places, strict=True))
    return [losses.get(index, float(len(results))) for index in range(len(results))]


def weighted_losses(seed: int, num_cycle: int = 0) -> Losses:
    """Return the augmented Chebyshev distance to the ideal point (Knowles, 2006, "ParEGO").

    Costs are scaled to the range of the results. The weights are uniform on the simplex.

    Args:
        seed: the seed of the search.
        num_cycle: after how many trials the weights repeat; 0 for never.
    """

    def losses(known: Sequence[Observation], number: int) -> list[float]:
        if not known:
            return []
        costs_NM = np.array([seen.all_costs for seen in known], dtype=float)
        key = number % num_cycle if num_cycle else number
        weight_M = build_numpy_generator(seed, key, 3).dirichlet(np.ones(costs_NM.shape[1]))
        span_M = np.ptp(costs_NM, axis=0)
        scaled_NM = (costs_NM - costs_NM.min(axis=0)) / np.where(span_M > 0, span_M, 1.0)
        part_NM = scaled_NM * weight_M
        loss_N = part_NM.max(axis=1) + _SUM_WEIGHT * part_NM.sum(axis=1)
        worst = float(loss_N.max())
        return [
            float(loss) if seen.is_feasible else worst + min(sum_excesses(seen.excesses), 1.0)
            for seen, loss in zip(known, loss_N, strict=True)
        ]

    return losses


class Limited:
    """A search that proposes only points which keep the limits that are known without training.

    A proposal that exceeds one costs no trial: the search is asked again, under another number,
    and knows of the refused point. The search also knows the limits of a fixed sample of points, so
    that one with a model of limits can use it from the beginning.

    Args:
        algorithm: the search.
        space: the search space.
        seed: seed of all draws.
        excess: returns by how much a point exceeds each limit; NaN for a limit that is only known
            after training.
    """

    def __init__(
        self,
        algorithm: Any,
        space: Space,
        seed: int,
        excess: Callable[[Point], tuple[float, ...]],
    ) -> None:
        self.algorithm, self.excess, self.seed = algorithm, excess, seed
        self.cube = UnitCube(space)
        self._known: dict[str, tuple[float, ...]] = {}

    @cached_property
    def sample(self) -> list[Observation]:
        """A fixed sample of points with their limits, without those that violate a constraint."""
        generator = build_numpy_generator(self.seed, 4)
        rows_CD = generator.random((_SAMPLES, self.cube.dim))
        rows_CD = rows_CD[self.cube.satisfies(rows_CD)]
        return [self._refuse(self.cube.decode(row), k) for k, row in enumerate(rows_CD)]

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return a point that keeps the known limits, or None if none was found."""
        refused = list(self.sample)
        suggest = self.algorithm.suggest
        for attempt in range(_TRIES):
            point: Point | None = suggest(number + attempt * _STEP, [*refused, *history])
            if point is None or self.allows(point):
                return point
            refused.append(self._refuse(point, len(refused)))
        known, repeated = {row.tobytes() for row in self.cube.encode(select_tried(history))}, None
        numbers = range(number, number + _RANDOM_TRIES * _STEP, _STEP)
        drawn = (self.cube.draw(self.seed, each) for each in numbers)
        listed = map(self.cube.decode, self.cube.list_rows())
        for point in itertools.chain(drawn, listed):
            if self.allows(point):
                if np.array(self.cube.encode_point(point)).tobytes() not in known:
                    return point
                repeated = repeated or point
        return repeated

    def allows(self, point: Point) -> bool:
        """Return whether a point exceeds no known limit."""
        return not any(excess > 0 for excess in self._find(point))

    def num_allowed(self, num: int) -> int:
        """Return how many of ``num`` random points exceed no known limit."""
        return sum(self.allows(self.cube.draw(self.seed, number)) for number in range(num))

    def has_allowed(self, num: int) -> bool:
        """Return whether one of the first ``num`` points of a space without floats is allowed."""
        rows = itertools.islice(self.cube.list_rows(), num)
        return any(self.allows(self.cube.decode(row)) for row in rows)

    @property
    def num_checked(self) -> int:
        """The number of points whose limits were computed so far."""
        return len(self._known)

    @property
    def least_excess(self) -> tuple[float, ...]:
        """By how much the nearest point that was checked exceeds each limit."""
        # A limit that is only known after training is NaN, which is not above 0.
        return min(self._known.values(), key=lambda each: math.fsum(x for x in each if x > 0))

    def _find(self, point: Point) -> tuple[float, ...]:
        key = repr(point)
        if key not in self._known:
            self._known[key] = self.excess(point)
        return self._known[key]

    def _refuse(self, point: Point, index: int) -> Observation:
        excesses = self._find(point)
        return Observation(-1 - index, point, status="failed", excesses=excesses)


class LimitedGrid(Limited):
    """A grid without the points that exceed a known limit.

    Points are checked as they are needed: a grid may be much larger than a study.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._found: list[Point] = []
        self._num_checked = 0

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, or None after the last one."""
        while len(self._found) <= number:
            point: Point | None = self.algorithm.suggest(self._num_checked, [])
            if point is None:
                return None
            self._num_checked += 1
            if self.allows(point):
                self._found.append(point)
        return dict(self._found[number])

    def num_allowed(self, num: int) -> int:
        """Return how many of ``num`` points, evenly spread over the grid, are allowed."""
        count = self.algorithm.num_points
        numbers = {index * count // num for index in range(num)}
        return sum(self.allows(self.algorithm.suggest(number, [])) for number in sorted(numbers))

    def has_allowed(self, num: int) -> bool:
        """Return whether one of the first ``num`` points of the grid is allowed."""
        numbers = range(min(num, self.algorithm.num_points))
        return any(self.allows(self.algorithm.suggest(number, [])) for number in numbers)
