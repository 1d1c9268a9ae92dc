"""Studies that were moved or copied, and tasks that are named from another folder."""

import shutil
from pathlib import Path

import pytest

from raytune_yesno.errors import InputError
from raytune_yesno.study import load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.task_registry import TaskRegistry
from raytune_yesno.tuning.continuation import compare
from raytune_yesno.tuning.resume import has_last_checkpoint


def write_study(folder: Path) -> None:
    """Write a study of one trial, with its kept checkpoint and a refit."""
    kept = folder / "trials" / "trial_0" / "checkpoint_000001"
    for each in (kept, folder / "refit" / "last"):
        each.mkdir(parents=True)
    store = StudyStore(folder)
    store.append("study", data="yesno", corpus={}, slots=1, config={"task": "sine", "epochs": 1})
    store.append("asked", trial=0, point={"learning_rate": 1e-6})
    store.append("started", trial=0, attempt=1)
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}
    store.append("epoch", trial=0, attempt=1, epoch=1, train_loss=2.0, valid_loss=2.0, **about)
    store.append("saved", trial=0, checkpoint=str(kept), epoch=1)
    store.append("ended", trial=0, status="done")
    store.append("searched")
    store.append("refitted", checkpoint=f"{folder}/refit/last", epochs=1, trial=0, seed=0)


def test_a_moved_study_finds_its_checkpoints(tmp_path: Path) -> None:
    write_study(tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    study = load(tmp_path / "new")
    (trial,) = study.trial_list
    assert trial.checkpoint == (str(tmp_path / "new/trials/trial_0/checkpoint_000001"), 1)
    assert has_last_checkpoint(trial)
    assert study.refit
    assert study.refit["checkpoint"] == str(tmp_path / "new/refit/last")


def test_a_checkpoint_elsewhere_is_left_as_recorded(tmp_path: Path) -> None:
    write_study(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new", ignore=shutil.ignore_patterns("trials"))
    (trial,) = load(tmp_path / "new").trial_list
    assert trial.checkpoint == (str(tmp_path / "old/trials/trial_0/checkpoint_000001"), 1)


def test_a_task_may_be_named_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine: pass\nclass Other: pass\n")
    tasks = TaskRegistry({})
    with pytest.raises(InputError, match="mine"):
        tasks.find("mine.py:Mine")  # as a record names it
    tasks.trust(f"{tmp_path}/mine.py:Mine")
    assert tasks.find("mine.py:Mine").__name__ == "Mine"
    with pytest.raises(InputError, match="Other"):
        tasks.find("mine.py:Other")
    assert not list(compare({"task": f"{tmp_path}/mine.py:Mine"}, {"task": "mine.py:Mine"}))
    assert list(compare({"task": "mine.py:Other"}, {"task": "mine.py:Mine"}))
