from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_yesno.tasks.speech.nonwords import (
    FADE_SAMPLES,
    NUM_INVENTED,
    alter,
    change_vowel,
    graft,
    invent,
    invented_words,
    splice,
)
from raytune_yesno.tasks.speech.task import NUM_AHEAD, ahead

HZ = 8000


def draw_vowel(pitch_hz: float, formants_hz: tuple[float, ...]) -> Tensor:
    """Return 0.5 s of a vowel: harmonics of a pitch that are strong near the formants."""
    time_S = torch.arange(HZ // 2) / HZ
    vowel = torch.zeros(len(time_S))
    for hz in np.arange(pitch_hz, 3900, pitch_hz).tolist():
        level = sum(1 / (1 + ((hz - formant_hz) / 80) ** 2) for formant_hz in formants_hz)
        vowel += level * torch.cos(2 * torch.pi * hz * time_S)
    return vowel / vowel.abs().max()


def strongest_hz(waveform: Tensor, low_hz: float, high_hz: float) -> float:
    power_F = torch.fft.rfft(waveform).abs()
    hz_F = torch.fft.rfftfreq(len(waveform), 1 / HZ)
    return hz_F[(power_F * ((hz_F > low_hz) & (hz_F < high_hz))).argmax()].item()


def test_invented_words_are_loud_and_all_different() -> None:
    bank = invented_words()
    assert len(bank) == NUM_INVENTED
    for word in bank:
        assert word.isfinite().all()
        assert 800 < len(word) <= 4800
        assert 0.8 < word.square().mean().sqrt() < 1.1
    assert not any(torch.equal(bank[0][:800], word[:800]) for word in bank[1:])


def test_the_generator_decides_every_non_word() -> None:
    word, other = draw_vowel(100, (500, 1800)), draw_vowel(110, (450, 900))
    for seed in range(30):
        first, again = (
            (invent(random), alter(word, word, other, random))
            for random in (np.random.default_rng(seed), np.random.default_rng(seed))
        )
        for one, two in zip(first, again, strict=True):
            assert torch.equal(one, two)
            assert one.isfinite().all()
            assert len(one) > 300
        assert first[1].shape != word.shape or not torch.allclose(first[1], word, atol=0.01)


@pytest.mark.parametrize("seed", range(10))
def test_a_graft_keeps_one_end_of_the_word(seed: int) -> None:
    word = draw_vowel(100, (500, 1700))
    grafted = graft(word, np.random.default_rng(seed))
    kept_begin = torch.equal(grafted[FADE_SAMPLES:800], word[FADE_SAMPLES:800])
    kept_end = torch.equal(grafted[-800:-FADE_SAMPLES], word[-800:-FADE_SAMPLES])
    assert kept_begin != kept_end


@pytest.mark.parametrize("seed", range(10))
def test_another_vowel_has_other_formants_and_the_same_pitch(seed: int) -> None:
    word = draw_vowel(100, (500, 1700))
    changed = change_vowel(word, np.random.default_rng(seed))
    assert len(changed) == len(word)
    moved = [
        abs(np.log2(strongest_hz(changed, *band) / strongest_hz(word, *band)))
        for band in ((150, 1000), (1000, 2700))
    ]
    assert max(moved) > 0.25  # octaves
    power_F = torch.fft.rfft(changed).abs()
    on_pitch = power_F[:: 100 // 2].square().sum()  # bins are 2 Hz apart
    assert on_pitch / power_F.square().sum() > 0.5


def test_a_splice_begins_as_one_word_and_ends_as_the_other() -> None:
    first, second = torch.full((1000,), 1.0), torch.full((2000,), -1.0)
    spliced = splice(first, second, np.random.default_rng(0))
    assert spliced[:200].min() >= 0 > spliced[-200:-1].max()
    assert spliced.sign().diff().count_nonzero() < 8


def test_what_is_built_ahead_has_the_order_of_the_items() -> None:
    built: list[int] = []

    def build(item: int) -> int:
        built.append(item)
        return 10 * item

    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, build, range(50))
        assert next(results) == 0
        assert len(built) <= NUM_AHEAD + 1
        assert list(results) == [10 * item for item in range(1, 50)]
    assert built == list(range(50))


def test_an_error_while_building_ahead_is_raised() -> None:
    def build(item: int) -> float:
        return 1 / item

    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        list(ahead(pool, build, [1, 2, 0, 3]))
