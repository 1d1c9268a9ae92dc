"""A trial whose checkpoint is damaged resumes from the previous one and reports it."""

import random
import shutil
from pathlib import Path

import pytest

from raytune_yesno.checkpoint import DESCRIPTION, STATE_DICT
from raytune_yesno.config import build_config
from raytune_yesno.training.loop import fit
from raytune_yesno.training.resume import find_latest

CONFIG = build_config({"task": "sine", "epochs": 4})


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """Return the folder of a trial with checkpoints of epochs 1 to 4."""
    for record in fit(CONFIG):
        record.save(tmp_path / "trial" / f"checkpoint_{record.metrics['epoch']}")
    return tmp_path / "trial"


def place(trial: Path, epoch: int) -> str:
    return str(trial / f"checkpoint_{epoch}")


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    at = random.Random(file.name).randrange(len(data))
    while chr(data[at]).isdigit():  # the last of a number may be beyond its precision
        at += 1
    data[at] ^= 1
    file.write_bytes(data)


def found(*places: str) -> tuple[int | None, str | None]:
    checkpoint, damage = find_latest(places)
    return checkpoint and checkpoint.epoch, damage


def test_the_one_of_most_epochs_counts(trial: Path) -> None:
    assert found() == (None, None)
    assert found(place(trial, 2)) == (2, None)
    assert found(place(trial, 1), place(trial, 3)) == (3, None)
    assert found(place(trial, 3), place(trial, 1)) == (3, None)


def test_of_as_many_epochs_the_first_counts(trial: Path, tmp_path: Path) -> None:
    for record in fit(build_config({**CONFIG.as_dict(), "seed": 1})):
        record.save(tmp_path / "other" / str(record.metrics["epoch"]))
    checkpoint, _ = find_latest([str(tmp_path / "other" / "2"), place(trial, 2)])
    assert checkpoint is not None
    assert checkpoint.config.seed == 1


@pytest.mark.parametrize("name", [STATE_DICT, DESCRIPTION])
def test_instead_of_a_damaged_one_the_one_before_counts(trial: Path, name: str) -> None:
    flip_a_bit(trial / "checkpoint_4" / name)
    epoch, damage = found(place(trial, 4))
    assert epoch == 3
    assert damage is not None
    assert damage.startswith(f"{place(trial, 4)}: the checkpoint is damaged (")
    assert damage.endswith("; resumed from epoch 3")
    assert "\n" not in damage


def test_of_several_damaged_ones_none_is_used(trial: Path) -> None:
    for epoch in (2, 4):
        flip_a_bit(trial / f"checkpoint_{epoch}" / STATE_DICT)
    shutil.rmtree(trial / "checkpoint_3")
    assert found(place(trial, 4))[0] == 1


def test_one_that_is_gone_is_like_a_damaged_one(trial: Path) -> None:
    shutil.rmtree(trial / "checkpoint_4")
    epoch, damage = found(place(trial, 4))
    assert epoch == 3
    assert damage == (
        f"{place(trial, 4)}: no checkpoint here (no {DESCRIPTION}); resumed from epoch 3"
    )


def test_where_none_is_whole_training_restarts(trial: Path) -> None:
    for folder in trial.iterdir():
        flip_a_bit(folder / STATE_DICT)
    epoch, damage = found(place(trial, 2))
    assert epoch is None
    assert damage is not None
    assert damage.endswith("; restarted from the beginning")


def test_so_it_does_where_the_whole_folder_is_gone(trial: Path) -> None:
    shutil.rmtree(trial)
    assert found(place(trial, 2))[0] is None


def test_a_file_among_the_checkpoints_is_none(trial: Path) -> None:
    flip_a_bit(trial / "checkpoint_4" / STATE_DICT)
    (trial / "result.json").write_text("{}")
    assert found(place(trial, 4))[0] == 3
