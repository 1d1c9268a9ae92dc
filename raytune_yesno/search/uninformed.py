"""Searches that ignore results: a list of points, a grid, and random search."""

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.observation import Observation
from raytune_yesno.space import (
    List,
    Node,
    Point,
    Space,
    as_tree,
    check_point,
    imply_options,
    read_point,
)

_MAX_CHECKED = 1_000_000


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
                "search manual needs points, one for each trial; give them in search_options, such "
                "as {points: [{learning_rate: 1e-3, batch_size: 2}]}"
            )
        self.points = read_points(space, points)

    @property
    def num_points(self) -> int:
        """The number of points."""
        return len(self.points)

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, or None after the last one."""
        return dict(self.points[number]) if number < self.num_points else None


def read_points(space: Space, points: Sequence[Any]) -> list[Point]:
    """Return points of a file or a command line in the types of their domains.

    Raises:
        InputError: a point is invalid; the message names the point and the key.
    """
    return [_checked(space, number, point) for number, point in enumerate(points)]


def _checked(space: Space, number: int, point: Any) -> Point:
    if not isinstance(point, Mapping):
        raise InputError(f"point {number}: expected a mapping of keys to values, not {point!r}")
    point = read_point(space, point)
    try:
        check_point(space, point, partial=True)
        point = imply_options(space, point)
        check_point(space, point, partial=True)  # implied options may exclude each other
    except InputError as error:
        raise InputError(f"point {number}: {error}") from error
    return point


class Grid:
    """The product of all domains' grids; the last domain of the space changes fastest.

    Each option of a choice is combined with the grids of its own parameters only. Combinations
    that violate a constraint are left out.

    Args:
        space: the search space.
        seed: not used.
        levels: values of a continuous domain, ends included, equally spaced on its own scale. An
            integer domain has all its values if there are at most ``levels``; a choice always has
            all its options, a list all lengths.

    Raises:
        InputError: constraints have to be checked for too many combinations.
    """

    def __init__(self, space: Space, *, seed: int, levels: int = 5) -> None:
        self.grid = _Combinations(as_tree(space), levels)
        self.valid: list[int] | None = None
        """The numbers of the combinations that satisfy the constraints; None for all."""
        if constraints := as_tree(space).constraints:
            if self.grid.count > _MAX_CHECKED:
                raise InputError(
                    f"search grid: {self.grid.count:,} combinations are too many to check "
                    f"{len(constraints)} constraints; give fewer levels, or choose search random"
                )
            self.valid = [
                number
                for number in range(self.grid.count)
                if as_tree(space).satisfies(self.grid.build(number))
            ]
            if not self.valid:
                raise InputError(
                    "search grid: no combination satisfies all constraints; give more levels, "
                    "or loosen the constraints"
                )

    @property
    def num_points(self) -> int:
        """The number of points of the grid."""
        return self.grid.count if self.valid is None else len(self.valid)

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, or None after the last one."""
        if number >= self.num_points:
            return None
        return self.grid.build(number if self.valid is None else self.valid[number])


class _Combinations:
    """The combinations of some domains' grids, by number."""

    def __init__(self, nodes: Mapping[str, Node], levels: int) -> None:
        self.columns = [_Column(name, node, levels) for name, node in nodes.items()]
        self.count: int = math.prod(column.count for column in self.columns)

    def build(self, number: int) -> Point:
        """Return the point of a number below :attr:`count`."""
        parts: list[Point] = []
        for column in reversed(self.columns):
            number, rest = divmod(number, column.count)
            parts.append(column.build(rest))
        return {name: value for part in reversed(parts) for name, value in part.items()}


class _Column:
    """The grid of one domain, by number: a list's by length, a choice's with its parameters."""

    def __init__(self, name: str, node: Node, levels: int) -> None:
        self.name = name
        self.lengths = range(node.low, node.high + 1) if isinstance(node, List) else range(0)
        domain = node.element if isinstance(node, List) else node
        self.values: list[Any] = list(domain.grid(levels))
        self.below = [_Combinations(b, levels) for b in getattr(node, "branches", ())]
        counts = (
            [len(self.values) ** length for length in self.lengths]
            or [below.count for below in self.below]
            or [1] * len(self.values)
        )
        self.ends = list(itertools.accumulate(counts))
        self.count: int = self.ends[-1]

    def build(self, number: int) -> Point:
        """Return the value of a number below :attr:`count`, and its parameters."""
        index = bisect.bisect_right(self.ends, number)
        number -= self.ends[index - 1] if index else 0
        if self.lengths:
            values = []
            for _ in range(self.lengths[index]):
                number, rest = divmod(number, len(self.values))
                values.append(self.values[rest])
            return {self.name: tuple(reversed(values))}
        below = self.below[index].build(number) if self.below else {}
        return {self.name: self.values[index], **below}


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
