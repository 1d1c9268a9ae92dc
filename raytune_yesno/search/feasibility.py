"""Models of where trials keep the limits, and of where they fail.

Axes: N rows, C candidates.
"""

import math
from collections.abc import Sequence

import numpy as np

from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.gaussian import GaussianProcess
from raytune_yesno.search.observation import Observation

Bounded = tuple[GaussianProcess, float]
"""A model, and the value that its prediction must not exceed."""


def build_process(cube: UnitCube) -> GaussianProcess:
    """Return a Gaussian process over the rows of a cube."""
    return GaussianProcess(cube.is_choice_D, sorted(cube.conditions), cube.find_active)


def model_limits(cube: UnitCube, history: Sequence[Observation], max_fitted: int) -> list[Bounded]:
    """Return a model of each limit that some trial exceeds, from the latest trials."""
    models = []
    for k in range(max((len(seen.excesses) for seen in history), default=0)):
        known = [
            seen for seen in history if len(seen.excesses) > k and not math.isnan(seen.excesses[k])
        ]
        # A small excess matters, and the size of a huge one does not.
        value_N = np.arctan(4 * np.array([seen.excesses[k] for seen in known]))
        models += _fit(cube, known, value_N, max_fitted)
    return models


def model_failures(
    cube: UnitCube, history: Sequence[Observation], max_fitted: int
) -> list[Bounded]:
    """Return a model of where trials fail; none without a failed trial.

    A cause that depends on the point, such as too little memory, would fail again nearby. A model
    that predicts each trial from the others no better than their mean is not used: failures that
    are spread evenly say nothing.
    """
    # Numbers below 0 are points that were refused for a limit, not trials.
    known = [seen for seen in history if seen.status != "running" and seen.number >= 0]
    value_N = np.array([1.0 if seen.status == "failed" else -1.0 for seen in known])
    models = _fit(cube, known, value_N, max_fitted)
    return [model for model in models if _predicts(model[0], value_N[-max_fitted:])]


def _predicts(process: GaussianProcess, value_N: np.ndarray) -> bool:
    """Return whether a model predicts its own values better than the mean of the others does."""
    y_N = (value_N - value_N.mean()) / max(float(value_N.std()), 1e-6)
    error = np.square(process.predict_left_out(y_N) - y_N).sum()
    num = len(y_N)
    return bool(error < np.square(y_N * num / max(num - 1, 1)).sum())


def _fit(
    cube: UnitCube, known: Sequence[Observation], value_N: np.ndarray, max_fitted: int
) -> list[Bounded]:
    """Return a model of values that must not exceed 0; none if none of the latest does."""
    known, value_N = known[-max_fitted:], value_N[-max_fitted:]
    if not (value_N > 0).any():
        return []
    deviation = max(float(value_N.std()), 1e-6)
    process = build_process(cube)
    rows_ND, y_N = cube.encode(known), (value_N - value_N.mean()) / deviation
    process.fit(rows_ND, y_N)
    process.condition(rows_ND, y_N)
    return [(process, -float(value_N.mean()) / deviation)]


def score_limits(limits: Sequence[Bounded], u_CD: np.ndarray) -> np.ndarray:
    """Return the logarithm of the probability that all limits are kept at C candidates."""
    from scipy.special import log_ndtr

    score_C = np.zeros(len(u_CD))
    for process, bound in limits:
        mean_C, std_C = process.predict(u_CD)
        score_C += log_ndtr((bound - mean_C) / std_C)
    return score_C
