"""Genetic search, with the operators of Optuna."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.search.algorithm import import_library
from raytune_yesno.search.cube import UnitCube, draw_seed
from raytune_yesno.search.multi_objective import has_vector, order_results
from raytune_yesno.search.observation import Observation, has_stalled, select_results
from raytune_yesno.space import Choice, Point, Space
from raytune_yesno.values import check_at_least

SELECTIONS = ("nsga2", "nsga3")
_MUTATED = 0.5  # share of the values that are mutated in a space without choices
_MAX_SELECTED = 100  # results among which NSGA-III selects the parents


class Genetic:
    """A genetic search with Optuna's NSGA-II operators (Deb et al., 2002).

    The parents are the best results so far. With one objective this is the elitist selection of
    NSGA-II, made after each result in place of each generation, so that no trial waits. Numbers
    are combined by simulated binary crossover and mutated polynomially (Deb & Agrawal, 1995);
    choices are swapped and redrawn. In a space without choices, a value is mutated with probability
    0.5, not NSGA-II's one in D: a study has a few generations of ten, not hundreds. An integer is a
    cell of the cube, in which the parent's position is random; steps are too short to leave a wide
    cell from its middle. Until the population is full, points are random; while results no longer
    improve, every third is.

    With several objectives, non-dominated sorting selects the parents. ``selection="nsga3"``
    selects them as NSGA-III does (Deb & Jain, 2014), which suits three or more objectives: parents
    of the last rank that still fits are those nearest to reference lines, which spread evenly over
    the directions of the front.

    Args:
        space: the search space.
        seed: seed of all draws.
        population_size: parents, at least 2.
        selection: ``nsga2`` or ``nsga3``, which are the same with one objective.

    Raises:
        InputError: an option is out of range, or Optuna is not installed.
    """

    def __init__(
        self, space: Space, *, seed: int, population_size: int = 10, selection: str = "nsga2"
    ) -> None:
        check_at_least(2, population_size=population_size)
        if selection not in SELECTIONS:
            raise InputError(
                f"selection: {selection!r} is not valid; {suggest_name(selection, SELECTIONS)}"
            )
        optuna = import_library("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise it logs every suggestion
        self.cube = UnitCube(space)
        self.seed = seed
        self.population_size, self.selection = population_size, selection

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        results, losses = select_results(history)
        if any(seen.costs or seen.excesses for seen in results):
            losses = order_results(results)
        waits = len(results) < self.population_size or not self.cube.dim
        if waits or (number % 3 == 0 and has_stalled(losses)):
            return self.cube.draw(self.seed, number)
        study = self._build_study(results, losses, number)
        child = study.ask(self._build_distributions()).params
        return self.cube.decode(
            (child[name] + 0.5) / domain.num_values if isinstance(domain, Choice) else child[name]
            for name, domain in self.cube.free.items()
        )

    def _build_study(
        self, results: Sequence[Observation], losses: Sequence[float], number: int
    ) -> Any:
        """Return an Optuna study with one generation, from which it selects the parents."""
        optuna = import_library("optuna")
        order = np.argsort(losses, kind="stable").tolist()
        parents = [results[index] for index in order[: self.population_size]]
        values = [[losses[index]] for index in order[: self.population_size]]
        sampler = optuna.samplers.NSGAIISampler
        selected = [results[index] for index in order if _has_costs(results[index])]
        if self.selection == "nsga3" and len(selected) >= self.population_size:
            parents = selected[:_MAX_SELECTED]
            values = [list(seen.costs) for seen in parents]
            sampler = optuna.samplers.NSGAIIISampler
        seed = draw_seed(self.seed, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            built = sampler(
                population_size=self.population_size,
                crossover=optuna.samplers.nsgaii.SBXCrossover(),
                mutation=optuna.samplers.nsgaii.PolynomialMutation(),
                # Optuna redraws a mutated choice: at this rate little would be inherited.
                mutation_prob=None if self.cube.is_choice_D.any() else _MUTATED,
                seed=seed,
            )
        study = optuna.create_study(sampler=built, directions=["minimize"] * len(values[0]))
        distributions = self._build_distributions()
        for seen, costs in zip(parents, values, strict=True):
            row = self.cube.spread(self.seed, seen).tolist()
            params = {
                name: min(int(u * domain.num_values), int(domain.num_values) - 1)
                if isinstance(domain, Choice)
                else u
                for (name, domain), u in zip(self.cube.free.items(), row, strict=True)
            }
            study.add_trial(
                optuna.create_trial(
                    params=params,
                    distributions=distributions,
                    values=costs,
                    system_attrs={f"{sampler.__name__}:generation": 0},
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


def _has_costs(seen: Observation) -> bool:
    return bool(seen.costs) and has_vector(seen) and seen.is_feasible
