"""Search algorithms, all over one space: by name, with Ray or without it.

Importing this imports no library of search, and not Ray.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from raytune_yesno.search.algorithm import ALGORITHMS, Algorithm, build_algorithm
from raytune_yesno.search.observation import History, Observation, Status

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
    **options: Any,
) -> "AlgorithmSearcher":
    """Build a search algorithm as a Ray Tune Searcher, for any Tuner.

    `history` holds the trials of earlier runs; numbering goes on after them. Further options are
    the algorithm's own. Raises InputError as `build_algorithm` does.
    """
    from raytune_yesno.errors import InputError
    from raytune_yesno.search.ray_searcher import AlgorithmSearcher

    if mode not in ("min", "max"):
        raise InputError(f"mode is min or max, not {mode!r}")
    algorithm = build_algorithm(name, space, seed=seed, **options)
    return AlgorithmSearcher(algorithm, metric=metric, mode=mode, history=history)
