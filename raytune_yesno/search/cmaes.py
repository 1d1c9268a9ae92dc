"""Covariance matrix adaptation, by the library cmaes."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_yesno.search.algorithm import import_library
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation, select_results
from raytune_yesno.space import Choice, Domain, Point, Space

_MOST_CELLS = 64  # an integer domain with more values is taken for continuous


class CMAES:
    """Propose from a distribution that follows the better half (Hansen, 2016).

    The library's CatCMA with margin (Hamano et al., 2025) over the unit cube: numbers are normal,
    with a margin that keeps integers from freezing, and choices categorical. Results are taken in
    the order of their numbers, a population at a time, whenever they arrive; what is left over
    waits for the next. A distribution that has shrunk to a point starts anew. The library is told
    ranks, not losses: only those matter to it.
    """

    def __init__(self, space: Space, *, seed: int, population_size: int | None = None) -> None:
        import_library("cmaes")
        self.cube = UnitCube(space)
        self.seed = seed
        self.population_size = population_size
        kinds = [_kind(domain) for domain in self.cube.free.values()]
        self.floats, self.integers, self.choices = (
            [index for index, kind in enumerate(kinds) if kind == wanted] for wanted in "xzc"
        )
        """Dimensions by how the library sees them."""
        self._told: list[tuple[bytes, Any]] = []
        """By generation, what the optimizer was told and what became of it."""

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of this number, having seen the history."""
        if not self.cube.dim:
            return self.cube.decode([])
        optimizer = copy.deepcopy(self._replay(*select_results(history)))
        optimizer.reseed_rng(int(build_numpy_generator(self.seed, number).integers(2**32)))
        return self.cube.decode(self._read_solution(optimizer.ask()))

    def _replay(self, results: list[Observation], losses: list[float]) -> Any:
        """Return the optimizer after all full generations; those seen before are not told anew."""
        optimizer = self._build_optimizer()
        size = optimizer.population_size
        rows_ND = self.cube.encode(results)
        for generation in range(len(results) // size):
            part = slice(generation * size, (generation + 1) * size)
            ranks = np.argsort(np.argsort(losses[part], kind="stable"))
            key = rows_ND[part].tobytes() + ranks.tobytes()
            if generation < len(self._told) and self._told[generation][0] == key:
                optimizer = self._told[generation][1]
                continue
            del self._told[generation:]
            if (self.floats or self.integers) and optimizer.should_stop():
                optimizer = self._build_optimizer()
            optimizer = copy.deepcopy(optimizer)
            told = zip(rows_ND[part], ranks.tolist(), strict=True)
            optimizer.tell([(self._build_solution(u_D), float(rank)) for u_D, rank in told])
            self._told.append((key, optimizer))
        return optimizer

    def _build_optimizer(self) -> Any:
        domains = list(self.cube.free.values())
        integers: list[Any] = [domains[index] for index in self.integers]
        middles = [[d.encode(value) for value in d.grid(_MOST_CELLS)] for d in integers]
        return import_library("cmaes").CatCMAwM(
            x_space=[[0.0, 1.0]] * len(self.floats) or None,
            z_space=middles or None,
            c_space=[int(domains[index].num_values) for index in self.choices] or None,
            population_size=self.population_size,
            sigma=2.0,  # of the library's unit, a twelfth of the cube: it means to start elsewhere
        )

    def _build_solution(self, u_D: np.ndarray) -> Any:
        """Return a trial as the library's solution, as if it had been drawn where it lies."""
        x, z = u_D[self.floats], u_D[self.integers]
        domains = list(self.cube.free.values())
        most = max((int(domains[index].num_values) for index in self.choices), default=0)
        c = np.zeros((len(self.choices), most), dtype=bool)
        for row, index in enumerate(self.choices):
            c[row, int(u_D[index] * domains[index].num_values)] = True
        solution = import_library("cmaes").CatCMAwM.Solution
        return solution(x, z, c, np.concatenate([x, z]))

    def _read_solution(self, solution: Any) -> np.ndarray:
        """Return the row u_D of a solution."""
        u_D = np.empty(self.cube.dim)
        domains = list(self.cube.free.values())
        if self.floats:
            u_D[self.floats] = solution.x
        if self.integers:
            u_D[self.integers] = solution.z
        for row, index in enumerate(self.choices):
            u_D[index] = (np.argmax(solution.c[row]) + 0.5) / domains[index].num_values
        return u_D


def _kind(domain: Domain) -> str:
    if isinstance(domain, Choice):
        return "c"
    return "z" if domain.num_values <= _MOST_CELLS else "x"
