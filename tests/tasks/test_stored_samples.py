"""A corpus whose samples lie in a file: the same corpus, and the same training."""

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from raytune_yesno.cli import main
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech import scenes, stored_samples
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.folder import check_folder, read_folder
from raytune_yesno.tasks.speech.stored_samples import StoredSamples
from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus
from raytune_yesno.training.loop import fit


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stored_samples, "MIN_BYTES", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(write_corpus(synthesize(8), tmp_path_factory.mktemp("stored") / "corpus"))
    (folder / "0_1_0.wav").write_bytes(b"not a recording")
    return folder


@pytest.fixture(scope="module")
def in_memory(folder: Path) -> Corpus:
    return read_folder(folder, skip_bad=True)


def test_is_the_same_corpus(folder: Path, in_memory: Corpus, cache: Path) -> None:
    first, problems = check_folder(folder)
    again, known = check_folder(folder)
    assert [problem.name for problem in problems] == [problem.name for problem in known]
    assert len(problems) == 1
    for corpus in (first, again):
        assert corpus is not None
        assert isinstance(corpus.samples, StoredSamples)
        assert corpus.fingerprint == in_memory.fingerprint
        assert (corpus.names, corpus.labels) == (in_memory.names, in_memory.labels)
        for index in range(len(in_memory)):
            np.testing.assert_array_equal(corpus.waveform(index), in_memory.waveform(index))


def test_is_decoded_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_folder(folder, skip_bad=True)
    with monkeypatch.context() as patched:
        patched.setattr("raytune_yesno.tasks.speech.folder.read_checked", None)
        assert read_folder(folder, skip_bad=True).fingerprint == before.fingerprint
    (folder / "1_1_1_1.wav").write_bytes(sorted(folder.glob("*.wav"))[1].read_bytes())
    try:
        _, problems = check_folder(folder)
    finally:
        (folder / "1_1_1_1.wav").unlink()
    assert len(problems) == 2


def test_is_sent_as_a_path(folder: Path, cache: Path) -> None:
    corpus = read_folder(folder, skip_bad=True)
    sent = pickle.dumps(corpus)
    assert len(sent) < corpus.samples[:].nbytes / 20
    received = pickle.loads(sent)
    np.testing.assert_array_equal(received.waveform(3), corpus.waveform(3))


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_is_lost_or_changed_is_named(folder: Path, cache: Path, is_there: bool) -> None:
    sent = pickle.dumps(read_folder(folder, skip_bad=True))
    (file,) = cache.rglob("samples.f32")
    if is_there:
        file.write_bytes(file.read_bytes()[:-8])
    else:
        file.unlink()
    received = pickle.loads(sent)
    with pytest.raises(InputError, match=str(file)):
        received.waveform(0)


def test_a_cache_without_room_is_named(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file, not a folder")
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        read_folder(folder, skip_bad=True)


def test_an_error_of_the_disk_is_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(write_corpus(synthesize(4), tmp_path / "corpus"))
    (folder / "0_1_0.wav").write_bytes(b"not a recording")
    bad, read = min(folder.glob("*.wav")), Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        corpus, problems = check_folder(folder)
        assert corpus
        assert bad.name in {problem.name for problem in problems}
        patched.setattr("raytune_yesno.tasks.speech.folder.read_checked", None)
        again, known = check_folder(folder)  # not decoded again while the disk is bad
        assert again
        assert (again.fingerprint, known) == (corpus.fingerprint, problems)
    whole, problems = check_folder(folder)
    assert whole
    assert len(whole) == len(corpus) + 1
    assert [problem.name for problem in problems] == ["0_1_0.wav"]
    monkeypatch.setattr("raytune_yesno.tasks.speech.folder.read_checked", None)
    assert check_folder(folder)[1] == problems


def test_a_passing_error_costs_one_recording(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(write_corpus(synthesize(4), tmp_path / "corpus"))
    bad, read, refused = min(folder.glob("*.wav")), Path.read_bytes, []

    def refuse_once(path: Path) -> bytes:
        if path == bad and not refused:
            refused.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse_once)
    corpus, problems = check_folder(folder)
    assert corpus
    assert [problem.name for problem in problems] == [bad.name]


@pytest.mark.parametrize("listed", ["missing.wav", f"{'y' * 300}.wav"], ids=["missing", "long"])
def test_a_mended_table_has_no_problems(tmp_path: Path, cache: Path, listed: str) -> None:
    folder = Path(write_corpus(synthesize(4), tmp_path / "corpus"))
    files = sorted(path.name for path in folder.glob("*.wav"))
    rows = ["path\twords", *(f"{name}\ta" for name in files)]
    table = folder / "transcripts.tsv"
    table.write_text("\n".join([*rows, f"{listed}\ta"]))
    assert [problem.name for problem in check_folder(folder)[1]] == [listed]
    table.write_text("\n".join(rows))
    assert not check_folder(folder)[1]
    assert len(read_folder(folder)) == 4


def test_compressed_recordings_count_as_they_are_decoded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for suffix in (".ogg", ".flac"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        for name in ("0_1", "1_0"):
            sound = 0.1 * rng.normal(size=16_000)
            soundfile.write(folder / f"{name}{suffix}", sound, 8000)
        size = sum(path.stat().st_size for path in folder.iterdir())
        monkeypatch.setattr(stored_samples, "MIN_BYTES", size + 1)
        corpus = read_folder(folder)
        assert isinstance(corpus.samples, StoredSamples)


def test_unfinished_decodings_are_removed(folder: Path, cache: Path) -> None:
    """One that still runs is kept: it has written lately."""
    kept, stale = (cache / "raytune-yesno/corpora" / name for name in (".12ab-x", ".12ab-y"))
    for left in (kept, stale):
        left.mkdir(parents=True)
        (left / "samples.f32").write_bytes(b"half")
        os.utime(left, (0, 0))
    os.utime(stale / "samples.f32", (0, 0))
    read_folder(folder, skip_bad=True)
    assert kept.exists()
    assert not stale.exists()


def test_show_says_how_far_it_is(
    folder: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", "show", "0", str(folder), "--skip-bad"]) == 0
    assert "MB" in capfd.readouterr().err


def test_trains_to_the_same_weights(folder: Path, in_memory: Corpus, cache: Path) -> None:
    config = build_config({"epochs": 1, "hidden_units": 8, "min_examples": 8})
    one, other = (
        next(fit(config, corpus)) for corpus in (in_memory, read_folder(folder, skip_bad=True))
    )
    assert one.metrics["train_loss"] == other.metrics["train_loss"]
    weights, others = one.checkpoint().state_dict, other.checkpoint().state_dict
    assert all(torch.equal(weights[name], others[name]) for name in weights | others)


def test_scenes_keep_some_recordings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = synthesize(12)
    seconds = corpus.offsets[-1] / 8000
    monkeypatch.setattr(scenes, "MAX_KEPT_S", seconds / 3)
    some = scenes.Scenes(corpus)
    heard = set[tuple[int, ...]]()
    for seed in range(20):
        scene = some.compose(seed % 12, np.random.default_rng(seed))
        again = scenes.Scenes(corpus).compose(seed % 12, np.random.default_rng(seed))
        assert scene.words == again.words
        np.testing.assert_array_equal(scene.waveform, again.waveform)
        heard.add(scene.words)
    assert len(some._kept) == 4
    assert {index for index, *_ in some._units} <= {*some._kept}
    assert len(heard) > 10
