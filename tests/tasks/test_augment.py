import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.tasks.speech.augment import (
    Augmentation,
    change_speed,
    shift_in_time,
    warp_bands,
)
from raytune_yesno.tasks.speech.features import LogMel
from raytune_yesno.tasks.speech.noise import speech_power
from raytune_yesno.tasks.speech.synthetic import synthesize_with_times

CORPUS, TIMES = synthesize_with_times(12)
WAVEFORM = CORPUS[0][0]
FEATURE_FT = 1 + torch.rand(28, 320, generator=build_torch_generator("features"))  # nowhere zero
WAVEFORM_PARTS = {"noise": 1.0, "gain_db": 12.0, "shift_s": 0.4, "speed": 0.2}
MASK_PARTS = {"time_mask": 12, "freq_mask": 8}


def runs(hidden: Tensor) -> list[tuple[int, int]]:
    """Return where each run of True begins and ends."""
    steps = torch.diff(hidden.int(), prepend=torch.zeros(1), append=torch.zeros(1)).int()
    begins, ends = (steps == 1).nonzero()[:, 0], (steps == -1).nonzero()[:, 0]
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


@pytest.mark.parametrize("part", WAVEFORM_PARTS)
def test_each_part_alone_changes_waveforms_and_says_so(part: str) -> None:
    augmentation = Augmentation(**{part: WAVEFORM_PARTS[part]})
    assert augmentation.changes_waveform
    assert not augmentation.changes_spectrogram
    changed = [augmentation.waveform(WAVEFORM, build_torch_generator(n)) for n in range(3)]
    assert not any(torch.equal(x_1T, WAVEFORM) for x_1T in changed)
    assert augmentation.spectrogram(FEATURE_FT, build_torch_generator(0)) is FEATURE_FT


@pytest.mark.parametrize("part", MASK_PARTS)
def test_each_mask_alone_changes_features_and_says_so(part: str) -> None:
    augmentation = Augmentation(**{part: MASK_PARTS[part]})
    assert augmentation.changes_spectrogram
    assert not augmentation.changes_waveform
    assert not torch.equal(
        augmentation.spectrogram(FEATURE_FT, build_torch_generator(0)), FEATURE_FT
    )
    assert augmentation.waveform(WAVEFORM, build_torch_generator(0)) is WAVEFORM


def test_all_off_is_the_default_and_changes_nothing() -> None:
    augmentation, generator = Augmentation(snr_db=7.0), build_torch_generator(0)
    assert not augmentation.changes_waveform
    assert not augmentation.changes_spectrogram
    assert augmentation.waveform(WAVEFORM, generator) is WAVEFORM
    assert augmentation.spectrogram(FEATURE_FT, generator) is FEATURE_FT


def test_the_generator_decides_everything() -> None:
    augmentation = Augmentation(**WAVEFORM_PARTS, **MASK_PARTS)

    def change(seed: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(torch.seed())
        return (
            augmentation.waveform(WAVEFORM, build_torch_generator(seed)),
            augmentation.spectrogram(FEATURE_FT, build_torch_generator(seed)),
        )

    first, again, other = change(0), change(0), change(1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    length = min(first[0].shape[1], other[0].shape[1])
    assert not torch.equal(first[0][:, :length], other[0][:, :length])


def test_what_is_given_is_not_changed() -> None:
    waveform, feature_FT = WAVEFORM.clone(), FEATURE_FT.clone()
    augmentation = Augmentation(**WAVEFORM_PARTS, **MASK_PARTS)
    for seed in range(5):
        augmentation.waveform(waveform, build_torch_generator(seed))
        augmentation.spectrogram(feature_FT, build_torch_generator(seed))
    assert torch.equal(waveform, WAVEFORM)
    assert torch.equal(feature_FT, FEATURE_FT)


@settings(deadline=None)
@given(
    augmentation=st.builds(
        Augmentation,
        noise=st.floats(0, 1),
        snr_db=st.floats(-20, 40),
        gain_db=st.floats(0, 40),
        shift_s=st.floats(0, 1),
        speed=st.floats(0, 0.3),
        time_mask=st.integers(0, 12),
        freq_mask=st.integers(0, 14),
    ),
    seed=st.integers(0, 1000),
    num_samples=st.integers(0, 20_000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    channel=st.booleans(),
)
def test_whatever_the_strength_numbers_stay_finite(
    augmentation: Augmentation, seed: int, num_samples: int, dtype: torch.dtype, channel: bool
) -> None:
    generator = build_torch_generator(seed)
    waveform = 0.1 * torch.randn(num_samples, dtype=dtype, generator=generator)
    waveform = waveform[None] if channel else waveform
    changed = augmentation.waveform(waveform, generator)
    assert changed.isfinite().all()
    assert changed.dtype == dtype
    assert changed.shape[:-1] == waveform.shape[:-1]
    longest = num_samples / (1 - round(100 * augmentation.speed) / 100)
    assert changed.shape[-1] <= longest + 8000 * augmentation.shift_s + 2
    feature_FT = torch.randn(28, 1 + num_samples // 160, dtype=dtype, generator=generator)
    masked_FT = augmentation.spectrogram(feature_FT, generator)
    assert masked_FT.shape == feature_FT.shape
    assert masked_FT.dtype == dtype
    assert ((masked_FT == feature_FT) | (masked_FT == 0)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_digital_silence_stays_finite_silence(dtype: torch.dtype) -> None:
    silence = torch.zeros(1, 30_000, dtype=dtype)
    for seed in range(5):
        changed = Augmentation(**WAVEFORM_PARTS).waveform(silence, build_torch_generator(seed))
        assert not changed.any()


# Noise


def test_noise_comes_as_often_as_asked_and_in_the_range_asked() -> None:
    augmentation, power = Augmentation(noise=0.4, snr_db=3.0), speech_power(WAVEFORM)
    added = [
        augmentation.waveform(WAVEFORM, build_torch_generator(seed)) - WAVEFORM
        for seed in range(200)
    ]
    noises = [noise.double() for noise in added if noise.any()]
    assert 60 <= len(noises) <= 100
    snrs_db = [10 * math.log10(power / noise.square().mean()) for noise in noises]
    assert 3 - 0.1 <= min(snrs_db) < 5
    assert 21 < max(snrs_db) <= 23 + 0.1
    tilts = [(noise.diff().square().mean() / noise.square().mean()).item() for noise in noises]
    assert max(tilts) > 1.9  # white: 2
    assert min(tilts) < 0.6  # pink and babble


def test_other_parts_do_not_change_what_noise_is_drawn() -> None:
    noisy, both = Augmentation(noise=0.5), Augmentation(noise=0.5, gain_db=6.0)
    for seed in range(10):
        plain = noisy.waveform(WAVEFORM, build_torch_generator(seed))
        gained = both.waveform(WAVEFORM, build_torch_generator(seed))
        gain = gained.norm() / plain.norm()
        torch.testing.assert_close(gained, gain * plain, rtol=1e-4, atol=1e-6)


def test_without_noise_the_same_draws_put_the_words_at_the_same_times() -> None:
    """What lets an alignment be found in the clean half of a noisy recording."""
    augmentation = Augmentation(**{**WAVEFORM_PARTS, "gain_db": 0.0}, snr_db=20.0)
    clean_one = dataclasses.replace(augmentation, noise=0.0)
    for seed in range(5):
        noisy = augmentation.waveform(WAVEFORM, build_torch_generator(seed))
        clean = clean_one.waveform(WAVEFORM, build_torch_generator(seed))
        assert noisy.shape == clean.shape
        noise = (noisy - clean).double()
        assert 0 < noise.square().mean() < speech_power(clean) / 98


# Gain


def test_gain_stays_in_its_range_and_changes_nothing_else() -> None:
    augmentation = Augmentation(gain_db=6.0)
    gains = []
    for seed in range(100):
        changed = augmentation.waveform(WAVEFORM, build_torch_generator(seed))
        gain = changed.norm() / WAVEFORM.norm()
        torch.testing.assert_close(changed, gain * WAVEFORM)
        gains.append(20 * math.log10(gain))
    assert -6.01 <= min(gains) < -5
    assert 5 < max(gains) <= 6.01


# Speed


@pytest.mark.parametrize("percent", [80, 90, 97, 103, 110, 120])
def test_speed_changes_length_and_pitch_by_its_factor(percent: int) -> None:
    time_s = torch.arange(16_000, dtype=torch.float64) / 8000
    tone = torch.sin(2 * math.pi * 1000 * time_s)[None]
    changed = change_speed(tone, percent)
    assert changed.shape[1] == math.ceil(16_000 * 100 / percent)
    window = torch.hann_window(changed.shape[1], dtype=torch.float64)
    power_F = torch.fft.rfft(changed[0] * window).abs().square()
    peak_hz = int(power_F.argmax()) * 8000 / changed.shape[1]
    assert peak_hz == pytest.approx(10 * percent, abs=1)
    near = slice(int(power_F.argmax()) - 3, int(power_F.argmax()) + 4)
    assert power_F[near].sum() > 0.999 * power_F.sum()


def test_a_faster_recording_is_not_folded_over() -> None:
    time_s = torch.arange(16_000, dtype=torch.float64) / 8000
    tone = torch.sin(2 * math.pi * 3800 * time_s)[None]
    assert change_speed(tone, 120)[0, 100:-100].square().mean() < 0.02 * tone.square().mean()


def test_speeds_fill_their_range() -> None:
    augmentation, length = Augmentation(speed=0.1), WAVEFORM.shape[1]
    speeds = {
        round(100 * length / augmentation.waveform(WAVEFORM, build_torch_generator(seed)).shape[1])
        for seed in range(200)
    }
    assert speeds == set(range(90, 111))


def test_a_speed_too_small_to_be_a_step_is_off() -> None:
    assert not Augmentation(speed=0.004).changes_waveform


# Shift


@pytest.mark.parametrize("position", range(len(CORPUS)))
@pytest.mark.parametrize("num_samples", [1, 800, 4000, 12_000])
def test_a_shift_moves_all_words_whole(position: int, num_samples: int) -> None:
    waveform, times = CORPUS[position][0], TIMES[position]
    begin, end = round(times[0][0] * 8000), round(times[-1][1] * 8000)
    spoken = waveform[:, begin:end]
    later = shift_in_time(waveform, num_samples)
    assert torch.equal(later[:, begin + num_samples : end + num_samples], spoken)
    earlier = shift_in_time(waveform, -num_samples)
    cut = waveform.shape[1] + num_samples - earlier.shape[1]
    assert 0 <= cut <= min(begin, num_samples)
    assert torch.equal(earlier[:, begin - cut : end - cut], spoken)


@pytest.mark.parametrize("num_samples", [400, -400])
def test_a_small_shift_keeps_the_length_where_both_ends_are_background(num_samples: int) -> None:
    for position, times in enumerate(TIMES):
        waveform = CORPUS[position][0]
        quiet_s = min(times[0][0], waveform.shape[1] / 8000 - times[-1][1])
        assert quiet_s > 0.3
        assert shift_in_time(waveform, num_samples).shape == waveform.shape


def test_shifts_go_both_ways_as_far_as_asked() -> None:
    augmentation, begin = Augmentation(shift_s=0.2), round(TIMES[0][0][0] * 8000)
    word = WAVEFORM[0, begin : begin + 200]
    shifts_s = []
    for seed in range(60):
        moved = augmentation.waveform(WAVEFORM, build_torch_generator(seed))[0]
        matches = (moved[: begin + 2000].unfold(0, 200, 1) == word).all(1).nonzero()
        shifts_s.append((int(matches[0]) - begin) / 8000)
    assert -0.2 <= min(shifts_s) < -0.15
    assert 0.15 < max(shifts_s) <= 0.2


def test_speech_that_touches_an_end_is_not_cut() -> None:
    end = round(TIMES[0][-1][1] * 8000)
    touching = WAVEFORM[:, : end - 400]
    later = shift_in_time(touching, 3000)
    assert torch.equal(later[:, 3000:], touching)


@pytest.mark.parametrize("num_samples", [4000, -4000])
def test_the_gap_is_filled_with_background(num_samples: int) -> None:
    for position, times in enumerate(TIMES):
        waveform = CORPUS[position][0]
        before = waveform[:, : round(times[0][0] * 8000)].square().mean()
        moved = shift_in_time(waveform, num_samples)
        gap = moved[:, :4000] if num_samples > 0 else moved[:, -4000:]
        assert gap.square().mean() / before == pytest.approx(1, abs=0.5)


def test_recordings_too_short_to_have_a_background_stay() -> None:
    short = torch.ones(1, 1000)
    assert torch.equal(shift_in_time(short, 500), short)


# Masks


def test_masks_are_zero_and_no_wider_than_they_may_be() -> None:
    augmentation = Augmentation(time_mask=12, freq_mask=8)
    widths, heights, starts = set(), set(), set()
    for seed in range(300):
        masked_FT = augmentation.spectrogram(FEATURE_FT, build_torch_generator(seed))
        hidden_FT = masked_FT == 0
        assert torch.equal(masked_FT[~hidden_FT], FEATURE_FT[~hidden_FT])
        hidden_F, hidden_T = hidden_FT.all(1), hidden_FT.all(0)
        assert torch.equal(hidden_FT, hidden_F[:, None] | hidden_T)
        bands, frames = runs(hidden_F), runs(hidden_T)
        assert len(bands) <= 1
        assert len(frames) <= 4  # one every 2 s; one may lie around both ends
        heights |= {end - begin for begin, end in bands}
        widths |= {end - begin for begin, end in frames}
        starts |= {begin for begin, _ in frames}
    assert heights == set(range(1, 9))
    assert widths == set(range(1, 13))
    assert len(starts) > 250


def test_between_two_time_masks_there_is_room_for_a_word_to_show() -> None:
    augmentation = Augmentation(time_mask=12)
    for seed in range(300):
        hidden_T = (augmentation.spectrogram(FEATURE_FT, build_torch_generator(seed)) == 0).all(0)
        seen = runs(hidden_T)
        for (_, end), (begin, _) in itertools.pairwise(seen):
            assert begin - end >= 12


def test_every_frame_and_band_is_hidden_about_equally_often() -> None:
    augmentation = Augmentation(time_mask=12)
    hidden_T = torch.zeros(320)
    for seed in range(1500):
        hidden_T += (augmentation.spectrogram(FEATURE_FT, build_torch_generator(seed)) == 0).all(0)
    mean = hidden_T.mean()
    assert mean == pytest.approx(1500 * 3 * 6 / 320, rel=0.05)
    assert (hidden_T - mean).abs().max() < 5 * mean.sqrt()


def test_masks_grow_in_number_with_the_recording() -> None:
    def share(frames: int) -> float:
        """Return what share of a recording's frames is hidden on average."""
        augmentation, feature_FT = Augmentation(time_mask=12), torch.ones(28, frames)
        hidden = [
            augmentation.spectrogram(feature_FT, build_torch_generator(n)) == 0 for n in range(200)
        ]
        return torch.stack(hidden).double().mean().item()

    assert share(100) == pytest.approx(0.06, rel=0.1)
    assert share(1000) == pytest.approx(0.06, rel=0.1)


def test_a_plain_mapping_makes_one() -> None:
    augmentation = Augmentation(**WAVEFORM_PARTS, **MASK_PARTS, snr_db=-5.0)
    assert Augmentation(**dataclasses.asdict(augmentation)) == augmentation


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_warped_bands_are_those_of_a_sound_with_other_frequencies(factor: float) -> None:
    def bands(hz: float) -> Tensor:
        time_S = torch.arange(8000) / 8000
        beep = torch.sin(2 * math.pi * hz * time_S) * (time_S > 0.5)
        return LogMel()(beep)[:, 40]

    warped = warp_bands(bands(1500)[:, None], factor)[:, 0]
    assert int(warped.argmax()) == pytest.approx(int(bands(1500 * factor).argmax()), abs=1)
    if factor == 1.0:
        assert torch.allclose(warped, bands(1500), atol=1e-5)


def test_frequencies_that_were_not_recorded_are_silent() -> None:
    warped_FT = warp_bands(FEATURE_FT, 0.7)
    assert (warped_FT[-3:] == 0).all()
    assert (warped_FT[:20] > 0).all()
