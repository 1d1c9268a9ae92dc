"""Covariance matrix adaptation (CMA-ES), with the library cmaes."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_yesno.search.algorithm import import_library
from raytune_yesno.search.cube import UnitCube, draw_seed
from raytune_yesno.search.observation import Observation, has_stalled, select_results
from raytune_yesno.space import Choice, Domain, Point, Space
from raytune_yesno.values import check_at_least

_MAX_CELLS = 64  # an integer domain with more values is treated as continuous


class CMAES:
    """CMA-ES: a distribution that moves towards the better half of its draws (Hansen, 2016).

    The implementation is the library's CatCMA with margin (Hamano et al., 2025) over the unit cube:
    numbers are normally distributed, with a margin that keeps integers from getting stuck, and
    choices are categorical. Results form generations in the order of trial numbers, whenever they
    arrive; an incomplete generation waits. A distribution that has collapsed to a point is
    restarted. While results no longer improve, every third trial is random. The library is given
    ranks in place of losses: it uses nothing else of them.

    Args:
        space: the search space.
        seed: seed of all draws.
        population_size: results of a generation, at least 2; None for the library's default.

    Raises:
        InputError: the library is not installed, or an option is out of range.
    """

    def __init__(self, space: Space, *, seed: int, population_size: int | None = None) -> None:
        import_library("cmaes")
        check_at_least(2, population_size=population_size)
        self.cube = UnitCube(space)
        self.seed = seed
        self.population_size = population_size
        kinds = [_kind(domain) for domain in self.cube.free.values()]
        self.floats, self.integers, self.choices = (
            [index for index, kind in enumerate(kinds) if kind == wanted] for wanted in "xzc"
        )
        """Indices of the dimensions by their kind in the library."""
        self._generations: list[tuple[bytes, Any]] = []
        """One entry a generation: a key of its results, and the optimiser after them."""

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        if not self.cube.dim:
            return self.cube.decode([])
        results, losses = select_results(history)
        if number % 3 == 0 and has_stalled(losses):
            return self.cube.draw(self.seed, number)
        optimizer = copy.deepcopy(self._replay(results, losses))
        optimizer.reseed_rng(draw_seed(self.seed, number))
        return self.cube.decode(self._read_solution(optimizer.ask()))

    def _replay(self, results: list[Observation], losses: list[float]) -> Any:
        """Return the optimiser after all complete generations; known generations are cached."""
        optimizer = self._build_optimizer()
        size = optimizer.population_size
        rows_ND = self.cube.encode(results)
        for generation in range(len(results) // size):
            part = slice(generation * size, (generation + 1) * size)
            ranks = np.argsort(np.argsort(losses[part], kind="stable"))
            key = rows_ND[part].tobytes() + ranks.tobytes()
            if generation < len(self._generations) and self._generations[generation][0] == key:
                optimizer = self._generations[generation][1]
                continue
            del self._generations[generation:]
            if (self.floats or self.integers) and optimizer.should_stop():
                optimizer = self._build_optimizer()
            optimizer = copy.deepcopy(optimizer)
            rows = self._fill(optimizer, rows_ND[part], results[part])
            ranked = zip(rows, ranks.tolist(), strict=True)
            optimizer.tell([(self._build_solution(u_D), float(rank)) for u_D, rank in ranked])
            self._generations.append((key, optimizer))
        return optimizer

    def _fill(
        self, optimizer: Any, rows_ND: np.ndarray, results: Sequence[Observation]
    ) -> np.ndarray:
        """Return rows with draws of the distribution where they are not active.

        These leave the distribution as it is on average.
        """
        if not self.cube.conditions:
            return rows_ND
        drawn = []
        for seen in results:
            drawer = copy.deepcopy(optimizer)
            drawer.reseed_rng(draw_seed(self.seed, seen.number, 3))
            drawn.append(self._read_solution(drawer.ask()))
        return np.where(self.cube.find_active(rows_ND), rows_ND, drawn)

    def _build_optimizer(self) -> Any:
        domains = list(self.cube.free.values())
        integers: list[Any] = [domains[index] for index in self.integers]
        middles = [[d.encode(value) for value in d.grid(_MAX_CELLS)] for d in integers]
        return import_library("cmaes").CatCMAwM(
            x_space=[[0.0, 1.0]] * len(self.floats) or None,
            z_space=middles or None,
            c_space=[int(domains[index].num_values) for index in self.choices] or None,
            population_size=self.population_size,
            # The library's unit is a twelfth of the cube; its default, 1, explores too little.
            sigma=2.0,
        )

    def _build_solution(self, u_D: np.ndarray) -> Any:
        """Return a row of the cube as a solution of the library."""
        x, z = u_D[self.floats], u_D[self.integers]
        domains = list(self.cube.free.values())
        max_options = max((int(domains[index].num_values) for index in self.choices), default=0)
        c = np.zeros((len(self.choices), max_options), dtype=bool)
        for row, index in enumerate(self.choices):
            c[row, int(u_D[index] * domains[index].num_values)] = True
        solution = import_library("cmaes").CatCMAwM.Solution
        return solution(x, z, c, np.concatenate([x, z]))

    def _read_solution(self, solution: Any) -> np.ndarray:
        """Return a solution of the library as a row u_D of the cube."""
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
    return "z" if domain.num_values <= _MAX_CELLS else "x"
