"""The search algorithms by name."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from raytune_yesno.errors import InputError, suggest_install, suggest_name
from raytune_yesno.search.distinct_points import Distinct
from raytune_yesno.search.multi_objective import Scalarised, order_losses, weighted_losses
from raytune_yesno.search.protocol import Algorithm
from raytune_yesno.space import build_space
from raytune_yesno.values import check_options


@dataclass(frozen=True)
class Entry:
    """What is known of a search before it is imported; its library may be large.

    Attributes:
        source: ``module:Class`` in this package.
        several: how it takes several objectives or limits: ``as it is``, or through the ``order``
            or the ``weights`` of :mod:`raytune_yesno.search.multi_objective`; empty if it does not.
        one_only: why it takes one objective only.
        learns: whether it uses results.
        is_finite: whether it tries exactly the points of a list, which no scheduler may change.
        is_given: whether the user gives this list.
        needs_equal_epochs: whether it compares losses of equal numbers of epochs only, so that it
            needs a scheduler with fixed rungs.
    """

    source: str
    several: str = "as it is"
    one_only: str = ""
    learns: bool = True
    is_finite: bool = False
    is_given: bool = False
    needs_equal_epochs: bool = False


ALGORITHMS: dict[str, Entry] = {
    "manual": Entry("uninformed:Manual", learns=False, is_finite=True, is_given=True),
    "grid": Entry("uninformed:Grid", learns=False, is_finite=True),
    "random": Entry("uninformed:Random", learns=False),
    "auto": Entry("auto:Auto"),
    "tpe": Entry("tpe:TPE", several="order"),
    "bayesian": Entry("bayesian:Bayesian", several="weights"),
    "pso": Entry("pso:PSO", several="weights"),
    "bohb": Entry(
        "bohb:BOHB",
        several="",
        one_only="it compares losses of equal epochs, and a front has no such order",
        needs_equal_epochs=True,
    ),
    "genetic": Entry("genetic:Genetic"),
    "cmaes": Entry(
        "cmaes:CMAES",
        several="",
        one_only="its distribution shrinks to one point, not to a front",
    ),
}
"""The searches by name."""


def find_entry(name: str) -> Entry:
    """Return what is known of a search.

    Raises:
        InputError: the name is unknown.
    """
    if name not in ALGORITHMS:
        raise InputError(f"unknown search {name!r}; {suggest_name(name, ALGORITHMS)}")
    return ALGORITHMS[name]


def load_algorithm(name: str) -> type[Algorithm]:
    """Return the class of an algorithm.

    Raises:
        InputError: the name is unknown.
    """
    found: type[Algorithm] = resolve_name(f"raytune_yesno.search.{find_entry(name).source}")
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
    entry = ALGORITHMS[name]
    if several:
        if entry.one_only:
            others = [each for each, known in ALGORITHMS.items() if known.several]
            raise InputError(
                f"search {name} takes one objective and no limits: {entry.one_only}; choose from "
                f"{', '.join(others)}"
            )
        if entry.several == "order":
            built = Scalarised(built, order_losses)
        elif entry.several == "weights":
            cycle = getattr(built, "num_particles", 0)
            built = Scalarised(built, weighted_losses(seed, cycle))
    return built if entry.is_finite else Distinct(built, domains, seed)
