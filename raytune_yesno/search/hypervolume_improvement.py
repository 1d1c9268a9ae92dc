"""The expected hypervolume improvement of a front.

Axes: C candidates, M objectives, B boxes, F vectors of a front.
"""

from collections.abc import Sequence

import numpy as np

from raytune_yesno import pareto

MAX_FRONT = {1: 1, 2: 60, 3: 24}
"""Vectors of a front that are used, by the number of objectives: they limit the number of boxes."""
_FEW = 12  # with more objectives


def score_hypervolume(
    mean_CM: np.ndarray, std_CM: np.ndarray, front_FM: np.ndarray, reference_M: np.ndarray
) -> np.ndarray:
    """Return the logarithm of the expected hypervolume improvement at C candidates.

    The costs of a candidate are independent and normal. The part of the cost space that the front
    does not dominate is divided into boxes, in each of which the expected improvement is a product
    over the objectives (Yang et al., 2019, "Efficient computation of expected hypervolume
    improvement").

    Args:
        mean_CM: means of the candidates' costs.
        std_CM: standard deviations.
        front_FM: the front.
        reference_M: the reference point.
    """
    num_objectives = len(reference_M)
    kept = pareto.order(front_FM.tolist())[: MAX_FRONT.get(num_objectives, _FEW)]
    front = [tuple(front_FM[index]) for index in kept]
    boxes_B2M = np.array(build_boxes(front, tuple(reference_M)))
    product_CB = np.ones((len(mean_CM), len(boxes_B2M)))
    for m in range(num_objectives):
        levels, index_B2 = np.unique(boxes_B2M[:, :, m], return_inverse=True)
        below_CL = expect_below(mean_CM[:, m], std_CM[:, m], levels)
        index_B2 = index_B2.reshape(-1, 2)
        product_CB *= below_CL[:, index_B2[:, 1]] - below_CL[:, index_B2[:, 0]]
    return np.asarray(np.log(np.maximum(product_CB.sum(axis=1), 1e-300)))


def expect_below(mean_C: np.ndarray, std_C: np.ndarray, levels_L: np.ndarray) -> np.ndarray:
    """Return E[max(level - y, 0)] for normal y; 0 for a level of minus infinity."""
    from scipy.special import ndtr

    finite_L = np.isfinite(levels_L)
    gap_CL = np.where(finite_L, levels_L, 0.0) - mean_C[:, None]
    z_CL = gap_CL / std_C[:, None]
    density_CL = np.exp(-0.5 * z_CL**2) / np.sqrt(2 * np.pi)
    below_CL = gap_CL * ndtr(z_CL) + std_C[:, None] * density_CL
    return np.where(finite_L, np.maximum(below_CL, 0.0), 0.0)


def build_boxes(
    front: Sequence[tuple[float, ...]], reference: tuple[float, ...]
) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return disjoint boxes, lower and upper corners, that cover what a front does not dominate.

    Example:
        >>> build_boxes([(1.0, 1.0)], (2.0, 3.0))
        [((-inf, -inf), (2.0, 1.0)), ((-inf, 1.0), (1.0, 3.0))]
    """
    inside = [v for v in front if all(c < r for c, r in zip(v, reference, strict=True))]
    if len(reference) == 1:
        return [((-np.inf,), (min((v[0] for v in inside), default=reference[0]),))]
    levels = sorted({vector[-1] for vector in inside})
    boxes = []
    for low, high in zip([-np.inf, *levels], [*levels, reference[-1]], strict=True):
        base = [vector[:-1] for vector in inside if vector[-1] <= low]
        base = [base[index] for index in pareto.find_front(base)]
        for lower, upper in build_boxes(base, reference[:-1]):
            boxes.append(((*lower, low), (*upper, high)))
    return boxes


def choose_bound(front_FM: np.ndarray, all_NM: np.ndarray) -> np.ndarray:
    """Return the reference point of a front: a tenth of its range beyond its worst costs.

    A cost in which the front has no range takes that of all results.
    """
    span_M = np.ptp(front_FM, axis=0)
    span_M = np.where(span_M > 1e-9, span_M, np.ptp(all_NM, axis=0) + 1e-9)
    return np.asarray(front_FM.max(axis=0) + 0.1 * span_M)
