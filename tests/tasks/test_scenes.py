from dataclasses import replace

import numpy as np
import pytest
import torch

from raytune_yesno.tasks.speech.corpus import build_corpus
from raytune_yesno.tasks.speech.scenes import Scenes, SceneSettings
from raytune_yesno.tasks.speech.sounds import SOUNDS, build_bank, draw_sound
from raytune_yesno.tasks.speech.synthetic import synthesize

CORPUS = synthesize(6)
PLAIN = SceneSettings(empty=0, other=0, noise=0, room=0, colour=0, distort=0, steps=0, speed=0)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(CORPUS)


def test_the_generator_decides_everything(scenes: Scenes) -> None:
    first, again, other = (scenes.compose(2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.waveform, again.waveform)
    assert first.words == again.words
    assert first.waveform.shape != other.waveform.shape


def test_a_scene_does_not_depend_on_those_before(scenes: Scenes) -> None:
    fresh = Scenes(CORPUS)
    for seed in range(5):
        scenes.compose(seed, np.random.default_rng(100 + seed))
    warm, cold = (kind.compose(0, np.random.default_rng(7)) for kind in (scenes, fresh))
    assert torch.equal(warm.waveform, cold.waveform)


@pytest.mark.parametrize("seed", range(40))
def test_scenes_are_finite_and_words_lie_in_order_within_them(scenes: Scenes, seed: int) -> None:
    scene = scenes.compose(seed % 6, np.random.default_rng(seed))
    assert scene.waveform.isfinite().all()
    assert scene.waveform.abs().max() <= 1.0001
    assert len(scene.words) == len(scene.centres_s)
    assert list(scene.centres_s) == sorted(scene.centres_s)
    assert all(0 < centre_s < len(scene.waveform) / 8000 for centre_s in scene.centres_s)


def test_there_is_sound_where_a_word_is_and_none_in_the_pauses() -> None:
    scenes = Scenes(CORPUS, settings=PLAIN)
    louder = []
    for seed in range(20):
        scene = scenes.compose(0, np.random.default_rng(seed))
        level = scene.waveform.abs().median()
        for centre_s in scene.centres_s:
            middle = int(centre_s * 8000)
            louder.append(bool(scene.waveform[middle - 400 : middle + 400].abs().mean() > level))
    assert len(louder) > 20
    assert np.mean(louder) > 0.95


def test_some_scenes_say_nothing(scenes: Scenes) -> None:
    said = [bool(scenes.compose(0, np.random.default_rng(seed)).words) for seed in range(200)]
    assert 0.75 < np.mean(said) < 0.97


def test_noise_decides_how_many_other_sounds_there_are() -> None:
    def said(noise: float) -> list[bool]:
        settings = replace(PLAIN, other=1, other_in_noise=0, noise=noise, snr_db=(0, 0))
        scenes = Scenes(CORPUS, settings=settings)
        return [scenes.compose(0, np.random.default_rng(seed)).words != () for seed in range(5)]

    assert all(said(noise=1))
    assert not any(said(noise=0))


def test_a_recording_that_cannot_be_cut_is_used_whole() -> None:
    noise = np.random.default_rng(0).standard_normal(24_000, np.float32) / 10
    scenes = Scenes(build_corpus({"1_0_1": noise}, source="noise"), settings=PLAIN)
    words = scenes.compose(0, np.random.default_rng(0)).words
    assert words == (1, 0, 1) * (len(words) // 3)


@pytest.mark.parametrize("kind", SOUNDS)
def test_every_sound_has_a_level_of_one_and_goes_round(kind: str) -> None:
    bank = build_bank(kind)
    assert bank.dtype == torch.float32
    assert bank.isfinite().all()
    assert bank.square().mean().sqrt().item() == pytest.approx(1, abs=1e-3)
    long = draw_sound(kind, len(bank) + 100, np.random.default_rng(0))
    assert torch.equal(long[:100], long[-100:])


def test_an_unknown_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="rain"):
        build_bank("rain")


def test_the_lowest_bands_of_some_scenes_are_masked_most_often_without_words() -> None:
    settings = SceneSettings(warp=0, mask=0, low_mask=0.1, low_mask_empty=0.5)
    scenes, random = Scenes(CORPUS, settings=settings), np.random.default_rng(0)
    ones_FT, counts = torch.ones(28, 5), {True: 0, False: 0}
    for spoken in counts:
        for _ in range(200):
            masked_F = scenes.change_bands(ones_FT, spoken, random).sum(1) == 0
            highest = int(masked_F.sum())
            assert masked_F[:highest].all()
            assert highest == 0 or 4 <= highest <= 14
            counts[spoken] += highest > 0
    assert 5 < counts[True] < 40 < 70 < counts[False] < 130
    assert ones_FT.all()
