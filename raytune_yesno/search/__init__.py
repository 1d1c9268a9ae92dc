"""Search algorithms over one kind of space, by name, with or without Ray.

Importing this package imports neither Ray nor a search library.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raytune_yesno.search.algorithm import ALGORITHMS, build_algorithm
from raytune_yesno.search.observation import History, Observation, Status
from raytune_yesno.search.protocol import Algorithm

if TYPE_CHECKING:
    from raytune_yesno.search.ray_searcher import AlgorithmSearcher

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "History",
    "Observation",
    "Status",
    "build_algorithm",
    "build_searcher",
]


def build_searcher(
    name: str,
    space: Mapping[str, Any],
    *,
    metric: str = "valid_loss",
    mode: str = "min",
    seed: int = 0,
    history: Iterable[Observation] = (),
    known_points: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> "AlgorithmSearcher":
    """Build a search algorithm as a Ray Tune searcher, for any ``ray.tune.Tuner``.

    Example:
        >>> from raytune_yesno.search import build_searcher
        >>> from raytune_yesno.space import Float, Int
        >>> space = {"learning_rate": Float(1e-4, 1e-1, log=True), "layers": Int(1, 4)}
        >>> searcher = build_searcher("auto", space, metric="accuracy", mode="max", seed=1)
        >>> sorted(searcher.suggest("trial_1"))
        ['layers', 'learning_rate']

        Pass it to Ray as ``ray.tune.TuneConfig(search_alg=searcher, num_samples=50)``.

    Args:
        name: a key of :data:`ALGORITHMS`.
        space: a domain by name; a bare value is a constant.
        metric: the key of the result to optimise.
        mode: ``min`` or ``max``.
        seed: seed of all draws, at least 0.
        history: trials of earlier runs; new trials are numbered after them.
        known_points: points to try first. A point may name only some keys of the space.
        options: options of that algorithm.

    Returns:
        A searcher to pass to ``ray.tune.TuneConfig(search_alg=...)``.

    Raises:
        InputError: the mode is invalid, a finite search has known points, or for the reasons of
            :func:`build_algorithm`.
    """
    from raytune_yesno.errors import InputError
    from raytune_yesno.search.ray_searcher import AlgorithmSearcher
    from raytune_yesno.search.uninformed import read_points
    from raytune_yesno.space import build_space

    if mode not in ("min", "max"):
        raise InputError(f"mode: {mode!r} is not valid; choose min or max")
    algorithm = build_algorithm(name, space, seed=seed, **options)
    if known_points and ALGORITHMS[name].is_finite:
        raise InputError(
            f"known_points: search {name} tries exactly its own points; choose another search"
        )
    earlier = History(history)
    return AlgorithmSearcher(
        algorithm,
        metric=metric,
        mode=mode,
        history=earlier,
        points=read_points(build_space(space), known_points),
        space=build_space(space),
        offset=earlier.next_number,
    )
