"""The unit cube of a space, in which the algorithms work, and their random generators."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from raytune_yesno.errors import InputError
from raytune_yesno.search.observation import Observation
from raytune_yesno.space import (
    INACTIVE,
    Choice,
    Domain,
    Float,
    Int,
    Point,
    Space,
    as_tree,
    complete_point,
    decode_point,
    encode_point,
)

_MAX_DRAWS = 10_000
_MAX_LISTED = 100_000
_MAX_CELLS = 4096
_EDGE = 1e-9
"""Distance from a cell's edge, in the unit interval, below which rounding errors count."""


def build_numpy_generator(seed: int, *key: int) -> np.random.Generator:
    """Return a NumPy generator that depends only on its arguments, in any process.

    Args:
        seed: the seed of the search.
        key: the trial's number, and further numbers to tell streams of one trial apart.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, *key]))


def draw_seed(seed: int, *key: int) -> int:
    """Return a seed for a library, from the stream of :func:`build_numpy_generator`."""
    return int(build_numpy_generator(seed, *key).integers(2**32))


class UnitCube:
    """A map between points and rows of the unit cube, over dimensions with more than one value.

    A dimension is active if the options and list lengths that it depends on are those of the row.
    Its coordinate is :data:`INACTIVE` otherwise, so that rows of equal points are equal and a
    parameter that is not active has no influence on a model.

    Axes: N observations, C candidates, D dimensions with more than one value. Rows are cached: a
    long history is not encoded again for every suggestion.

    Args:
        space: the search space.
    """

    def __init__(self, space: Space) -> None:
        self.space = as_tree(space)
        dimensions = self.space.dimensions
        self._free = [i for i, dim in enumerate(dimensions) if dim.domain.num_values > 1]
        self.free: dict[str, Domain] = {dimensions[i].key: dimensions[i].domain for i in self._free}
        """The domains of the dimensions, by their keys."""
        self.is_choice_D = np.array([isinstance(d, Choice) for d in self.free.values()], dtype=bool)
        order = {index: column for column, index in enumerate(self._free)}
        self.conditions: dict[int, tuple[int, frozenset[int]]] = {
            order[i]: (order[condition.parent], condition.cells)
            for i in self._free
            if (condition := dimensions[i].condition)
        }
        """For each dimension that is not always active: the dimension that decides, and under
        which of its values."""
        self._rows: dict[int, tuple[Point, list[float]]] = {}

    @property
    def dim(self) -> int:
        """The number of dimensions, D."""
        return len(self.free)

    def encode(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return the rows u_ND of N observations."""
        rows = [self.encode_row(seen) for seen in observations]
        return np.array(rows, dtype=float).reshape(len(rows), self.dim)

    def encode_row(self, seen: Observation) -> list[float]:
        """Return the row of one observation."""
        known = self._rows.get(seen.number)
        if known is not None and known[0] is seen.point:  # identity, since 1 == True
            return known[1]
        row = self.encode_point(seen.point)
        self._rows[seen.number] = (seen.point, row)
        return row

    def encode_point(self, point: Mapping[str, object]) -> list[float]:
        """Return the row of a point."""
        position = encode_point(self.space, point)
        return [position[index] for index in self._free]

    def find_active(self, u_CD: np.ndarray) -> np.ndarray:
        """Return for each coordinate of candidates u_CD whether its dimension is active."""
        active_CD = np.ones(u_CD.shape, dtype=bool)
        domains = list(self.free.values())
        for column, (parent, cells) in self.conditions.items():  # parents precede
            count = int(domains[parent].num_values)
            index_C = np.minimum(np.floor(u_CD[:, parent] * count), count - 1)
            active_CD[:, column] = active_CD[:, parent] & np.isin(index_C, list(cells))
        return active_CD

    def spread(self, seed: int, seen: Observation) -> np.ndarray:
        """Return the row u_D of an observation, at a random position within each cell.

        For algorithms that move rows: from the middle of a wide cell, a short step has no effect.
        A coordinate that is not active may be anywhere, and pulls nowhere on average.
        """
        (u_D,) = self.encode([seen])
        # Key 1: a stream apart from the one that drew the point itself.
        jitter_D = build_numpy_generator(seed, seen.number, 1).random(self.dim) - 0.5
        return np.asarray(np.clip(u_D + self.cell_widths(u_D) * jitter_D, 0, 1))

    def cell_widths(self, u_D: np.ndarray) -> np.ndarray:
        """Return the width of each coordinate's cell of equal values; 0 for floats.

        All values of a dimension that is not active are equal: its cell has width 1.
        """
        widths = [
            domain.cell_width(domain.decode(float(u)))
            for domain, u in zip(self.free.values(), u_D, strict=True)
        ]
        if self.conditions:
            return np.where(self.find_active(u_D[None])[0], widths, 1.0)
        return np.array(widths)

    def snap(self, u_CD: np.ndarray) -> np.ndarray:
        """Move candidates u_CD to the middle of their cells, where :meth:`encode` puts values."""
        columns = [
            _snap(domain, u_C) for domain, u_C in zip(self.free.values(), u_CD.T, strict=True)
        ]
        u_CD = np.stack(columns, axis=1)
        return np.where(self.find_active(u_CD), u_CD, INACTIVE) if self.conditions else u_CD

    def satisfies(self, u_CD: np.ndarray) -> np.ndarray:
        """Return for each candidate whether its point satisfies the constraints."""
        if not self.space.constraints:
            return np.ones(len(u_CD), dtype=bool)
        return np.array([self.space.satisfies(self.decode(u_D)) for u_D in u_CD], dtype=bool)

    @property
    def num_combinations(self) -> float:
        """How many combinations of values the dimensions have; infinity beyond any float."""
        return math.prod(float(domain.num_values) for domain in self.free.values())

    def list_rows(self) -> Iterator[np.ndarray]:
        """Yield the row of each point of a space without floats; nothing if there is one.

        Nothing either if there are more than 100,000 combinations of values.
        """
        domains = list(self.free.values())
        if self.num_combinations > _MAX_LISTED:
            return
        columns = [
            [domain.encode(value) for value in domain.grid(int(domain.num_values))]
            for domain in domains
        ]
        known: set[bytes] = set()
        for values in itertools.product(*columns):
            row = np.array(values)
            if self.conditions:
                (row,) = self.snap(row[None])
                if row.tobytes() in known:
                    continue
                known.add(row.tobytes())
            if self.satisfies(row[None])[0]:
                yield row

    @cached_property
    def _valid_rows(self) -> list[np.ndarray]:
        """The rows of :meth:`list_rows`, for a space in which random points hardly ever are."""
        return list(self.list_rows())

    def decode(self, u_D: Iterable[float]) -> Point:
        """Return the point at a row u_D, constants included, in the order of the space."""
        position = [0.5] * len(self.space.dimensions)
        for index, u in zip(self._free, u_D, strict=True):
            position[index] = float(u)
        return decode_point(self.space, position)

    def complete(self, known: Mapping[str, object], base: Point, number: int) -> Point:
        """Return a point with known values, and those of another point or random ones for the rest.

        Args:
            known: the known values, see :func:`raytune_yesno.space.check_point`.
            base: a point of the space.
            number: the number of the known point, which seeds the draws.

        Raises:
            InputError: no values of the rest satisfy the constraints.
        """
        for attempt in range(_MAX_DRAWS):
            point = complete_point(self.space, known, base)
            if self.space.satisfies(point):
                return point
            base = self.decode(build_numpy_generator(number, attempt).random(self.dim))
        raise InputError(f"point {number}: no values of its other keys satisfy all constraints")

    def draw(self, seed: int, number: int) -> Point:
        """Return the point that random search proposes for a trial number.

        Raises:
            InputError: no random point satisfies the constraints.
        """
        generator = build_numpy_generator(seed, number)
        for _ in range(_MAX_DRAWS):
            point = self.decode(generator.random(self.dim))
            if self.space.satisfies(point):
                return point
        if self._valid_rows:
            return self.decode(self._valid_rows[generator.integers(len(self._valid_rows))])
        raise InputError(
            f"search space: none of {_MAX_DRAWS:,} random points satisfies all constraints; "
            "loosen them, or narrow the ranges"
        )


def _snap(domain: Domain, u_C: np.ndarray) -> np.ndarray:
    if isinstance(domain, Float) and domain.step is None:
        return u_C
    count = domain.num_values
    if isinstance(domain, Choice) or not (domain.scale.log or domain.scale.prior):
        return np.asarray((np.minimum(np.floor(u_C * count), count - 1) + 0.5) / count)
    if count > _MAX_CELLS:
        return np.array([domain.encode(domain.decode(u)) for u in u_C.tolist()])
    edges, middles = _list_cells(domain)
    cells_C = np.searchsorted(edges[1:-1], u_C)
    snapped_C = middles[cells_C]
    # Within rounding errors of an edge, `decode` decides to which cell a candidate belongs.
    distance_C = np.minimum(u_C - edges[cells_C], edges[cells_C + 1] - u_C)
    for number in np.flatnonzero(distance_C < _EDGE):
        snapped_C[number] = domain.encode(domain.decode(float(u_C[number])))
    return snapped_C


@lru_cache
def _list_cells(domain: Float | Int) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges between cells in the unit interval, with infinities, and the middles."""
    assert domain.step is not None
    values = domain.grid(int(domain.num_values))
    half = domain.step / 2
    edges = [domain.scale.position(value + half) for value in values[:-1]]
    return np.array([-math.inf, *edges, math.inf]), np.array(
        [domain.encode(value) for value in values]
    )
