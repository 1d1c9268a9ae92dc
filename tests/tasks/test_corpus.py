import io
import itertools
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader
from torchaudio.datasets import YESNO

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.corpus import Corpus, build_corpus
from raytune_yesno.tasks.speech.folder import check_folder
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.recording import decode, read_recording
from raytune_yesno.tasks.speech.split import split_corpus
from raytune_yesno.tasks.speech.transcript import parse_labels
from raytune_yesno.tuning.searcher import draw_seeds

needs_yesno = pytest.mark.skipif(
    not os.environ.get("YESNO_ROOT"), reason="YESNO_ROOT does not say where the recordings are"
)


def tone(seconds: float = 1.0, rate: int = 8000, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def wav_bytes(samples: np.ndarray, rate: int = 8000, subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, subtype=subtype, format="WAV")
    return stream.getvalue()


def with_data_size(wav: bytes, size: int) -> bytes:
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold two good recordings and a file of another kind."""
    (tmp_path / "0_1.wav").write_bytes(wav_bytes(tone(hz=300)))
    (tmp_path / "1_1_0.wav").write_bytes(wav_bytes(tone(hz=500)))
    (tmp_path / "README").write_text("not a recording")
    return tmp_path


def problems_of(folder: Path) -> dict[str, str]:
    return {problem.name: problem.what for problem in check_folder(folder)[1]}


class TestCorpus:
    def test_items_are_those_of_torchaudio(self, folder: Path) -> None:
        corpus = load_corpus(str(folder))
        waveform, rate, labels = corpus[1]
        assert waveform.shape == (1, 8000)
        assert waveform.dtype == torch.float32
        assert (rate, labels) == (8000, [1, 1, 0])
        np.testing.assert_allclose(waveform[0], tone(hz=500), atol=2**-15)

    def test_names_and_labels_agree_with_torchaudio(self, folder: Path) -> None:
        reference = YESNO(folder.parent, folder_in_archive=folder.name)
        corpus = load_corpus(str(folder))
        assert list(corpus.names) == reference._walker
        assert len(corpus) == len(reference)

    def test_counts_words_of_any_number_a_file(self, folder: Path) -> None:
        assert load_corpus(str(folder)).num_words == 5

    def test_batches_of_one_come_out_of_a_data_loader(self, folder: Path) -> None:
        shapes = [tuple(waveform.shape) for waveform, _, _ in DataLoader(load_corpus(str(folder)))]
        assert shapes == [(1, 1, 8000), (1, 1, 8000)]

    def test_ends_like_a_sequence(self, folder: Path) -> None:
        corpus = load_corpus(str(folder))
        assert torch.equal(corpus[-1][0], corpus[1][0])
        with pytest.raises(IndexError):
            corpus[2]
        assert len(list(corpus)) == 2

    def test_nobody_can_change_its_samples(self, folder: Path) -> None:
        corpus = load_corpus(str(folder))
        corpus[0][0].zero_()
        assert corpus.waveform(0).any()
        with pytest.raises(ValueError, match="read-only"):
            corpus.waveform(0)[:] = 0

    def test_pickles_without_a_copy_of_its_samples(self, folder: Path) -> None:
        corpus = load_corpus(str(folder))
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(corpus, protocol=5, buffer_callback=buffers.append)
        assert len(data) < 2000 < corpus.samples.nbytes
        again = pickle.loads(data, buffers=buffers)
        assert np.shares_memory(again.samples, corpus.samples)
        assert (again.fingerprint, again.labels) == (corpus.fingerprint, corpus.labels)

    def test_fingerprint_tells_samples_names_and_cuts_apart(self) -> None:
        def fingerprint(**waveforms: list[float]) -> str:
            named = {name[1:]: np.array(x, "f4") for name, x in waveforms.items()}
            return build_corpus(named, source="here").fingerprint

        first = fingerprint(_0=[0.1, 0.2], _1=[0.3])
        assert first == fingerprint(_1=[0.3], _0=[0.1, 0.2])
        others = [
            fingerprint(_0=[0.1, 0.2], _1=[0.4]),
            fingerprint(_0=[0.1, 0.2], _0_1=[0.3]),
            fingerprint(_0=[0.1], _1=[0.2, 0.3]),
        ]
        assert len({first, *others}) == 4


class TestSplit:
    def test_takes_even_positions_for_training_and_odd_for_the_test(self) -> None:
        split = split_corpus(60, seed=0)
        assert sorted(split.train + split.valid) == list(range(0, 60, 2))
        assert split.test == tuple(range(1, 60, 2))
        assert (len(split.train), len(split.valid)) == (24, 6)

    def test_swaps_the_halves(self) -> None:
        split = split_corpus(60, seed=0, swap_halves=True)
        assert sorted(split.train + split.valid) == list(range(1, 60, 2))
        assert split.test == tuple(range(0, 60, 2))

    def test_seed_chooses_the_validation_part_once_and_for_all(self) -> None:
        assert split_corpus(60, seed=0).valid == (4, 6, 14, 34, 38, 44)
        assert len({split_corpus(60, seed=seed).valid for seed in range(20)}) == 20

    def test_consecutive_repeats_have_all_folds_in_turn(self) -> None:
        seeds = [3, *itertools.islice(draw_seeds(3, ()), 9)]
        parts = [split_corpus(60, seed=seed, folds=5).valid for seed in seeds]
        assert parts[:5] == parts[5:]
        assert sorted(n for part in parts[:5] for n in part) == list(range(0, 60, 2))

    def test_takes_a_corpus_or_its_size(self, folder: Path) -> None:
        for name in ("0_0", "1_0"):
            (folder / f"{name}.wav").write_bytes(
                wav_bytes(tone(hz=600 + len(list(folder.iterdir()))))
            )
        corpus = load_corpus(str(folder))
        assert split_corpus(corpus, seed=3) == split_corpus(4, seed=3)

    @pytest.mark.parametrize("size", [0, 1, 2])
    def test_refuses_a_corpus_too_small_for_three_parts(self, size: int) -> None:
        with pytest.raises(InputError, match=f"too few recordings: none of {size} "):
            split_corpus(size, seed=0)


class TestProblems:
    @pytest.mark.parametrize(
        ("name", "content", "what"),
        [
            ("0_0.wav", b"", "empty file"),
            ("0_0.wav", b"ID3 this is music", "not a WAV file"),
            ("0_0.wav", b"RIFF\x00\x00\x00\x00WAVE", "ends before its sound"),
            ("0_0.wav", wav_bytes(tone())[:-2000], "promises 16000 bytes of sound, 14000"),
            ("0_0.wav", with_data_size(wav_bytes(tone()), 0x90000000), "promises 2415919104"),
            ("0_0.wav", wav_bytes(tone())[:20] + b"\xff" * 24, "ends before its sound"),
            ("0_0.wav", wav_bytes(tone()).replace(b"fmt ", b"junk"), "not a readable WAV"),
            ("0_0.wav", wav_bytes(tone()[:0]), "no samples"),
            ("0_0.wav", wav_bytes(tone(), rate=100), "100 Hz is out of range"),
            ("0_0.wav", wav_bytes(np.full(8000, np.nan), subtype="FLOAT"), "NaN or infinite"),
            ("0_0.wav", wav_bytes(np.r_[tone(), np.inf], subtype="DOUBLE"), "NaN or infinite"),
            ("0_0.wav", wav_bytes(tone() * 32768, subtype="FLOAT"), "times full scale"),
            ("0_0.wav", wav_bytes(np.zeros(8000)), "silence"),
            ("0_0.wav", wav_bytes(np.full(16000, 0.25), rate=16000), "silence"),
            ("0_0.wav", wav_bytes(tone(seconds=0.2)), "0.20 s is too short for 2 words"),
            ("0_2.wav", wav_bytes(tone()), "name must be its words"),
            ("yes_no.wav", wav_bytes(tone()), "name must be its words"),
            ("0__1.wav", wav_bytes(tone()), "name must be its words"),
            ("0_1\n.wav", wav_bytes(tone()), "name must be its words"),
            ("٠_١.wav", wav_bytes(tone()), "name must be its words"),
        ],
    )
    def test_names_the_file_and_what_is_wrong(
        self, folder: Path, name: str, content: bytes, what: str
    ) -> None:
        (folder / name).write_bytes(content)
        (found,) = problems_of(folder).items()
        assert found[0] == name
        assert what in found[1]

    def test_reports_the_later_of_two_equal_recordings(self, folder: Path) -> None:
        (folder / "0_0.wav").write_bytes((folder / "1_1_0.wav").read_bytes())
        assert problems_of(folder) == {"1_1_0.wav": "the same recording as 0_0.wav"}

    def test_reports_names_that_differ_in_case_alone(self, folder: Path) -> None:
        (folder / "0_1.WAV").write_bytes(wav_bytes(tone(hz=700)))  # capitals sort first
        assert problems_of(folder) == {"0_1.wav": "the same name as 0_1.WAV except for upper case"}

    def test_takes_a_lone_suffix_in_capitals(self, folder: Path) -> None:
        (folder / "0_1.wav").rename(folder / "0_1.WAV")
        assert load_corpus(str(folder)).names == ("0_1", "1_1_0")

    def test_reports_what_is_no_file(self, folder: Path) -> None:
        (folder / "0_0.wav").mkdir()
        (folder / "1_0.wav").symlink_to(folder / "nowhere")
        os.mkfifo(folder / "1_1.wav")
        assert set(problems_of(folder)) == {"0_0.wav", "1_0.wav", "1_1.wav"}

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_reports_a_file_that_may_not_be_read(self, folder: Path) -> None:
        (folder / "0_1.wav").chmod(0)
        assert problems_of(folder) == {"0_1.wav": "cannot be read: Permission denied"}

    def test_leaves_hidden_and_other_files_alone(self, folder: Path) -> None:
        (folder / "._0_1.wav").write_bytes(b"what macOS leaves on foreign disks")
        assert problems_of(folder) == {}

    def test_reports_an_empty_folder(self, tmp_path: Path) -> None:
        (what,) = problems_of(tmp_path).values()
        assert "no usable recordings" in what

    def test_loading_reports_everything_at_once(self, folder: Path) -> None:
        (folder / "0_0.wav").write_bytes(b"")
        (folder / "0_2.wav").write_bytes(wav_bytes(tone()))
        with pytest.raises(InputError) as caught:
            load_corpus(str(folder))
        first, *lines = str(caught.value).splitlines()
        assert str(folder) in first
        assert [line.split(":")[0].strip() for line in lines] == ["0_0.wav", "0_2.wav"]

    def test_leaves_bad_recordings_out_if_told_so(self, folder: Path) -> None:
        (folder / "0_0.wav").write_bytes(b"")
        corpus = load_corpus(str(folder), skip_bad=True)
        assert corpus.names == ("0_1", "1_1_0")
        assert corpus.notes == ("left out 1 bad recording: 0_0.wav",)

    def test_needs_at_least_one_recording(self, tmp_path: Path) -> None:
        (tmp_path / "0_0.wav").write_bytes(b"")
        with pytest.raises(InputError, match=r"0_0\.wav: empty file"):
            load_corpus(str(tmp_path), skip_bad=True)


class TestLoad:
    def test_takes_the_folder_of_recordings_or_the_one_above(self, tmp_path: Path) -> None:
        (tmp_path / "waves_yesno").mkdir()
        (tmp_path / "waves_yesno" / "0_1.wav").write_bytes(wav_bytes(tone()))
        above, itself = (load_corpus(str(f)) for f in (tmp_path, tmp_path / "waves_yesno"))
        assert above.fingerprint == itself.fingerprint
        assert above.source == itself.source == str(tmp_path / "waves_yesno")

    def test_says_that_it_resampled_and_mixed_down(self, folder: Path) -> None:
        plain = load_corpus(str(folder))
        stereo = np.stack([tone(rate=16000, hz=300), tone(rate=16000, hz=300)], axis=1)
        (folder / "0_1.wav").write_bytes(wav_bytes(stereo, rate=16000, subtype="PCM_24"))
        corpus = load_corpus(str(folder))
        assert plain.notes == ()
        assert corpus.notes == (
            "resampled 1 recording from 16000 Hz",
            "mixed 1 recording of several channels down to one",
        )
        inner = slice(200, -200)  # the filter rings at the ends
        np.testing.assert_allclose(corpus.waveform(0)[inner], plain.waveform(0)[inner], atol=2e-3)

    def test_names_the_corpora_it_knows(self) -> None:
        with pytest.raises(InputError, match="did you mean 'synthetic'"):
            load_corpus("sinthetic")

    @pytest.mark.parametrize(
        "data", ["synthetic:many", "synthetic:4:1:1", "synthetic:", "synthetic:0"]
    )
    def test_refuses_a_synthetic_corpus_it_cannot_make(self, data: str) -> None:
        with pytest.raises(InputError, match="synthetic"):
            load_corpus(data)

    def test_makes_the_synthetic_corpus(self) -> None:
        corpus = load_corpus("synthetic:3:7")
        assert len(corpus) == 3
        assert corpus.source == "synthetic (3 recordings, seed 7)"

    def test_yesno_is_where_the_environment_says(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("YESNO_ROOT", str(folder))
        corpus = load_corpus("yesno")
        assert corpus.source == str(folder)
        assert corpus.notes == ("incomplete: 2 of 60 recordings",)

    def test_yesno_is_not_sought_elsewhere_where_the_environment_is_wrong(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("YESNO_ROOT", str(tmp_path / "gone"))
        with pytest.raises(InputError, match=r"YESNO_ROOT points at .*gone"):
            load_corpus("yesno")

    def test_yesno_is_found_in_the_cache(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("YESNO_ROOT", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        cached = tmp_path / "raytune-yesno" / "waves_yesno"
        cached.mkdir(parents=True)
        (cached / "0_1.wav").write_bytes(wav_bytes(tone()))
        assert load_corpus("yesno").source == str(cached)


class TestReadRecording:
    @pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 44101, 48000, 96000])
    def test_brings_any_rate_to_8_khz(self, rate: int) -> None:
        waveform = read_recording(io.BytesIO(wav_bytes(tone(rate=rate), rate=rate)))
        assert waveform.dtype == np.float32
        assert abs(len(waveform) - 8000) <= 1
        np.testing.assert_allclose(waveform[200:7800], tone()[200:7800], atol=5e-3)

    @pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW"])
    def test_reads_the_usual_encodings(self, subtype: str) -> None:
        waveform = read_recording(io.BytesIO(wav_bytes(tone(), subtype=subtype)))
        np.testing.assert_allclose(waveform, tone(), atol=0.02)

    def test_averages_channels(self) -> None:
        three = np.stack([tone(), tone(), -tone()], axis=1)
        waveform = decode(wav_bytes(three)).waveform
        np.testing.assert_allclose(waveform, tone() / 3, atol=1e-4)

    def test_takes_silence_and_one_sample(self) -> None:
        assert not read_recording(io.BytesIO(wav_bytes(np.zeros(100)))).any()
        assert len(read_recording(io.BytesIO(wav_bytes(tone()[:1])))) == 1

    def test_stays_within_full_scale(self) -> None:
        loud = np.where(tone(rate=16000, hz=1000) > 0, 1.0, -1.0)  # overshoots when filtered
        waveform = read_recording(io.BytesIO(wav_bytes(loud, rate=16000, subtype="FLOAT")))
        assert np.abs(waveform).max() == 1.0

    @pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF024])
    def test_takes_a_stream_whose_length_was_not_known(self, size: int) -> None:
        waveform = read_recording(io.BytesIO(with_data_size(wav_bytes(tone()), size)))
        assert len(waveform) == 8000

    def test_names_a_bad_file(self, tmp_path: Path) -> None:
        bad = tmp_path / "hello.wav"
        with pytest.raises(InputError, match=r"hello\.wav: cannot be read: No such file"):
            read_recording(bad)
        bad.write_bytes(b"x")
        with pytest.raises(InputError, match=r"hello\.wav: not a WAV file"):
            read_recording(bad)
        with bad.open("rb") as stream, pytest.raises(InputError, match=r"hello\.wav: not a WAV"):
            read_recording(stream)


def test_parses_any_number_of_words() -> None:
    assert parse_labels("1") == (1,)
    assert parse_labels("0_1_1_0_0_1_1_1_0") == (0, 1, 1, 0, 0, 1, 1, 1, 0)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus("yesno")


@needs_yesno
class TestYesno:
    def test_is_whole_and_good(self, corpus: Corpus) -> None:
        assert (len(corpus), corpus.num_words, corpus.notes) == (60, 480, ())
        assert {len(labels) for labels in corpus.labels} == {8}

    def test_agrees_with_torchaudio_on_names_and_labels(self, corpus: Corpus) -> None:
        reference = YESNO(os.environ["YESNO_ROOT"])
        assert list(corpus.names) == reference._walker

    def test_splits_into_24_6_and_30(self, corpus: Corpus) -> None:
        split = split_corpus(corpus, seed=0)
        assert (len(split.train), len(split.valid), len(split.test)) == (24, 6, 30)
