import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torchaudio.datasets import YESNO

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech import synthetic
from raytune_yesno.tasks.speech.corpus import Corpus, build_corpus
from raytune_yesno.tasks.speech.folder import check_folder
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.split import split_corpus
from raytune_yesno.tasks.speech.synthetic import (
    COSINES,
    RandomStream,
    choose_patterns,
    synthesize,
    synthesize_with_times,
    write_corpus,
)

# Of 60 recordings, seed 0. A change of it makes results on the old corpus incomparable.
FINGERPRINT = "ea17839931643b94"


@pytest.fixture(scope="module")
def made() -> tuple[Corpus, tuple[tuple[tuple[float, float], ...], ...]]:
    return synthesize_with_times()


@pytest.fixture(scope="module")
def corpus(made: tuple[Corpus, object]) -> Corpus:
    return made[0]


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def test_gives_the_same_bytes_on_every_machine(corpus: Corpus) -> None:
    assert corpus.fingerprint == FINGERPRINT


@pytest.mark.long
def test_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "from raytune_yesno.tasks.speech.synthetic import synthesize;"
        "print(synthesize().fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout.strip() == FINGERPRINT


def test_no_cosine_hangs_on_the_last_bit_of_a_library() -> None:
    # Two libraries differ by about 1e-16; rounding hides that unless a value lies on the edge.
    hz = np.arange(4001)
    steps = np.cos(np.pi * hz / 4000) * 2**20
    assert np.abs(COSINES * 2**20 - steps).max() < 0.5 - 1e-6


def test_seed_and_size_make_other_corpora(corpus: Corpus) -> None:
    small = {synthesize(8, seed).fingerprint for seed in range(3)} | {synthesize(9).fingerprint}
    assert len({*small, corpus.fingerprint}) == 5


def test_recordings_do_not_depend_on_which_are_made_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = synthesize(20).fingerprint
    monkeypatch.setattr(synthetic, "RECORDINGS_AT_ONCE", 7)
    assert synthesize(20).fingerprint == whole


def test_has_the_shape_of_yesno(corpus: Corpus) -> None:
    seconds = np.diff(corpus.offsets) / corpus.sample_rate
    assert (len(corpus), corpus.num_words, corpus.sample_rate) == (60, 480, 8000)
    assert 5.5 < seconds.mean() < 6.7
    assert 4.5 < seconds.min() < seconds.max() < 8


def test_words_are_distinct_and_balanced_in_order_and_in_either_half(corpus: Corpus) -> None:
    labels = np.array(corpus.labels)
    assert len(set(corpus.labels)) == 60
    assert (labels.sum(axis=0) == 30).all()
    assert 0.4 < labels[list(split_corpus(corpus, seed=0).test)].mean() < 0.6


def test_words_are_where_the_times_say(
    made: tuple[Corpus, tuple[tuple[tuple[float, float], ...], ...]],
) -> None:
    corpus, times = made
    assert [len(spans) for spans in times] == [8] * 60
    for n, spans in enumerate(times):
        waveform, ends = corpus.waveform(n), [0.0]
        for start_s, end_s in spans:
            assert ends[-1] < start_s < end_s
            assert 0.2 < end_s - start_s < 0.6
            before = waveform[int(ends[-1] * 8000) + 400 : int(start_s * 8000)]
            word = waveform[int(start_s * 8000) : int(end_s * 8000)]
            assert level_db(word) > level_db(before) + 12
            ends.append(end_s)
        assert level_db(waveform[int(ends[-1] * 8000) + 400 :]) < -48


def test_levels_are_those_of_yesno(corpus: Corpus) -> None:
    # Measured on YESNO: the quietest twentieth of 10 ms frames at -50 to -58 dB but for a few
    # gaps of digital silence, peaks of 0.22 to 0.40.
    for n in range(len(corpus)):
        frames = corpus.waveform(n)[: len(corpus.waveform(n)) // 80 * 80].reshape(-1, 80)
        quiet = np.percentile([level_db(frame) for frame in frames], 5)
        assert -60 < quiet < -49
        assert 0.15 < np.abs(frames).max() < 0.95


def test_yes_ends_in_a_hiss_and_no_does_not(
    made: tuple[Corpus, tuple[tuple[tuple[float, float], ...], ...]],
) -> None:
    corpus, times = made
    shares: dict[int, list[float]] = {0: [], 1: []}
    for n, spans in enumerate(times):
        for label, (start_s, end_s) in zip(corpus.labels[n], spans, strict=True):
            last_third = corpus.waveform(n)[
                int((start_s + 2 * end_s) / 3 * 8000) : int(end_s * 8000)
            ]
            power = np.abs(np.fft.rfft(last_third)) ** 2
            shares[label].append(power[len(power) * 5 // 8 :].sum() / power.sum())
    assert np.median(shares[1]) > 0.5 > 0.1 > np.median(shares[0])


def test_makes_more_recordings_than_eight_words_can_name() -> None:
    corpus = synthesize(300)
    assert len(set(corpus.names)) == 300
    assert {len(labels) for labels in corpus.labels} == {9}
    assert 2 * sum(map(sum, corpus.labels)) == corpus.num_words


def test_eight_words_name_256_recordings() -> None:
    patterns = choose_patterns(256, RandomStream(0))
    assert len(set(patterns)) == 256
    assert patterns[0] == (0,) * 8


@pytest.mark.parametrize(("number", "seed"), [(0, 0), (-1, 0), (10**9, 0), (4, -1)])
def test_refuses_what_it_cannot_make(number: int, seed: int) -> None:
    with pytest.raises(InputError, match="synthetic: "):
        synthesize(number, seed)


class TestWriting:
    @pytest.fixture
    def small(self) -> Corpus:
        return synthesize(4)

    def test_reads_back_the_same(self, small: Corpus, tmp_path: Path) -> None:
        written = write_corpus(small, tmp_path / "new" / "folder")
        assert written == tmp_path / "new" / "folder" / "waves_yesno"
        again = load_corpus(str(tmp_path / "new" / "folder"))
        assert again.fingerprint == small.fingerprint
        assert np.array_equal(again.samples, small.samples)

    def test_torchaudio_finds_the_same_recordings(self, small: Corpus, tmp_path: Path) -> None:
        write_corpus(small, tmp_path)
        assert YESNO(tmp_path)._walker == list(small.names)

    def test_leaves_nothing_else_behind(self, small: Corpus, tmp_path: Path) -> None:
        write_corpus(small, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["waves_yesno"]
        assert len(list((tmp_path / "waves_yesno").iterdir())) == 4

    def test_agrees_with_what_it_wrote_before(self, small: Corpus, tmp_path: Path) -> None:
        written = write_corpus(small, tmp_path)
        before = {path: path.stat().st_mtime_ns for path in written.iterdir()}
        assert write_corpus(small, tmp_path) == written
        assert {path: path.stat().st_mtime_ns for path in written.iterdir()} == before

    def test_does_not_touch_another_corpus(self, small: Corpus, tmp_path: Path) -> None:
        written = write_corpus(small, tmp_path)
        with pytest.raises(InputError, match="holds another corpus"):
            write_corpus(synthesize(4, seed=1), tmp_path)
        corpus, problems = check_folder(written)
        assert corpus is not None
        assert (corpus.fingerprint, problems) == (small.fingerprint, [])

    def test_refuses_samples_that_16_bits_would_change(self, tmp_path: Path) -> None:
        fine = build_corpus({"0": np.array([0.1, 0.2], "f4")}, source="here")
        with pytest.raises(InputError, match="16-bit"):
            write_corpus(fine, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_says_where_it_cannot_write(self, small: Corpus, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot write"):
            write_corpus(small, tmp_path / "file")
