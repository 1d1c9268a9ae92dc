"""The default network and its training on composed scenes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.corpus import build_corpus
from raytune_yesno.tasks.speech.declaration import SpeechTask
from raytune_yesno.tasks.speech.features import build_extract
from raytune_yesno.tasks.speech.networks import STRIDE, TDNN, WINDOW, num_positions
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.settings import as_speech
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.tasks.speech.task import YesNo
from raytune_yesno.training.loop import fit

CORPUS = synthesize(8)
SMALL = {"hidden_units": 8, "min_examples": 6, "epochs": 3, "num_workers": 0}
CPU = torch.device("cpu")


@pytest.mark.parametrize("frames", [28, 31, 32, 100, 333])
def test_reads_the_same_windows_as_the_tutorials_network(frames: int) -> None:
    model = TDNN(3, 8).double().eval()
    x_B1FT = torch.randn(2, 1, WINDOW, frames, dtype=torch.float64)
    whole = model(x_B1FT)
    if frames == WINDOW:
        assert whole.shape == (2, 3)
        return
    assert whole.shape == (2, num_positions(frames), 3)
    for position in (0, num_positions(frames) - 1):
        window = x_B1FT[..., STRIDE * position : STRIDE * position + WINDOW]
        torch.testing.assert_close(whole[:, position], model(window))


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    config = build_config(SMALL)
    whole = list(fit(config, CORPUS))[-1].checkpoint()
    next(fit(config, CORPUS)).save(tmp_path / "first")
    *_, resumed = fit(config, CORPUS, resume=load_checkpoint(tmp_path / "first"))
    for name, value in resumed.checkpoint().state_dict.items():
        assert torch.equal(value, whole.state_dict[name]), name
    assert resumed.checkpoint().calibration == whole.calibration


def test_ranks_share_the_examples_that_one_would_see() -> None:
    task = YesNo(build_config(SMALL), CORPUS, CPU)
    alone = [step.shard.x_B1FT for step in task.steps(1, 0, 1)]
    shared = [[step.shard.x_B1FT for step in task.steps(1, rank, 2)] for rank in (0, 1)]
    assert len(alone) == task.steps_per_epoch >= 3
    for whole, *parts in zip(alone, *shared, strict=True):
        rows = [row for part in parts for row in part]
        assert len(rows) == len(whole)
        for row, other in zip(whole, rows, strict=True):
            frames = min(row.shape[-1], other.shape[-1])
            assert torch.equal(row[..., :frames], other[..., :frames])


def test_a_refit_measures_confidences_and_reports_no_validation() -> None:
    record = next(fit(build_config(SMALL), CORPUS, refit=True))
    assert "valid_wer" not in record.metrics
    assert record.checkpoint().calibration is not None


def test_the_threshold_and_the_calibration_come_with_the_checkpoint(tmp_path: Path) -> None:
    record = next(fit(build_config(SMALL), CORPUS))
    record.save(tmp_path / "checkpoint")
    checkpoint = load_checkpoint(tmp_path / "checkpoint")
    assert checkpoint.calibration == record.checkpoint().calibration
    assert checkpoint.calibration is not None
    assert Recognizer(checkpoint).min_confidence == checkpoint.calibration["threshold"]
    assert Recognizer(checkpoint, 0.25).min_confidence == 0.25


@pytest.mark.parametrize(("recordings", "remarks"), [(6, 2), (60, 0)])
def test_few_recordings_are_remarked_on(recordings: int, remarks: int) -> None:
    corpus = synthesize(recordings)
    epoch, *lines = SpeechTask.remarks(build_config(), corpus)  # type: ignore[arg-type]
    assert "examples per epoch" in epoch
    assert len(lines) == remarks
    assert all("few recordings" in line for line in lines)


@pytest.mark.parametrize(("seconds", "min_blocks"), [(0.5, 20), (4.0, 0)])
def test_silence_surrounds_short_recordings_only_if_training_had_such(
    seconds: float, min_blocks: int
) -> None:
    waveforms = {
        name: CORPUS.waveform(n)[: int(8000 * seconds)] for n, name in enumerate(CORPUS.names)
    }
    corpus = build_corpus(waveforms, source="cut")
    config = build_config({**SMALL, "epochs": 1, "augment_scenes": 0.0, "valid_noise": False})
    checkpoint = next(fit(config, corpus)).checkpoint()
    assert Recognizer(checkpoint).extract.min_blocks == min_blocks
    old = replace(checkpoint, config=build_config({"features": "local", "min_context_s": 0.0}))
    assert build_extract(as_speech(old.config), old.corpus).min_blocks == 0
