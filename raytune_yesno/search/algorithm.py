"""The registry of search algorithms."""

import importlib
from collections.abc import Mapping
from typing import Any

from raytune_yesno.errors import InputError, suggest_install, suggest_name
from raytune_yesno.registry import check_options
from raytune_yesno.search.distinct import Distinct
from raytune_yesno.search.protocol import Algorithm
from raytune_yesno.search.several import Scalarised, order_losses, weighted_losses
from raytune_yesno.space import build_space

ALGORITHMS: dict[str, tuple[str, str]] = {
    "manual": ("uninformed", "Manual"),
    "grid": ("uninformed", "Grid"),
    "random": ("uninformed", "Random"),
    "auto": ("auto", "Auto"),
    "tpe": ("tpe", "TPE"),
    "bayesian": ("bayesian", "Bayesian"),
    "pso": ("pso", "PSO"),
    "bohb": ("bohb", "BOHB"),
    "genetic": ("genetic", "Genetic"),
    "cmaes": ("cmaes", "CMAES"),
}
"""Module and class by name, as text: a library is imported only when its search is used."""


def load_algorithm(name: str) -> type[Algorithm]:
    """Return the class of an algorithm.

    Raises:
        InputError: the name is unknown.
    """
    if name not in ALGORITHMS:
        raise InputError(f"unknown search {name!r}; {suggest_name(name, ALGORITHMS)}")
    module, attribute = ALGORITHMS[name]
    found: type[Algorithm] = getattr(
        importlib.import_module(f"raytune_yesno.search.{module}"), attribute
    )
    return found


def import_library(name: str) -> Any:
    """Import a library of the optional extra ``search``.

    Raises:
        InputError: it is not installed; the message contains the command to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"this search needs {name}, which is not installed: {suggest_install('search')}"
        ) from error


SEVERAL: Mapping[str, str] = {
    "manual": "as it is",
    "grid": "as it is",
    "random": "as it is",
    "auto": "as it is",
    "tpe": "order",
    "genetic": "as it is",
    "bayesian": "weights",
    "pso": "weights",
}
"""How a search takes several objectives or limits, see :mod:`raytune_yesno.search.several`."""

ONE_ONLY: Mapping[str, str] = {
    "cmaes": "its distribution shrinks to one point, not to a front",
    "bohb": "it compares losses of equal epochs, and a front has no such order",
}
"""Why a search has one objective only, and no limits."""


def refuse_several(name: str) -> None:
    """Check that a search takes several objectives or limits.

    Raises:
        InputError: it does not; the message says why.
    """
    if reason := ONE_ONLY.get(name):
        raise InputError(
            f"search {name} takes one objective and no limits: {reason}; choose search "
            "auto, tpe, genetic, bayesian, pso or random"
        )


def build_algorithm(
    name: str, space: Mapping[str, Any], *, seed: int = 0, several: bool = False, **options: Any
) -> Algorithm:
    """Build a search algorithm by its name. It proposes no point twice while others remain.

    Example:
        >>> from raytune_yesno.search import Observation, build_algorithm
        >>> from raytune_yesno.space import Choice, Int
        >>> space = {"layers": Int(1, 2), "act": Choice("relu", "tanh")}
        >>> algorithm = build_algorithm("grid", space)
        >>> point = algorithm.suggest(0, [])
        >>> point
        {'layers': 1, 'act': 'relu'}
        >>> history = [Observation(0, point, loss=0.4, epochs=8, status="done")]
        >>> algorithm.suggest(1, history)
        {'layers': 1, 'act': 'tanh'}

    Args:
        name: a key of :data:`ALGORITHMS`.
        space: a domain by name; a bare value is a constant.
        seed: seed of all draws, at least 0.
        several: whether observations have several costs, or limits.
        options: options of that algorithm.

    Raises:
        InputError: the name or an option is unknown, a value is invalid, an optional library is not
            installed, or the search takes one objective only.
    """
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed: {seed!r} is not a whole number of at least 0")
    algorithm: Any = load_algorithm(name)
    options = check_options(f"search {name}", algorithm, options, reserved=("space", "seed"))
    domains = build_space(space)
    built: Algorithm = algorithm(domains, seed=seed, **options)
    if several:
        refuse_several(name)
        if SEVERAL[name] == "order":
            built = Scalarised(built, order_losses)
        elif SEVERAL[name] == "weights":
            cycle = getattr(built, "num_particles", 0)
            built = Scalarised(built, weighted_losses(seed, cycle))
    return built if hasattr(built, "num_points") else Distinct(built, domains, seed)
