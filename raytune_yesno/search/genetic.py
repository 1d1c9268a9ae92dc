"""Genetic search, with the operators of Optuna."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_yesno.errors import InputError
from raytune_yesno.search.algorithm import import_library
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation, has_stalled, select_results
from raytune_yesno.space import Choice, Point, Space


class Genetic:
    """A genetic search with Optuna's NSGA-II operators (Deb et al., 2002).

    The parents are the best results so far. With one objective this is the elitist selection of
    NSGA-II, made after each result in place of each generation, so that no trial waits. Numbers
    are combined by simulated binary crossover and mutated polynomially (Deb & Agrawal, 1995);
    choices are swapped and redrawn. Until the population is full, points are random;
    while results no longer improve, every third is.

    Args:
        space: the search space.
        seed: seed of all draws.
        population_size: parents, at least 2.

    Raises:
        InputError: the population is too small, or Optuna is not installed.
    """

    def __init__(self, space: Space, *, seed: int, population_size: int = 10) -> None:
        if population_size < 2:
            raise InputError(f"population_size: {population_size} must be at least 2")
        optuna = import_library("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise it logs every suggestion
        self.cube = UnitCube(space)
        self.seed = seed
        self.population_size = population_size

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        results, losses = select_results(history)
        waits = len(results) < self.population_size or not self.cube.dim
        if waits or (number % 3 == 0 and has_stalled(losses)):
            return self.cube.draw(self.seed, number)
        order = np.argsort(losses, kind="stable")[: self.population_size]
        parents = [results[index] for index in order]
        study = self._build_study(parents, [losses[index] for index in order], number)
        child = study.ask(self._build_distributions()).params
        return self.cube.decode(
            (child[name] + 0.5) / domain.num_values if isinstance(domain, Choice) else child[name]
            for name, domain in self.cube.free.items()
        )

    def _build_study(
        self, parents: Sequence[Observation], losses: Sequence[float], number: int
    ) -> Any:
        """Return an Optuna study with one generation, the parents, on record."""
        optuna = import_library("optuna")
        seed = int(build_numpy_generator(self.seed, number).integers(2**32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.NSGAIISampler(
                population_size=self.population_size,
                crossover=optuna.samplers.nsgaii.SBXCrossover(),
                mutation=optuna.samplers.nsgaii.PolynomialMutation(),
                seed=seed,
            )
        study = optuna.create_study(sampler=sampler)
        distributions = self._build_distributions()
        rows = [self.cube.fill(self.seed, seen).tolist() for seen in parents]
        for row, loss in zip(rows, losses, strict=True):
            params = {
                name: int(u * domain.num_values) if isinstance(domain, Choice) else u
                for (name, domain), u in zip(self.cube.free.items(), row, strict=True)
            }
            study.add_trial(
                optuna.create_trial(
                    params=params,
                    distributions=distributions,
                    value=loss,
                    system_attrs={"NSGAIISampler:generation": 0},
                )
            )
        return study

    def _build_distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {
            name: CategoricalDistribution(list(range(int(domain.num_values))))
            if isinstance(domain, Choice)
            else FloatDistribution(0, 1)
            for name, domain in self.cube.free.items()
        }
