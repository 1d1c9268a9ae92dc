"""Branches of a space: combinations of options that have parameters of their own."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np

from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation
from raytune_yesno.space import Choice

_NUM_DRAWN = 1000  # random points among which the branches are found
_MAX_BRANCHES = 20  # of more, a study could not try each a few times
_TRIALS_PER_PARAMETER = 3

Branch: TypeAlias = tuple[int, ...]
"""For each choice whose options have parameters: the option's index, -1 if it is not active."""


class Branches:
    """Gives every branch a fair number of early trials.

    The best point may lie in a branch whose first few trials were bad, while a model learns ever
    more about the branch that it already prefers. So a branch with P parameters of its own is due
    until it has had 3 (P + 1) trials, or as many as it has points. It is not due if limits that are
    known before training exclude that many of its points, and allow none.

    Args:
        cube: the unit cube of the space.
        seed: seed of all draws.
    """

    def __init__(self, cube: UnitCube, seed: int) -> None:
        self.cube, self.seed = cube, seed
        domains = list(cube.free.values())
        parents = {parent for parent, _ in cube.conditions.values()}
        self._columns = sorted(p for p in parents if isinstance(domains[p], Choice))
        self._counts = [int(domains[column].num_values) for column in self._columns]

    @cached_property
    def needed(self) -> dict[Branch, int]:
        """The number of trials that each branch needs; empty if there are none or too many."""
        if not self._columns:
            return {}
        generator = build_numpy_generator(self.seed, 5)
        u_CD = self.cube.snap(generator.random((_NUM_DRAWN, self.cube.dim)))
        u_CD = u_CD[self.cube.satisfies(u_CD)]
        own = [
            column
            for column, (parent, _) in self.cube.conditions.items()
            if parent in self._columns and column not in self._columns
        ]
        active_CD = self.cube.find_active(u_CD)
        u_CD, kept_C = np.unique(np.where(active_CD, u_CD, 0.5), axis=0, return_index=True)
        num_own_C = active_CD[kept_C][:, own].sum(axis=1).tolist()
        branches = self.find(u_CD)
        num_points, found = Counter(branches), dict(zip(branches, num_own_C, strict=True))
        if len(found) > _MAX_BRANCHES:
            return {}
        return {
            branch: min(_TRIALS_PER_PARAMETER * (num + 1), num_points[branch])
            for branch, num in sorted(found.items())
        }

    def find(self, u_CD: np.ndarray) -> list[Branch]:
        """Return the branch of each candidate."""
        active_CD = self.cube.find_active(u_CD)
        columns = [
            np.where(active_CD[:, column], np.minimum(u_CD[:, column] * count, count - 1), -1)
            for column, count in zip(self._columns, self._counts, strict=True)
        ]
        return [tuple(int(cell) for cell in row) for row in zip(*columns, strict=True)]

    def find_due(self, history: Sequence[Observation]) -> Branch | None:
        """Return the branch that lacks the largest share of its trials; None if none does."""
        if not self.needed:
            return None
        tried = self._count(seen for seen in history if seen.number >= 0)
        checked = [seen for seen in history if seen.number < 0]  # for limits, before training
        refused = self._count(s for s in checked if any(excess > 0 for excess in s.excesses))
        allowed = self._count(checked) - refused
        due = [
            branch
            for branch, num in self.needed.items()
            if tried[branch] < num and (refused[branch] < num or allowed[branch])
        ]
        return min(due, key=lambda each: tried[each] / self.needed[each], default=None)

    def _count(self, observations: Iterable[Observation]) -> Counter[Branch]:
        return Counter(self.find(self.cube.encode(list(observations))))

    def move(self, u_CD: np.ndarray, branch: Branch, generator: np.random.Generator) -> np.ndarray:
        """Return candidates with the options of a branch, and random values of new parameters."""
        moved_CD = u_CD.copy()
        for column, count, cell in zip(self._columns, self._counts, branch, strict=True):
            if cell >= 0:
                moved_CD[:, column] = (cell + 0.5) / count
        is_new_CD = self.cube.find_active(moved_CD) & ~self.cube.find_active(u_CD)
        is_new_CD[:, self._columns] = False
        moved_CD = np.where(is_new_CD, generator.random(u_CD.shape), moved_CD)
        return moved_CD if self.cube.satisfies(moved_CD).any() else u_CD
