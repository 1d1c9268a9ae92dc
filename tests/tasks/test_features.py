import math

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.tasks.speech import task
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.features import (
    CONTEXT_FRAMES,
    EDGE_FRAMES,
    FEATURES,
    HOP_S,
    LENGTH_STEP,
    Example,
    LogMel,
    collate,
    find_levels,
    find_speech,
    flat_alignment,
    pad_silence,
    position_time_s,
)
from raytune_yesno.tasks.speech.networks import MLP, STRIDE, WINDOW, Net, num_positions
from raytune_yesno.tasks.speech.synthetic import synthesize_with_times
from raytune_yesno.tasks.speech.task import CleanExamples

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def examples(small_corpus: Corpus) -> list[Example]:
    clean = CleanExamples(small_corpus, LogMel(torch.float64))
    return [clean[index] for index in range(len(small_corpus))]


def tone(seconds: float = 1.0, hz: float = 440.0) -> Tensor:
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(int(seconds * 8000)) / 8000)


class TestLogMel:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_has_a_frame_every_hop(self, dtype: torch.dtype) -> None:
        feature_FT = LogMel(dtype)(tone(1.5))
        assert feature_FT.shape == (28, 1 + round(1.5 / HOP_S))
        assert feature_FT.dtype == dtype

    def test_each_band_of_a_recording_has_mean_zero_and_all_have_one_deviation(
        self, small_corpus: Corpus
    ) -> None:
        feature_FT = LogMel(torch.float64, "recording")(small_corpus[3][0])
        assert feature_FT.mean(1).abs().max() < 1e-12
        assert feature_FT.square().mean().sqrt().item() == pytest.approx(1, abs=1e-2)

    @pytest.mark.parametrize("kind", FEATURES)
    def test_hardly_depends_on_the_level(self, kind: str, small_corpus: Corpus) -> None:
        waveform = small_corpus[3][0]
        extract = LogMel(torch.float64, kind)
        loud, quiet = extract(waveform), extract(waveform / 2)
        assert (loud - quiet).abs().mean() < 0.02

    @pytest.mark.parametrize("kind", FEATURES)
    def test_of_silence_is_next_to_zero(self, kind: str) -> None:
        assert LogMel(kind=kind)(torch.zeros(8000)).abs().max() < 0.01

    @pytest.mark.parametrize("kind", FEATURES)
    def test_higher_tones_lie_in_higher_bands(self, kind: str) -> None:
        # The tone starts half-way: what lasts is taken off, so a lasting one would vanish.
        loudest = []
        for hz in (300, 800, 1500, 2500, 3500):
            waveform = torch.cat([torch.zeros(8000), tone(0.5, hz)])
            loudest.append(int(LogMel(kind=kind)(waveform)[:, -10].argmax()))
        assert loudest == sorted(set(loudest))


class TestLocalFeatures:
    @pytest.mark.parametrize("seconds", [4, 20])
    def test_words_look_the_same_however_long_the_pause_around_them(
        self, seconds: int, small_corpus: Corpus
    ) -> None:
        waveform = small_corpus[3][0]
        room = torch.randn(1, 8000 * seconds, generator=build_torch_generator("room"))
        padding = waveform[:, :2000].std() * room
        extract = LogMel()
        alone_FT, padded_FT = extract(waveform), extract(torch.cat([padding, waveform, padding], 1))
        begin, frames = 50 * seconds, alone_FT.shape[1]
        inside_FT = padded_FT[:, begin : begin + frames]
        assert torch.corrcoef(torch.stack([inside_FT.ravel(), alone_FT.ravel()]))[0, 1] > 0.9
        assert padded_FT[:, 80 : begin - 80].abs().mean() < 0.5

    def test_digital_silence_is_zero_beside_anything(self, small_corpus: Corpus) -> None:
        padding = torch.zeros(1, 8000)
        padded_FT = LogMel()(torch.cat([padding, small_corpus[3][0], padding], 1))
        assert padded_FT[:, :48].abs().max() < 0.01
        assert padded_FT[:, -48:].abs().max() < 0.01

    def test_a_short_recording_looks_as_if_silence_surrounded_it(self) -> None:
        word, silence = tone(0.4), torch.zeros(16_000)
        among_FT = LogMel()(torch.cat([silence, word, silence]))[:, 100:121]
        assert (LogMel()(word) - among_FT)[:, 2:-2].abs().max() > 1
        assert (LogMel(min_context_s=1.6)(word) - among_FT)[:, 2:-2].abs().max() < 0.01

    def test_a_longer_recording_has_the_same_features_to_the_bit(
        self, small_corpus: Corpus
    ) -> None:
        for seconds in (1.6, 6.0):
            waveform = small_corpus[3][0][:, : int(8000 * seconds)]
            assert torch.equal(LogMel(min_context_s=1.6)(waveform), LogMel()(waveform))

    def test_a_lasting_tone_fades_from_view(self) -> None:
        feature_FT = LogMel()(tone(6.0))
        assert feature_FT[:, 100:200].abs().max() < 0.3

    @pytest.mark.parametrize("begin", [CONTEXT_FRAMES + 4, 260, 500])
    def test_a_part_with_its_context_gives_the_features_of_the_whole(self, begin: int) -> None:
        generator = build_torch_generator("context")
        waveform = 0.01 * torch.randn(160 * 800, generator=generator, dtype=torch.float64)
        waveform[160 * 300 : 160 * 350] *= 30
        waveform[160 * 500 : 160 * 600] = 0
        extract = LogMel(torch.float64)
        margin, frames = CONTEXT_FRAMES + STRIDE, 40
        part = waveform[160 * (begin - margin) : 160 * (begin + frames + margin)]
        part_FT = extract(part)[:, margin : margin + frames]
        assert torch.equal(part_FT, extract(waveform)[:, begin : begin + frames])

    @pytest.mark.parametrize("num_samples", [1, 100, 256, 700])
    def test_snippets_have_features(self, num_samples: int) -> None:
        feature_FT = LogMel()(torch.ones(num_samples) * 0.1)
        assert feature_FT.shape == (28, 1 + num_samples // 160)
        assert feature_FT.isfinite().all()


class TestCollate:
    def test_pads_with_silence_on_both_sides_and_up_to_a_length_of_all(
        self, examples: list[Example]
    ) -> None:
        batch = collate(examples[:3], torch.float64, CPU)
        lengths = [example.feature_FT.shape[1] for example in examples[:3]]
        assert len(set(lengths)) > 1
        *shape, frames = batch.x_B1FT.shape
        assert shape == [3, 1, 28]
        assert frames % LENGTH_STEP == 0
        assert 0 <= frames - (max(lengths) + 2 * EDGE_FRAMES) < LENGTH_STEP
        for x_1FT, example, length in zip(batch.x_B1FT, examples, lengths, strict=False):
            alone_FT = pad_silence(example.feature_FT)
            assert torch.equal(x_1FT[0, :, : length + 2 * EDGE_FRAMES], alone_FT)
            assert not x_1FT[0, :, length + 2 * EDGE_FRAMES :].any()
        assert batch.num_words_B.tolist() == [8, 8, 8]
        assert batch.words.tolist() == [word for example in examples[:3] for word in example.words]
        assert batch.positions_B.tolist() == [num_positions(n + 2 * EDGE_FRAMES) for n in lengths]

    def test_of_nothing_is_an_empty_batch(self) -> None:
        batch = collate([], torch.float32, CPU)
        assert len(batch) == len(batch.words) == len(batch.positions_B) == 0

    @pytest.mark.parametrize("model", [Net(3, (4, 8)), MLP(out_features=3)], ids=["cnn", "mlp"])
    def test_a_recordings_output_does_not_depend_on_its_neighbours(
        self, model: torch.nn.Module, examples: list[Example]
    ) -> None:
        model = model.double().eval()
        together = collate(examples[:6], torch.float64, CPU)
        whole_BPC = model(together.x_B1FT)
        for row, example in enumerate(examples[:6]):
            alone = collate([example], torch.float64, CPU)
            positions = int(alone.positions_B)
            alone_PC = model(alone.x_B1FT)[0, :positions]
            assert positions == len(alone_PC) == int(together.positions_B[row])
            torch.testing.assert_close(whole_BPC[row, :positions], alone_PC, rtol=0, atol=1e-12)
            assert torch.equal(together.flat_BPC[row, :positions], example.flat_PC)
            assert not together.flat_BPC[row, positions:].any()


class TestFlatAlignment:
    def test_is_a_distribution_at_each_position(self, examples: list[Example]) -> None:
        for example in examples:
            assert example.flat_PC.min() >= 0
            torch.testing.assert_close(
                example.flat_PC.sum(1), torch.ones(len(example.flat_PC), dtype=torch.float64)
            )

    @pytest.mark.parametrize("words", [[0, 1], [1, 1, 1, 0], [1, 1, 0, 0, 1, 0, 1, 1]])
    def test_bumps_stand_in_the_words_order_each_in_its_share(self, words: list[int]) -> None:
        feature_FT = torch.full((28, 400), -1.0)
        feature_FT[:, 80:320] = 1.0
        target_PC = flat_alignment(feature_FT, words)
        begin, end = find_speech(feature_FT)
        assert abs(begin - 80) <= 2
        assert abs(end - 320) <= 2
        for number, word in enumerate(words):
            middle = begin + (number + 0.5) * (end - begin) / len(words)
            position = round((middle + EDGE_FRAMES - WINDOW / 2) / STRIDE)
            assert target_PC[position, 1 + word] > 0.8
        assert (target_PC[[0, -1], 0] > 0.9).all()

    def test_words_share_one_mass_each_alike(self) -> None:
        feature_FT = torch.full((28, 400), -1.0)
        feature_FT[:, 80:320] = 1.0
        mass_C = flat_alignment(feature_FT, [1, 1, 0, 1]).sum(0)
        assert (mass_C[2] / mass_C[1]).item() == pytest.approx(3, rel=0.05)


def test_finds_the_speech_between_the_true_times() -> None:
    corpus, times = synthesize_with_times(24, seed=5)
    extract = LogMel()
    spans_s = [[HOP_S * t for t in find_speech(extract(corpus[n][0]))] for n in range(24)]
    begin_s, end_s = np.array(spans_s).T
    true_begin_s = np.array([spans[0][0] for spans in times])
    true_end_s = np.array([spans[-1][1] for spans in times])
    # No word is missed at either end: the shortest one lasts 0.2 s.
    assert np.abs(begin_s - true_begin_s).max() < 0.2
    assert np.abs(end_s - true_end_s).max() < 0.2
    assert np.median(np.abs(begin_s - true_begin_s)) < 0.08
    assert np.median(np.abs(end_s - true_end_s)) < 0.08


@pytest.mark.parametrize("frame", [8, 41, 120])
def test_the_window_at_a_time_holds_what_sounds_then(frame: int) -> None:
    feature_FT = torch.zeros(28, 150)
    feature_FT[:, frame] = 1
    x_FT = pad_silence(feature_FT)
    windows = x_FT.unfold(1, WINDOW, STRIDE).transpose(0, 1)
    heard = [position for position, window in enumerate(windows) if window.any()]
    middle_s = (position_time_s(heard[0]) + position_time_s(heard[-1])) / 2
    assert middle_s == pytest.approx(frame * HOP_S, abs=STRIDE * HOP_S / 2 + 1e-9)
    assert position_time_s(1) - position_time_s(0) == pytest.approx(STRIDE * HOP_S)


def test_examples_of_a_corpus_are_made_once_for_a_dtype(small_corpus: Corpus) -> None:
    first = CleanExamples(small_corpus, LogMel(torch.float32))[0]
    assert CleanExamples(small_corpus, LogMel(torch.float32))[0] is first
    assert first.feature_FT.dtype == torch.float32
    double = CleanExamples(small_corpus, LogMel(torch.float64))
    assert double[0].feature_FT.dtype == torch.float64
    words = [double[index].words for index in range(len(small_corpus))]
    assert words == list(small_corpus.labels)


def test_examples_beyond_the_limit_are_made_again(
    small_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "MAX_KEPT_S", small_corpus[0][0].shape[1] / 8000 + 0.1)
    monkeypatch.setattr(task, "_cache", {})
    clean = CleanExamples(small_corpus, LogMel(torch.float32))
    assert clean[0] is clean[0]
    assert clean[1] is not clean[1]
    assert torch.equal(clean[1].feature_FT, clean[1].feature_FT)


@pytest.mark.parametrize("frames", [28, 29, 31, 32, 100, 103])
def test_the_level_of_a_position_is_that_in_the_middle_of_its_window(frames: int) -> None:
    feature_FT = torch.zeros(28, frames)
    feature_FT[:14, 14] = math.log(7) / 2  # in half of the bands seven times the power
    level_P = find_levels(feature_FT)
    assert len(level_P) == num_positions(frames)
    # The window of position p begins at frame 4 p, and its middle 16 frames are heard.
    heard = [6 <= 14 - 4 * position < 22 for position in range(len(level_P))]
    level = math.log((7 + 1) / 2) / 2 / 5  # of one frame, averaged over five
    assert level_P.tolist() == pytest.approx([level * middle for middle in heard], abs=1e-6)
