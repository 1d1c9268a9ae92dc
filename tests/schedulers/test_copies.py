"""The checkpoints that PBT copies from trial to trial."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from raytune_yesno.checkpoint import DESCRIPTION
from raytune_yesno.config import build_config
from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.study import load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.training.loop import fit
from raytune_yesno.training.resume import find_latest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return the folder of a study with checkpoints of trials 7 and 8 after epochs 1 to 3."""
    for number in (7, 8):
        for record in fit(build_config({"task": "sine", "epochs": 4, "seed": number})):
            epoch = record.metrics["epoch"]
            record.save(tmp_path / "study" / "trials" / f"trial_{number}" / f"checkpoint_{epoch}")
    return tmp_path / "study"


def copy_over(out: Path, target: int, source: int, epoch: int) -> str:
    """Copy a trial over another one after an epoch; return the copy."""
    scheduler: Any = build_scheduler("pbt", 4, interval=1)
    scheduler.store, scheduler.goal = StudyStore(out), epoch
    checkpoint = str(out / "trials" / f"trial_{source}" / f"checkpoint_{epoch}")
    of_source = {"number": source, "point": {}, "checkpoint": checkpoint}
    over = SimpleNamespace(config={"number": target, "point": {}, "checkpoint": None})
    over.set_config = lambda config: setattr(over, "config", config)
    scheduler.copy(
        SimpleNamespace(config=of_source, checkpoint=None), over, np.random.default_rng(0)
    )
    return str(over.config["checkpoint"])


def test_instead_of_a_damaged_copy_no_other_trials_is_used(out: Path) -> None:
    copy, other = copy_over(out, 1, 7, 2), copy_over(out, 2, 8, 3)
    assert find_latest([other])[0].config.seed == 8
    (Path(copy) / DESCRIPTION).write_bytes(b"x")
    assert find_latest([copy])[0] is None


def test_instead_of_a_damaged_copy_the_trials_own_earlier_one_is_used(out: Path) -> None:
    copy_over(out, 1, 7, 1)
    copy_over(out, 2, 8, 2)
    copy = copy_over(out, 1, 8, 3)
    (Path(copy) / DESCRIPTION).write_bytes(b"x")
    checkpoint, damage = find_latest([copy])
    assert (checkpoint.config.seed, checkpoint.epoch) == (7, 1)
    assert damage


@pytest.mark.parametrize(("own", "found"), [([4], None), ([3, 4], 3)])
def test_nor_is_it_in_a_study_of_an_earlier_version(
    out: Path, own: list[int], found: int | None
) -> None:
    """There, all copies were in one folder."""

    def place(number: int, epoch: int) -> Path:
        return out / "trials" / f"copied_{number:05d}_{epoch:06d}"

    for number, source, epochs in ((1, 7, own), (2, 8, [4])):
        for epoch in epochs:
            at = out / "trials" / f"trial_{source}" / f"checkpoint_{epoch}"
            shutil.copytree(at, place(number, epoch))
    assert find_latest([str(place(1, 4))])[0].epoch == 4
    (place(1, 4) / DESCRIPTION).write_bytes(b"x")
    checkpoint, _ = find_latest([str(place(1, 4))])
    assert (checkpoint and checkpoint.epoch) == found
    assert checkpoint is None or checkpoint.config.seed == 7


def test_a_moved_study_finds_its_copies(out: Path) -> None:
    store = StudyStore(out)
    store.append("study", format=1, slots=1, trials=2)
    store.append("asked", trial=1, point={})
    copy = copy_over(out, 1, 7, 2)
    moved = out.rename(out.with_name("moved"))
    (trial,) = load(moved).trial_list
    assert trial.checkpoint == (copy.replace(str(out), str(moved)), 2)
