"""Valid points only, and no point twice while others remain."""

import itertools
from collections.abc import Sequence

import numpy as np

from raytune_yesno.search.candidates import draw_near
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation, select_tried
from raytune_yesno.search.protocol import Algorithm
from raytune_yesno.space import Point, Space

_NUM_NEAR = 64
_NUM_ANYWHERE = 256


class Distinct:
    """A search that proposes valid points, and none twice while there are others.

    In place of a point that the history contains, or that violates a constraint, it proposes one
    close to it, else any other.

    Args:
        algorithm: the search that proposes the points.
        space: the search space.
        seed: seed of all draws.
    """

    def __init__(self, algorithm: Algorithm, space: Space, seed: int) -> None:
        self.algorithm = algorithm
        self.cube = UnitCube(space)
        self.seed = seed

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, given the history."""
        point = self.algorithm.suggest(number, history)
        if point is None or not self.cube.dim:
            return point
        row, is_valid = self.cube.encode_point(point), self.cube.space.satisfies(point)
        tried = select_tried(history)
        if is_valid and not any(self.cube.encode_row(seen) == row for seen in tried):
            return point
        known = {row.tobytes() for row in self.cube.encode(tried)}
        centre_D = np.array(row)
        generator = build_numpy_generator(self.seed, number, 2)
        near_CD = self.cube.snap(draw_near(self.cube, generator, centre_D[None], _NUM_NEAR))
        near_CD = near_CD[np.argsort(np.abs(near_CD - centre_D).sum(axis=1), kind="stable")]
        any_CD = self.cube.snap(generator.random((_NUM_ANYWHERE, self.cube.dim)))
        for row in itertools.chain(near_CD, any_CD, self.cube.list_rows()):
            if row.tobytes() not in known and self.cube.satisfies(row[None])[0]:
                return self.cube.decode(row)
        return point if is_valid else self.cube.draw(self.seed, number)
