import math

import numpy as np
import pytest

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.calibrate import (
    Calibration,
    count_words,
    fit_calibration,
    log_odds,
    read_calibration,
)
from raytune_yesno.tasks.speech.decode import Decoding


def draw_words(slope: float, offset: float, count: int) -> list[tuple[float, bool]]:
    """Return words whose probabilities are off by a logistic curve, right as often as that says."""
    random = np.random.default_rng(0)
    odds = random.uniform(-2, 6, count)
    right = random.uniform(size=count) < 1 / (1 + np.exp(-(slope * odds + offset)))
    return [(1 / (1 + math.exp(-z)), bool(r)) for z, r in zip(odds, right, strict=True)]


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, -1.0), (1.5, 1.0)])
def test_confidence_is_how_often_words_are_right(slope: float, offset: float) -> None:
    words = draw_words(slope, offset, 20_000)
    calibration = fit_calibration(count_words(words))
    confidence = np.array([calibration.confidence(p) for p, _ in words])
    right = np.array([r for _, r in words])
    for low in np.arange(0, 1, 0.1):
        within = (confidence >= low) & (confidence < low + 0.1)
        if within.sum() > 300:
            assert confidence[within].mean() == pytest.approx(right[within].mean(), abs=0.05)


def test_counts_add_up_over_ranks() -> None:
    words = draw_words(1.0, 0.0, 500)
    whole = count_words(words)
    assert whole.sum() == 500
    assert (count_words(words[::2]) + count_words(words[1::2]) == whole).all()


def test_the_threshold_loses_next_to_no_right_words() -> None:
    words = [(0.99, True)] * 1000 + [(0.6, False)] * 200 + [(0.6, True)] * 2
    calibration = fit_calibration(count_words(words))
    assert calibration.confidence(0.6) < calibration.threshold <= calibration.confidence(0.99)


@pytest.mark.parametrize("words", [[], [(0.9, True)], [(0.9, False)], [(1.0, True)] * 400])
def test_few_words_or_all_alike_give_a_usable_curve(words: list[tuple[float, bool]]) -> None:
    calibration = fit_calibration(count_words(words))
    confidences = [calibration.confidence(p) for p in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert confidences == sorted(confidences)
    assert all(0 <= confidence <= 1 for confidence in confidences)
    assert 0 <= calibration.threshold < 1


def test_log_odds_stay_in_range() -> None:
    assert log_odds(0.5) == 0
    assert log_odds(0.0) < log_odds(0.5) < log_odds(1.0) < math.inf


def test_a_calibration_is_read_back_and_a_damaged_one_refused() -> None:
    calibration = Calibration(0.7, -0.2, 0.4, Decoding(2, 1.5, 0.25))
    plain = calibration.as_dict()
    assert read_calibration(plain) == calibration
    del plain["reach"], plain["level_weight"], plain["weak_share"]  # as in older versions
    assert read_calibration(plain) == Calibration(0.7, -0.2, 0.4)
    assert read_calibration(None) == Calibration()
    for damaged in (
        {},
        {"slope": 1.0},
        {**calibration.as_dict(), "slope": math.nan},
        {**plain, "weak_share": 2},
    ):
        with pytest.raises(InputError, match="calibration"):
            read_calibration(damaged)
