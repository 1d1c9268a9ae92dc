"""Searches that ignore results: a list of points, a grid, and random search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.observation import Observation
from raytune_yesno.space import Point, Space, check_point, read_point


class Manual:
    """A list of points, proposed in order.

    Args:
        space: the search space.
        seed: not used.
        points: the points. A point may name only some keys of the space; the others keep the values
            of the config that the point is merged into.

    Raises:
        InputError: there are no points, or one is invalid; the message names the point and the key.
    """

    def __init__(
        self, space: Space, *, seed: int, points: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        if not points:
            raise InputError(
                "search manual needs points; give --point learning_rate=1e-3,batch_size=2 for each "
                "trial, or search_options: {points: [...]} in the study file"
            )
        self.points = read_points(space, points)

    @property
    def num_points(self) -> int:
        """The number of points."""
        return len(self.points)

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, or None after the last one."""
        return dict(self.points[number]) if number < self.num_points else None


def read_points(space: Space, points: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return points of a file or a command line in the types of their domains.

    Raises:
        InputError: a point is invalid; the message names the point and the key.
    """
    return [_checked(space, number, point) for number, point in enumerate(points)]


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
    """The product of all domains' grids; the last domain of the space changes fastest.

    Args:
        space: the search space.
        seed: not used.
        levels: values of a continuous domain, ends included, equally spaced on its own scale. An
            integer domain has all its values if there are at most ``levels``; a choice always has
            all its options.
    """

    def __init__(self, space: Space, *, seed: int, levels: int = 5) -> None:
        self.values = {name: domain.grid(levels) for name, domain in space.items()}

    @property
    def num_points(self) -> int:
        """The number of points of the grid."""
        return math.prod(len(values) for values in self.values.values())

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, or None after the last one."""
        if number >= self.num_points:
            return None
        point: Point = {}
        for name, values in reversed(self.values.items()):
            number, digit = divmod(number, len(values))
            point[name] = values[digit]
        return dict(reversed(point.items()))


class Random:
    """Random search: uniform points of the unit cube (Bergstra & Bengio, 2012).

    Args:
        space: the search space.
        seed: seed of all draws.
    """

    def __init__(self, space: Space, *, seed: int) -> None:
        self.cube = UnitCube(space)
        self.seed = seed

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``; the history has no influence."""
        return self.cube.draw(self.seed, number)
