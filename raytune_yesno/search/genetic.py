"""Genetic search, by Optuna."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_yesno.errors import InputError
from raytune_yesno.search.algorithm import import_library
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation, select_results
from raytune_yesno.space import Choice, Point, Space


class Genetic:
    """Propose the children of the best (Deb et al., 2002), by Optuna's NSGA-II operators.

    The parents are the `population_size` best results so far: with one objective, NSGA-II's
    elitist selection, made after each result and not after each generation, so that no trial
    waits. Numbers cross by simulated binary crossover and mutate polynomially (Deb & Agrawal,
    1995); choices are swapped and drawn anew. Until the population is full, points are random.
    """

    def __init__(self, space: Space, *, seed: int, population_size: int = 10) -> None:
        if population_size < 2:
            raise InputError(f"a population has at least 2 members, not {population_size}")
        optuna = import_library("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line for every ask otherwise
        self.cube = UnitCube(space)
        self.seed = seed
        self.population_size = population_size

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of this number, having seen the history."""
        results, losses = select_results(history)
        if len(results) < self.population_size or not self.cube.dim:
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
        """Return a study that has seen one generation, the parents, and is to breed the next."""
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
        for row, loss in zip(self.cube.encode(parents).tolist(), losses, strict=True):
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
