"""Scales of losses for models whose values have mean 0 and deviation 1.

Axes: N results, K knots of a scale and S segments between them, C candidates, L levels.
"""

from dataclasses import dataclass

import numpy as np

_MAX_KNOTS = 40
_FAR = 12.0  # how far a scale goes beyond the results, in deviations of the model's values


def warp(losses_N: np.ndarray) -> list[np.ndarray]:
    """Return losses on several scales, each with mean 0 and deviation 1.

    Linear, without the outliers of the upper tail; the logarithm of the distance to the best loss;
    and the normal score of the rank.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    scaled_N = shrink(losses_N)
    apart_N = scaled_N - scaled_N.min()
    unit = max(np.median(scaled_N) - scaled_N.min(), apart_N.mean(), 1e-300)
    return [
        scale_linearly(losses_N),
        _standardise(np.log(0.1 + apart_N / unit)),
        _standardise(ndtri((rankdata(losses_N) - 0.5) / len(losses_N))),
    ]


def scale_linearly(losses_N: np.ndarray) -> np.ndarray:
    """Return losses with mean 0 and deviation 1; outliers of the upper tail are clipped first."""
    scaled_N = shrink(losses_N)
    return _standardise(np.minimum(scaled_N, find_bound(scaled_N)))


def find_bound(losses_N: np.ndarray) -> float:
    """Return the value above which a loss is an outlier of the upper tail (Tukey's fence)."""
    low, high = np.quantile(losses_N, [0.25, 0.75])
    # If most results are equal, clipping would hide all others.
    return float(high + 1.5 * (high - low)) if high > low else np.inf


def shrink(losses_N: np.ndarray) -> np.ndarray:
    """Return losses of at most 1 in size: squares of huge ones would overflow."""
    return np.asarray(losses_N / max(np.abs(losses_N).max(), 1e-300))


def _standardise(y_N: np.ndarray) -> np.ndarray:
    deviation = y_N.std()
    # Relative to the values: beside a huge loss that was clipped, all others are tiny.
    varies = deviation > 1e-12 * np.abs(y_N).max()
    return np.asarray((y_N - y_N.mean()) / (deviation if varies else 1.0))


@dataclass(frozen=True)
class Scale:
    """A piecewise linear, increasing map between a model's values and costs.

    Attributes:
        value_K: values at the knots.
        cost_K: costs at the knots.
    """

    value_K: np.ndarray
    cost_K: np.ndarray

    def to_cost(self, value: np.ndarray) -> np.ndarray:
        """Return the costs of values."""
        return np.interp(value, self.value_K, self.cost_K)

    def expect_below(
        self, mean_C: np.ndarray, std_C: np.ndarray, levels_L: np.ndarray
    ) -> np.ndarray:
        """Return E[max(level - cost, 0)] of costs whose values are normal; 0 for minus infinity.

        The expectation is an integral of the probability of a cost below the level. On each
        segment of the scale it is that of a normal variable, times the slope.
        """
        level_L = np.interp(levels_L, self.cost_K, self.value_K)
        below_CK = _expect_normal_below(mean_C, std_C, self.value_K)
        slope_S = np.diff(self.cost_K) / np.diff(self.value_K)
        sum_CK = np.zeros_like(below_CK)
        np.cumsum(np.diff(below_CK) * slope_S, axis=1, out=sum_CK[:, 1:])
        at_L = np.searchsorted(self.value_K, level_L, side="right") - 1
        at_L = np.clip(at_L, 0, len(slope_S) - 1)
        part_CL = slope_S[at_L] * (_expect_normal_below(mean_C, std_C, level_L) - below_CK[:, at_L])
        return np.where(np.isfinite(levels_L), np.maximum(sum_CK[:, at_L] + part_CL, 0.0), 0.0)


def _expect_normal_below(mean_C: np.ndarray, std_C: np.ndarray, levels_L: np.ndarray) -> np.ndarray:
    """Return E[max(level - y, 0)] for normal y."""
    from scipy.special import ndtr

    gap_CL = levels_L - mean_C[:, None]
    z_CL = gap_CL / std_C[:, None]
    density_CL = np.exp(-0.5 * z_CL**2) / np.sqrt(2 * np.pi)
    return np.asarray(np.maximum(gap_CL * ndtr(z_CL) + std_C[:, None] * density_CL, 0.0))


def build_scale(losses_N: np.ndarray, y_N: np.ndarray) -> Scale:
    """Return the scale that maps results on a scale of :func:`warp` to their losses.

    Below the best result it continues with the slope of the best quarter: that of the two best
    ones may be 0.
    """
    order_N = np.argsort(losses_N, kind="stable")
    value_K, first_K = np.unique(y_N[order_N], return_index=True)
    cost_K = losses_N[order_N][first_K]
    kept = np.unique(np.linspace(0, len(value_K) - 1, _MAX_KNOTS).round().astype(int))
    value_K, cost_K = value_K[kept], cost_K[kept]
    if len(value_K) < 2:
        value_K, cost_K = value_K[0] + np.array([0.0, 1.0]), cost_K[0] + np.array([0.0, 1.0])
    quarter = max(len(value_K) // 4, 1)
    low = (cost_K[quarter] - cost_K[0]) / (value_K[quarter] - value_K[0])
    high = (cost_K[-1] - cost_K[0]) / (value_K[-1] - value_K[0])
    return Scale(
        np.concatenate([[value_K[0] - _FAR], value_K, [value_K[-1] + _FAR]]),
        np.concatenate([[cost_K[0] - _FAR * low], cost_K, [cost_K[-1] + _FAR * high]]),
    )
