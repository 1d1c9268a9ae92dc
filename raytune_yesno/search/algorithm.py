"""What a search algorithm is, and the registry of them."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.registry import check_options
from raytune_yesno.search.observation import Observation
from raytune_yesno.space import Point, build_space


class Algorithm(Protocol):
    """Propose points as a pure function of (space, seed, number, history).

    An algorithm keeps no generator and no state that its arguments do not determine. So a study is
    resumed by handing over its records, and the same records give the same points anywhere.
    """

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial `number`, None if there are no more.

        `history` is in the order of numbers and may lack any: trials unknown, or not to be seen.
        Its points lie inside the space; `check_point` says so of points from elsewhere.
        """


ALGORITHMS: dict[str, tuple[str, str]] = {
    "manual": ("uninformed", "Manual"),
    "grid": ("uninformed", "Grid"),
    "random": ("uninformed", "Random"),
    "tpe": ("tpe", "TPE"),
    "bayesian": ("bayesian", "Bayesian"),
    "pso": ("pso", "PSO"),
    "bohb": ("bohb", "BOHB"),
    "genetic": ("genetic", "Genetic"),
    "cmaes": ("cmaes", "CMAES"),
}
"""Module and class by name; text, so that no library is imported before it is needed."""


def load_algorithm(name: str) -> type[Algorithm]:
    """Return the class of an algorithm; InputError if the name is unknown."""
    if name not in ALGORITHMS:
        raise InputError(f"unknown search {name!r}; {suggest_name(name, ALGORITHMS)}")
    module, attribute = ALGORITHMS[name]
    found: type[Algorithm] = getattr(
        importlib.import_module(f"raytune_yesno.search.{module}"), attribute
    )
    return found


def import_library(name: str) -> Any:
    """Return a library of the optional extra `search`; InputError says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"this search needs {name}, which is not installed: pip install 'raytune-yesno[search]'"
        ) from error


def build_algorithm(
    name: str, space: Mapping[str, Any], *, seed: int = 0, **options: Any
) -> Algorithm:
    """Build a search algorithm by its name.

    Bare values in the space are constants. Raises InputError if the name, an option or a value is
    unknown or wrong, or an optional library is missing.
    """
    if type(seed) is not int or seed < 0:
        raise InputError(f"a seed is a whole number, at least 0, not {seed!r}")
    algorithm: Any = load_algorithm(name)
    check_options(f"search {name}", algorithm, options, reserved=("space", "seed"))
    built: Algorithm = algorithm(build_space(space), seed=seed, **options)
    return built
