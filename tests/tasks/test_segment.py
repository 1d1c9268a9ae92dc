import numpy as np
import pytest

from raytune_yesno.tasks.speech.segment import find_words
from raytune_yesno.tasks.speech.synthetic import synthesize_with_times

CORPUS, TIMES = synthesize_with_times(12, seed=3)


@pytest.mark.parametrize("index", range(len(CORPUS)))
def test_finds_every_word_near_its_true_time(index: int) -> None:
    spans = find_words(CORPUS.waveform(index), len(CORPUS.labels[index]))
    assert spans is not None
    for span, (begin_s, end_s) in zip(spans, TIMES[index], strict=True):
        assert abs(span.centre_s - (begin_s + end_s) / 2) < 0.1
        assert span.cut_begin <= span.begin < span.end <= span.cut_end
    cuts = [edge for span in spans for edge in (span.cut_begin, span.cut_end)]
    assert cuts == sorted(cuts)
    assert cuts[0] >= 0
    assert cuts[-1] <= len(CORPUS.waveform(index))


@pytest.mark.parametrize("count", [3, 13])
def test_another_number_of_words_is_not_found(count: int) -> None:
    assert find_words(CORPUS.waveform(0), count) is None


@pytest.mark.parametrize("num_samples", [0, 10, 500, 8000])
def test_silence_and_snippets_hold_no_words(num_samples: int) -> None:
    assert find_words(np.zeros(num_samples, dtype=np.float32), 2) is None


def test_a_steady_noise_cannot_be_cut_into_words() -> None:
    noise = np.random.default_rng(0).normal(size=24_000).astype(np.float32)
    assert find_words(noise, 5) is None
