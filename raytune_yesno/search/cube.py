"""The unit cube of a space, in which the algorithms work, and their random generators."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from raytune_yesno.search.observation import Observation
from raytune_yesno.space import Choice, Domain, Float, Int, Point, Space, decode_point, encode_point


def build_numpy_generator(seed: int, *key: int) -> np.random.Generator:
    """Return a NumPy generator that depends only on its arguments, in any process.

    Args:
        seed: the seed of the search.
        key: the trial's number, and further numbers to tell streams of one trial apart.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, *key]))


class UnitCube:
    """A map between points and rows of the unit cube, over domains with more than one value.

    Axes: N observations, C candidates, D domains with more than one value. Rows are cached: a long
    history is not encoded again for every suggestion.

    Args:
        space: the search space.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.free: Space = {k: domain for k, domain in space.items() if domain.num_values > 1}
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
        row = encode_point(self.free, seen.point)
        self._rows[seen.number] = (seen.point, row)
        return row

    def cell_widths(self, u_D: np.ndarray) -> np.ndarray:
        """Return the width of each coordinate's cell of equal values; 0 for floats."""
        widths = [
            0.0 if isinstance(domain, Float) else domain.cell_width(domain.decode(float(u)))
            for domain, u in zip(self.free.values(), u_D, strict=True)
        ]
        return np.array(widths)

    def snap(self, u_CD: np.ndarray) -> np.ndarray:
        """Move candidates u_CD to the middle of their cells, where :meth:`encode` puts values."""
        columns = [
            _snap(domain, u_C) for domain, u_C in zip(self.free.values(), u_CD.T, strict=True)
        ]
        return np.stack(columns, axis=1)

    def list_rows(self) -> Iterator[np.ndarray]:
        """Yield the row of each point of a space without floats; nothing if there is one."""
        columns = []
        for domain in self.free.values():
            if isinstance(domain, Float):
                return
            first = 0 if isinstance(domain, Choice) else domain.low
            columns.append((domain, range(first, first + int(domain.num_values))))
        for row in itertools.product(*(values for _, values in columns)):
            yield np.array(
                [
                    domain.encode(domain.options[v] if isinstance(domain, Choice) else v)
                    for (domain, _), v in zip(columns, row, strict=True)
                ]
            )

    def decode(self, u_D: Iterable[float]) -> Point:
        """Return the point at a row u_D, constants included, in the order of the space."""
        chosen = decode_point(self.free, u_D)
        return {
            name: chosen[name] if name in chosen else domain.decode(0.5)
            for name, domain in self.space.items()
        }

    def draw(self, seed: int, number: int) -> Point:
        """Return the point that random search proposes for a trial number."""
        return self.decode(build_numpy_generator(seed, number).random(self.dim))


def _snap(domain: Domain, u_C: np.ndarray) -> np.ndarray:
    if isinstance(domain, Float):
        return u_C
    if isinstance(domain, Int) and domain.log:
        return np.array([domain.encode(domain.decode(u)) for u in u_C.tolist()])
    count = domain.num_values
    return np.asarray((np.minimum(np.floor(u_C * count), count - 1) + 0.5) / count)
