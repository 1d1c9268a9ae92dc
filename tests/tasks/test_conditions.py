import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.evaluation import effects
from raytune_yesno.tasks.speech.evaluation.conditions import UNSEEN, UnseenCondition, changed_copies
from raytune_yesno.tasks.speech.evaluation.wordless_sounds import SOUNDS
from raytune_yesno.tasks.speech.noise import speech_power
from raytune_yesno.tasks.speech.synthetic import synthesize, synthesize_with_times

BY_NAME = {condition.name: condition for condition in UNSEEN}
CORPUS = synthesize(3)
SPEECH = torch.tensor(CORPUS.waveform(0))


def tone(hz: float, seconds: float = 2.0) -> Tensor:
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(round(8000 * seconds)) / 8000)


def apply(name: str, waveform: Tensor) -> Tensor:
    return BY_NAME[name].apply(waveform, "x")


def power(waveform: Tensor) -> float:
    return float(waveform.double().square().mean())


def strongest_hz(waveform: Tensor) -> float:
    windowed = waveform * torch.hann_window(len(waveform))
    return float(torch.fft.rfft(windowed).abs().argmax()) * 8000 / len(waveform)


def ratio_db(name: str) -> float:
    return 10 * math.log10(speech_power(SPEECH) / power(apply(name, SPEECH) - SPEECH))


@pytest.mark.parametrize("condition", UNSEEN, ids=lambda condition: condition.name)
class TestEvery:
    def test_depends_on_its_name_and_the_recordings_alone(self, condition: UnseenCondition) -> None:
        first = condition.apply(SPEECH, "a")
        torch.manual_seed(7)
        condition.apply(SPEECH.flip(0), "b")
        assert torch.equal(first, condition.apply(SPEECH[None], "a"))

    def test_leaves_the_recording_itself_as_it_was(self, condition: UnseenCondition) -> None:
        before = SPEECH.clone()
        assert not torch.equal(condition.apply(SPEECH, "a"), SPEECH)
        assert torch.equal(SPEECH, before)

    @settings(max_examples=20)
    @given(length=st.integers(1, 3000), level=st.sampled_from([0.0, 1e-6, 0.1, 1.0]))
    def test_changes_recordings_of_any_length_and_level(
        self, condition: UnseenCondition, length: int, level: float
    ) -> None:
        changed = condition.apply(level * torch.randn(length), "a")
        assert changed.dim() == 1
        assert changed.numel()
        assert changed.isfinite().all()
        assert changed.dtype == torch.float32


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(UNSEEN)


def test_at_least_eight_kinds_are_like_no_augmentation() -> None:
    augmented = build_config(dict.fromkeys(("augment_speed", "augment_noise"), 0.2))
    kinds = {
        condition.kind
        for condition in UNSEEN
        if not condition.related and not condition.related_settings(augmented)
    }
    assert len(kinds) >= 8


def test_settings_that_augment_alike_are_named_only_where_they_are_on() -> None:
    speed = BY_NAME["speed 80 %"]
    assert "augment_speed" not in speed.related_settings(build_config({"augment_speed": 0.0}))
    assert "augment_speed" in speed.related_settings(build_config({"augment_speed": 0.1}))


@pytest.mark.long
def test_training_imports_none_of_it() -> None:
    check = (
        "import sys, raytune_yesno.tasks.speech.task, raytune_yesno.tasks.speech.augment; "
        "sys.exit(any(name.endswith(('.conditions', '.wordless')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_copies_say_what_the_recordings_say() -> None:
    once = [*changed_copies(CORPUS, [0, 2], BY_NAME["echo 0.25 s"])]
    twice = [*changed_copies(CORPUS, [1], BY_NAME["between 30 s room"])]
    assert [copy.position for copy in once] == [0, 2]
    assert [copy.words for copy in once] == [CORPUS.labels[0], CORPUS.labels[2]]
    assert twice[0].words == CORPUS.labels[1] * 2


@pytest.mark.parametrize("rt60_s", [0.4, 1.0])
def test_a_room_decays_by_60_db_in_its_time(rt60_s: float) -> None:
    click = torch.zeros(16_000)
    click[0] = 1.0
    energy = apply(f"reverberation {rt60_s:g} s", click).double().square()
    left = energy.flip(0).cumsum(0).flip(0)  # Schroeder's integral
    begin = round(0.1 * rt60_s * 8000)
    end = round(0.5 * rt60_s * 8000)
    decay_db = 10 * math.log10(left[begin] / left[end])
    assert decay_db == pytest.approx(60 * 0.4, abs=6)  # highs decay twice as fast at first


@pytest.mark.parametrize(
    ("name", "snr_db"),
    [("hum 5 dB", 5), ("music 5 dB", 5), ("siren 10 dB", 10), ("tone 10 dB", 10)],
)
def test_sounds_are_added_at_their_ratio(name: str, snr_db: float) -> None:
    assert ratio_db(name) == pytest.approx(snr_db, abs=0.01)


def test_clipping_keeps_the_peak_and_flattens_what_is_near_it() -> None:
    clipped = apply("clipping 12 dB", SPEECH)
    assert clipped.abs().max() == SPEECH.abs().max()
    assert (clipped.abs() == clipped.abs().max()).sum() > 100


@pytest.mark.parametrize(
    ("name", "kept_hz", "lost_hz"),
    [
        ("band telephone", 1000, 100),
        ("band telephone", 3000, 3700),
        ("band muffled", 1000, 2000),
        ("band thin", 2000, 500),
    ],
)
def test_a_band_keeps_what_is_in_it(name: str, kept_hz: float, lost_hz: float) -> None:
    assert power(apply(name, tone(kept_hz))) == pytest.approx(power(tone(kept_hz)), rel=0.01)
    assert power(apply(name, tone(lost_hz))) < 1e-3 * power(tone(lost_hz))


@pytest.mark.parametrize(
    ("name", "length", "hz"),
    [
        ("speed 80 %", 2.5, 800),
        ("speed 120 %", 2 / 1.2, 1200),
        ("tempo 75 %", 2 / 0.75, 1000),
        ("tempo 130 %", 2 / 1.3, 1000),
        ("pitch 3 semitones", 2.0, 1000 * 2 ** (3 / 12)),
        ("pitch -3 semitones", 2.0, 1000 * 2 ** (-3 / 12)),
    ],
)
def test_length_and_pitch(name: str, length: float, hz: float) -> None:
    changed = apply(name, tone(1000))
    assert len(changed) / 8000 == pytest.approx(length, abs=0.05)
    assert strongest_hz(changed) == pytest.approx(hz, rel=0.01)


@pytest.mark.parametrize(
    "name", [condition.name for condition in UNSEEN if condition.kind == "codec"]
)
def test_a_codec_leaves_speech_that_is_nearly_the_same(name: str) -> None:
    decoded = apply(name, SPEECH)
    size = min(len(decoded), len(SPEECH))
    spectra = [
        torch.stft(x[:size], 512, window=torch.hann_window(512), return_complex=True).abs()
        for x in (decoded, SPEECH)
    ]
    assert np.corrcoef(spectra[0].flatten(), spectra[1].flatten())[0, 1] > 0.8


def test_five_bits_are_32_levels() -> None:
    assert len(apply("5 bit linear", torch.linspace(-1, 1, 10_000)).unique()) == 32


def test_level_changes_by_so_much() -> None:
    changed = apply("level -40 dB", SPEECH)
    assert 10 * math.log10(power(changed) / power(SPEECH)) == pytest.approx(-40, abs=0.1)
    assert torch.equal(changed * 2**15, (changed * 2**15).round())


@pytest.mark.parametrize(("setting", "half"), [("-30 dB", 1), ("30 dB", 0)])
def test_a_level_step_lowers_one_half(setting: str, half: int) -> None:
    changed = apply(f"level step {setting}", tone(500))
    change_db = [10 * math.log10(power(a) / power(b)) for a, b in
                 zip(changed.chunk(4)[::3], tone(500).chunk(4)[::3], strict=True)]  # fmt: skip
    assert change_db[half] == pytest.approx(-30, abs=0.1)
    assert change_db[1 - half] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("name", "seconds"), [("padding 2 s", 2), ("padding noise -60 dB", 5)])
def test_padding_is_on_both_sides(name: str, seconds: int) -> None:
    padded = apply(name, SPEECH)
    edge = 8000 * seconds
    assert torch.equal(padded[edge:-edge], SPEECH)
    for side in (padded[:edge], padded[-edge:]):
        if "noise" in name:
            assert 10 * math.log10(power(side)) == pytest.approx(-60, abs=0.5)
        else:
            assert not side.any()


def test_a_pause_is_between_words() -> None:
    corpus, times = synthesize_with_times(5)
    for number in range(5):
        waveform = torch.tensor(corpus.waveform(number))
        gap_s = effects.find_gap(waveform) / 8000
        assert not any(begin + 0.02 < gap_s < end - 0.02 for begin, end in times[number])
        changed = apply("pause 8 s silent", waveform)
        assert len(changed) == len(waveform) + 64_000


def test_room_noise_sounds_like_the_recordings_background() -> None:
    generator = torch.Generator().manual_seed(0)
    background = 0.01 * torch.randn(40_000, generator=generator)
    recording = background.clone()
    recording[10_000:30_000] += tone(300, 2.5)
    room = effects.draw_room(recording, 80_000, generator)
    assert 10 * math.log10(power(room) / power(background)) == pytest.approx(0, abs=1)
    pieces = room.unfold(0, 8000, 8000)
    assert np.abs(np.corrcoef(pieces.numpy()) - np.eye(10)).max() < 0.2  # nothing repeats


def test_dropouts_are_packets_of_zeros() -> None:
    packets = apply("dropouts 5 %", torch.ones(1_600_000)).view(-1, 160)
    assert set(packets.mean(1).tolist()) == {0.0, 1.0}
    assert 0.04 < 1 - packets.mean() < 0.06


def test_gain_control_makes_pauses_louder_relative_to_speech() -> None:
    waveform = torch.cat([0.01 * tone(400), tone(400)])
    changed = apply("gain control 30 dB", waveform)
    quiet, loud = changed[:12_000], changed[-12_000:]
    assert power(quiet) / power(loud) == pytest.approx(10 ** (-10 / 10), rel=0.2)


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_differ_by_generator_alone(name: str) -> None:
    draw = SOUNDS[name]
    first, again, other = (draw(16_000, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.float32
