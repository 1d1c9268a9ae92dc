import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from raytune_yesno.tasks.speech.noise import (
    LADDER,
    NOISES,
    SNRS_DB,
    Condition,
    build_noise,
    frame_power,
    mix,
    noisy_copies,
    speech_power,
)
from raytune_yesno.tasks.speech.synthetic import synthesize, synthesize_with_times

CORPUS = synthesize(4)
KINDS = st.sampled_from(NOISES)


def level_db(samples: Tensor) -> float:
    return 10 * math.log10(samples.double().square().mean())


def slope_db_per_octave(noise: Tensor) -> float:
    """Fit a line to the power density in dB against octaves, from 60 to 3900 Hz."""
    window = torch.hann_window(1024, dtype=torch.double)
    spectrum_FT = torch.stft(noise.double(), 1024, window=window, return_complex=True)
    hz_F = torch.fft.rfftfreq(1024, 1 / 8000)
    band = (hz_F > 60) & (hz_F < 3900)
    density_F = 10 * spectrum_FT.abs().square().mean(1)[band].log10()
    octaves = hz_F[band].double().log2()
    octaves = octaves - octaves.mean()
    return float((octaves * density_F).sum() / octaves.square().sum())


@pytest.mark.parametrize("kind", NOISES)
def test_noise_hangs_on_its_name_alone(kind: str) -> None:
    first = build_noise(kind, 9000, "test", 1)
    torch.manual_seed(5)
    build_noise(kind, 777, "something else")
    assert torch.equal(first, build_noise(kind, 9000, "test", 1))
    other = build_noise(kind, 9000, "test", 2)
    assert abs(torch.corrcoef(torch.stack([first, other]))[0, 1]) < 0.3


@given(KINDS, st.integers(1, 200_000), st.integers(0, 100))
def test_noise_of_any_length_has_an_rms_of_one(kind: str, num_samples: int, seed: int) -> None:
    noise = build_noise(kind, num_samples, seed)
    assert noise.shape == (num_samples,)
    assert noise.dtype == torch.float32
    # Babble may begin with a moment in which nobody speaks.
    if num_samples >= 4000 or kind == "white":
        assert level_db(noise) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("kind", NOISES)
def test_no_noise_of_no_samples(kind: str) -> None:
    assert build_noise(kind, 0, "test").shape == (0,)


def test_an_unknown_kind_names_the_right_ones() -> None:
    with pytest.raises(ValueError, match="'brown' is not one of white, pink, babble"):
        build_noise("brown", 100, 0)


@pytest.mark.parametrize(("kind", "slope"), [("white", 0.0), ("pink", -10 * math.log10(2))])
def test_spectra_fall_as_they_should(kind: str, slope: float) -> None:
    assert slope_db_per_octave(build_noise(kind, 400_000, "slope")) == pytest.approx(slope, abs=0.1)


def test_pink_noise_holds_nothing_below_hearing() -> None:
    power_F = torch.fft.rfft(build_noise("pink", 1 << 16, "low").double()).abs().square()
    hz_F = torch.fft.rfftfreq(1 << 16, 1 / 8000)
    assert power_F[hz_F < 19].sum() < 1e-6 * power_F.sum()
    assert power_F[(hz_F > 20) & (hz_F < 40)].sum() > 0.05 * power_F.sum()


def test_babble_has_the_spectrum_of_speech() -> None:
    """Strongest about the first formant, and some 6 dB weaker in each octave above."""
    power_F = torch.fft.rfft(build_noise("babble", 240_000, "spectrum").double()).abs().square()
    hz_F = torch.fft.rfftfreq(240_000, 1 / 8000)
    lowest, first_formant, middle, high = (
        float(power_F[(hz_F > low) & (hz_F < high)].sum() / power_F.sum())
        for low, high in ((0, 125), (250, 1000), (1000, 2000), (2000, 4000))
    )
    assert first_formant > 0.6
    assert 0.03 < middle < 0.2
    assert 0.03 < high < 0.2
    assert lowest < 0.05


def test_babble_goes_up_and_down_at_the_rate_of_syllables() -> None:
    def modulation(kind: str) -> tuple[float, float]:
        """Return how far 20 ms powers stray, and how much of that is between 1 and 8 Hz."""
        power_T = frame_power(build_noise(kind, 400_000, "modulation"))
        spread_F = torch.fft.rfft(power_T - power_T.mean()).abs().square()
        hz_F = torch.fft.rfftfreq(len(power_T), 0.02)
        slow = spread_F[(hz_F > 1) & (hz_F < 8)].sum() / spread_F.sum()
        return float(power_T.std() / power_T.mean()), float(slow)

    white, babble = modulation("white"), modulation("babble")
    assert babble[0] > 3 * white[0]
    assert babble[1] > 2 * white[1]


def test_babble_does_not_repeat_itself() -> None:
    noise = build_noise("babble", 300_000, "long").double()
    around = torch.fft.irfft(torch.fft.rfft(noise, 600_000).abs().square())[40_000:260_000]
    assert around.max() < 0.3 * noise.square().sum()


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("snr_db", SNRS_DB)
def test_the_ratio_measured_is_the_ratio_asked_for(kind: str, snr_db: float) -> None:
    """Measured on the words' true times, without the meter under test."""
    corpus, times = synthesize_with_times(2)
    waveform = corpus[1][0][0]
    noise = mix(waveform, build_noise(kind, len(waveform), 3), snr_db) - waveform
    spans = [waveform[int(a * 8000) : int(b * 8000)] for a, b in times[1]]
    # The meter's hangover counts 0.2 s after each word, or a short pause, as active.
    active_s = sum(map(len, spans)) / 8000 + sum(
        min(0.2, after - end)
        for (_, end), (after, _) in zip(times[1], [*times[1][1:], (99, 99)], strict=True)
    )
    level = 10 * math.log10(waveform.double().square().sum() / (8000 * active_s))
    assert level - level_db(noise) == pytest.approx(snr_db, abs=0.5)
    exact = 10 * math.log10(speech_power(waveform)) - level_db(noise)
    assert exact == pytest.approx(snr_db, abs=0.01)


def test_pauses_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    spoken = torch.randn(16_000, generator=generator)
    quiet = 0.001 * torch.randn(80_000, generator=generator)
    alone = speech_power(spoken)
    assert alone == pytest.approx(1, rel=0.02)
    # The hangover adds 0.2 s to the 2 s.
    assert speech_power(torch.cat([quiet, spoken, quiet])) == pytest.approx(alone / 1.1, rel=0.02)
    gap = torch.cat([spoken[:8000], quiet[:1000], spoken[8000:]])  # too short to be a pause
    assert speech_power(gap) == pytest.approx(alone * 16 / 17, rel=0.02)


@given(st.floats(-40, 40), st.floats(1e-3, 10), st.floats(1e-3, 10), st.integers(1, 3000))
def test_the_ratio_holds_at_any_level(
    snr_db: float, loud: float, noise_loud: float, num_samples: int
) -> None:
    generator = torch.Generator().manual_seed(num_samples)
    waveform = loud * torch.randn(1, num_samples + 1, generator=generator, dtype=torch.float64)
    noise = noise_loud * torch.randn(num_samples + 1, generator=generator)
    noisy = mix(waveform, noise, snr_db)
    assert noisy.shape == waveform.shape
    assert noisy.dtype == waveform.dtype
    power = speech_power(waveform)
    assert 10 * math.log10(power) - level_db(noisy - waveform) == pytest.approx(snr_db, abs=0.1)


def test_loud_noise_is_not_clipped() -> None:
    waveform = CORPUS[0][0]
    assert mix(waveform, build_noise("white", waveform.shape[1], 0), -30).abs().max() > 2


@pytest.mark.parametrize("samples", [0, 1, 5, 1000])
@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence_stays_silence(samples: int, level: float) -> None:
    silence = torch.full((1, samples), level)
    assert torch.equal(mix(silence, build_noise("white", samples, 0), 10), silence)


def test_silent_noise_changes_nothing() -> None:
    waveform = CORPUS[0][0]
    assert torch.equal(mix(waveform, torch.zeros_like(waveform[0]), 10), waveform)


def test_a_copy_hangs_on_nothing_but_its_own_name() -> None:
    """Not on the order, nor on what else is read."""
    everything = {
        (copy.position, copy.condition): copy.waveform
        for copy in noisy_copies(CORPUS, range(4), LADDER, "test", 0)
    }
    assert len(everything) == 4 * len(NOISES) * len(SNRS_DB)
    order = list(LADDER)
    random.Random(1).shuffle(order)
    for copy in noisy_copies(CORPUS, (3, 1), order[:4], "test", 0):
        assert torch.equal(copy.waveform, everything[copy.position, copy.condition])


def test_copies_differ_by_seed_purpose_kind_ratio_and_recording() -> None:
    def noise(condition: Condition, position: int, *name: object) -> Tensor:
        copy = next(noisy_copies(CORPUS, [position], [condition], *name))
        added = (copy.waveform - CORPUS[position][0])[0, :30_000]
        return added / added.square().mean().sqrt()

    drawn = torch.stack(
        [
            noise(Condition("white", 10), 0, "valid", 0),
            noise(Condition("white", 10), 0, "valid", 1),
            noise(Condition("white", 10), 0, "ladder", 0),
            noise(Condition("white", 5), 0, "valid", 0),
            noise(Condition("white", 10), 1, "valid", 0),
            noise(Condition("pink", 10), 0, "valid", 0),
        ]
    )
    assert (torch.corrcoef(drawn) - torch.eye(6)).abs().max() < 0.05


def test_a_whole_ratio_is_the_same_as_int_and_float() -> None:
    copies = [
        next(noisy_copies(CORPUS, [0], [Condition("pink", snr)], 0)).waveform for snr in (5, 5.0)
    ]
    assert torch.equal(*copies)
