"""Scales of losses for models whose values have mean 0 and deviation 1.

Axes: N results.
"""

import numpy as np


def warp(losses_N: np.ndarray) -> list[np.ndarray]:
    """Return losses on several scales, each with mean 0 and deviation 1.

    Linear, without the outliers of the upper tail; the logarithm of the distance to the best loss;
    and the normal score of the rank.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    scaled_N = _shrink(losses_N)
    apart_N = scaled_N - scaled_N.min()
    unit = max(np.median(scaled_N) - scaled_N.min(), apart_N.mean(), 1e-300)
    return [
        scale_linearly(losses_N),
        _standardise(np.log(0.1 + apart_N / unit)),
        _standardise(ndtri((rankdata(losses_N) - 0.5) / len(losses_N))),
    ]


def scale_linearly(losses_N: np.ndarray) -> np.ndarray:
    """Return losses with mean 0 and deviation 1; outliers of the upper tail are clipped first."""
    scaled_N = _shrink(losses_N)
    low, high = np.quantile(scaled_N, [0.25, 0.75])
    if high > low:  # else most results are equal, and clipping would hide all others
        scaled_N = np.minimum(scaled_N, high + 1.5 * (high - low))
    return _standardise(scaled_N)


def _shrink(losses_N: np.ndarray) -> np.ndarray:
    """Return losses of at most 1 in size: squares of huge ones would overflow."""
    return np.asarray(losses_N / max(np.abs(losses_N).max(), 1e-300))


def _standardise(y_N: np.ndarray) -> np.ndarray:
    deviation = y_N.std()
    # Relative to the values: beside a huge loss that was clipped, all others are tiny.
    varies = deviation > 1e-12 * np.abs(y_N).max()
    return np.asarray((y_N - y_N.mean()) / (deviation if varies else 1.0))
