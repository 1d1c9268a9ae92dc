"""Calibration: turn the network's probabilities into confidences.

A confidence is the share of words with such a probability that are right. Platt scaling
("Probabilistic outputs for support vector machines", 1999) fits a logistic curve over the
network's log-odds. The fit uses counts in bins, which add up over ranks.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.decode import BEST_PATH, Decoding

LOWEST, HIGHEST, NUM_BINS = -9.0, 9.0, 72  # range of the bins, log-odds
PRIOR_WORDS = 4.0  # pseudo-counts, half of them right, that regularise every fit
MAX_LOST = 0.012  # share of the right words that the threshold may reject
MAX_THRESHOLD = 0.8  # above it, more than four right words are lost for each false alarm


def log_odds(probability: float) -> float:
    """Return log(p / (1 - p)), within the range of the bins."""
    probability = min(max(probability, 1e-9), 1 - 1e-9)
    return min(max(math.log(probability / (1 - probability)), LOWEST), HIGHEST)


def count_words(words: Iterable[tuple[float, bool]]) -> Tensor:
    """Count words by log-odds.

    Args:
        words: pairs of the network's probability of a word and whether the word is right.

    Returns:
        (2, NUM_BINS) float64: counts of wrong words, then of right ones.
    """
    counts_2N = torch.zeros(2, NUM_BINS, dtype=torch.float64)
    for probability, right in words:
        position = (log_odds(probability) - LOWEST) / (HIGHEST - LOWEST) * NUM_BINS
        counts_2N[int(right), min(NUM_BINS - 1, int(position))] += 1
    return counts_2N


@dataclass(frozen=True)
class Calibration:
    """A logistic curve and a threshold on confidence.

    Attributes:
        slope: slope of the curve: confidence is the logistic function of
            ``slope * log-odds + offset``.
        offset: offset of the curve.
        threshold: minimum confidence of an accepted word.
        decoding: computes the probabilities that the curve was fitted to.
    """

    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.0
    decoding: Decoding = BEST_PATH

    def confidence(self, probability: float) -> float:
        """Return the probability that a word is right."""
        return _logistic(self.slope * log_odds(probability) + self.offset)

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        curve = {"slope": self.slope, "offset": self.offset, "threshold": self.threshold}
        return {**curve, **self.decoding.as_dict()}


def read_calibration(plain: dict[str, float] | None) -> Calibration:
    """Read the result of :meth:`Calibration.as_dict`.

    Args:
        plain: the numbers by name; older versions lack some of the decoding's. None gives the
            uncalibrated probabilities and accepts every word.

    Raises:
        InputError: ``plain`` has other keys, or values that are not finite.
    """
    if plain is None:
        return Calibration()
    plain = {**BEST_PATH.as_dict(), **plain}
    if (
        plain.keys() != Calibration().as_dict().keys()
        or not all(map(math.isfinite, plain.values()))
        or not (plain["reach"] >= 0 and 0 <= plain["weak_share"] <= 1)
    ):
        raise InputError("the checkpoint's calibration is damaged; use another checkpoint")
    decoding = Decoding(int(plain["reach"]), plain["level_weight"], plain["weak_share"])
    return Calibration(plain["slope"], plain["offset"], plain["threshold"], decoding)


def fit_calibration(counts_2N: Tensor, decoding: Decoding = BEST_PATH) -> Calibration:
    """Fit the curve and the threshold to counts.

    The threshold is the highest that rejects at most :data:`MAX_LOST` of the right words.

    Args:
        counts_2N: (2, NUM_BINS), from :func:`count_words`.
        decoding: as for :class:`Calibration`.
    """
    wrong_N, right_N = counts_2N.numpy()
    if not counts_2N.sum():
        return Calibration(decoding=decoding)
    middle_N = LOWEST + (np.arange(NUM_BINS) + 0.5) * (HIGHEST - LOWEST) / NUM_BINS
    # Pseudo-counts around the mean keep the curve finite if no words, or all, are right.
    total_N = wrong_N + right_N
    mean, spread = np.average(middle_N, weights=total_N), 3.0
    x_N = np.concatenate([middle_N, [mean - spread, mean + spread]])
    right = np.concatenate([right_N, [0.5, PRIOR_WORDS / 2 - 0.5]])
    total = np.concatenate([total_N, [PRIOR_WORDS / 2, PRIOR_WORDS / 2]])
    slope, offset = 1.0, 0.0
    for _ in range(50):  # Newton's method on a concave likelihood with a weak ridge penalty
        p_N = 1 / (1 + np.exp(-np.clip(slope * x_N + offset, -30, 30)))
        rest_N, weight_N = right - total * p_N, total * p_N * (1 - p_N)
        gradient = np.array([rest_N @ x_N - 0.1 * (slope - 1), rest_N.sum() - 0.01 * offset])
        hessian = np.array(
            [
                [weight_N @ x_N**2 + 0.1, weight_N @ x_N],
                [weight_N @ x_N, weight_N.sum() + 0.01],
            ]
        )
        step = np.clip(np.linalg.solve(hessian, gradient), -1.0, 1.0)
        slope, offset = slope + step[0], offset + step[1]
        if np.abs(step).max() < 1e-9:
            break
    slope = max(float(slope), 0.05)  # confidence must rise with probability
    edges_N = LOWEST + np.arange(NUM_BINS) * (HIGHEST - LOWEST) / NUM_BINS
    lost_N = np.concatenate([[0.0], np.cumsum(right_N)[:-1]])  # below each bin's lower edge
    kept = np.flatnonzero(lost_N <= MAX_LOST * right_N.sum()).max()
    threshold = _logistic(slope * float(edges_N[kept]) + float(offset)) if kept else 0.0
    return Calibration(slope, float(offset), min(threshold, MAX_THRESHOLD), decoding)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-min(max(x, -30.0), 30.0)))
