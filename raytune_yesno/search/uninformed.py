"""Searches that look at no result: a list of points, a grid, and uniform chance."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.observation import Observation
from raytune_yesno.space import Point, Space, check_point, read_point


class Manual:
    """Propose the points given, in order, and no others.

    A point may name a part of the space; what it leaves out keeps the value of the configuration
    that it is merged into. Raises InputError that says which key of which point is wrong.
    """

    def __init__(
        self, space: Space, *, seed: int, points: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        if not points:
            raise InputError("manual search needs points")
        self.points = [_checked(space, number, point) for number, point in enumerate(points)]

    @property
    def num_points(self) -> int:
        """Count the points."""
        return len(self.points)

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of this number, None after the last."""
        return dict(self.points[number]) if number < self.num_points else None


def _checked(space: Space, number: int, point: Mapping[str, Any]) -> Point:
    if not isinstance(point, Mapping):
        raise InputError(f"point {number}: expected a mapping of keys to values, not {point!r}")
    point = read_point(space, point)
    try:
        check_point(space, point, partial=True)
    except InputError as error:
        raise InputError(f"point {number}: {error}") from error
    return point


class Grid:
    """Propose the product of all domains' grids; the last domain of the space changes fastest.

    A continuous domain has `levels` values, ends included, at equal distances on its own scale;
    an integer domain has all its values if they are no more than that; a choice has its options.
    """

    def __init__(self, space: Space, *, seed: int, levels: int = 5) -> None:
        self.values = {name: domain.grid(levels) for name, domain in space.items()}

    @property
    def num_points(self) -> int:
        """Count the points of the grid."""
        return math.prod(len(values) for values in self.values.values())

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of this number, None after the last."""
        if number >= self.num_points:
            return None
        point: Point = {}
        for name, values in reversed(self.values.items()):
            number, digit = divmod(number, len(values))
            point[name] = values[digit]
        return dict(reversed(point.items()))


class Random:
    """Propose points uniformly at random in the unit cube (Bergstra & Bengio, 2012)."""

    def __init__(self, space: Space, *, seed: int) -> None:
        self.cube = UnitCube(space)
        self.seed = seed

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of this number; no result changes it."""
        return self.cube.draw(self.seed, number)
