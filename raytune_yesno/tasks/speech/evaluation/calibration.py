"""How well confidences match the share of words that are right."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from raytune_yesno.tasks.speech.decode import match_words
from raytune_yesno.tasks.speech.evaluation.word_errors import Reading

BINS = 10
_RESAMPLES = 1000


def measure_calibration(readings: Iterable[Reading]) -> dict[str, Any]:
    """Return the expected calibration error, its 95 % interval and its bins.

    The expected calibration error (Guo et al., "On calibration of modern neural networks", 2017)
    is the mean distance, weighted by words, between confidence and the share of right words in ten
    bins of equal width. Words below the threshold count too. The interval is a bootstrap over
    recordings.
    """
    samples = [
        (
            np.array([word.confidence for word in reading.heard]),
            np.array(match_words(reading.reference, [word.label for word in reading.heard])),
        )
        for reading in readings
    ]
    # Sums by recording and bin: words, confidences, right words.
    sums_N3K = np.zeros((len(samples), 3, BINS))
    for row, (confidences, correct) in enumerate(samples):
        bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
        for column, weights in enumerate((None, confidences, correct)):
            sums_N3K[row, column] = np.bincount(bins, weights, minlength=BINS)

    def error(sums_3K: npt.NDArray[np.float64]) -> float:
        num_words, confidence, right = sums_3K
        return float(np.abs(confidence - right).sum() / num_words.sum()) if num_words.sum() else 0.0

    total_3K = sums_N3K.sum(axis=0)
    random = np.random.default_rng(0)
    draws = [
        error(sums_N3K[random.integers(0, len(samples), len(samples))].sum(axis=0))
        for _ in range(_RESAMPLES if samples else 0)
    ]
    interval = np.quantile(draws, (0.025, 0.975)).tolist() if draws else [0.0, 1.0]
    return {
        "ece": error(total_3K),
        "ece_interval": interval,
        "words": int(total_3K[0].sum()),
        "bins": [
            {
                "low": k / BINS,
                "high": (k + 1) / BINS,
                "words": int(num_words),
                "confidence": confidence / num_words if num_words else None,
                "correct": right / num_words if num_words else None,
            }
            for k, (num_words, confidence, right) in enumerate(total_3K.T.tolist())
        ],
    }
