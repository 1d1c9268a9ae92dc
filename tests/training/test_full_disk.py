"""Training on a full disk waits for space, as a search does."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.config import build_config, register_task
from raytune_yesno.errors import UnfinishedError
from raytune_yesno.tasks.sine import Sine
from raytune_yesno.tasks.task import Step
from raytune_yesno.training.run import run_training

SIZE = 6 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a separate small file system."""
    if os.geteuid():
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write to a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def train_on_full_disk(disk: Path, tmp_path: Path, num_workers: int, epochs: int) -> None:
    config = build_config({"task": "sine", "epochs": epochs, "num_workers": num_workers})
    filler = disk / "filler"
    notes: list[str] = []
    filled: list[int] = []

    def on_epoch(metrics: dict[str, Any]) -> None:
        if metrics["epoch"] >= 2 and not filled:
            filled.append(metrics["epoch"])
            fill(filler)

    def note(line: str) -> None:
        notes.append(line)
        filler.unlink(missing_ok=True)

    run = run_training(config, None, disk / "run", on_epoch=on_epoch, note=note)
    assert any("No space left" in line for line in notes)
    alone = run_training(config, None, tmp_path / "alone")
    losses = [[epoch["train_loss"] for epoch in each.history] for each in (run, alone)]
    assert losses[0] == losses[1]


def test_training_in_this_process_waits_for_room(disk: Path, tmp_path: Path) -> None:
    train_on_full_disk(disk, tmp_path, 0, epochs=6)


class Failing(Sine):
    """Fails in its second epoch."""

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        if epoch == 2:
            raise RuntimeError("a fault of the task")
        yield from super().steps(epoch, rank, world_size)


def test_a_failure_of_the_task_does_not_wait(disk: Path) -> None:
    register_task("tests:Failing", Failing)
    config = build_config({"task": "tests:Failing", "epochs": 3, "num_workers": 0})
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        (disk / "filler").unlink()

    with pytest.raises(UnfinishedError, match="a fault of the task"):
        run_training(
            config, None, disk / "run", on_epoch=lambda _: fill(disk / "filler"), note=note
        )
    assert notes == []


@pytest.mark.ray
@pytest.mark.slow  # Ray Train tries three times before it gives up
@pytest.mark.usefixtures("ray_cluster")
def test_training_on_workers_waits_for_room(disk: Path, tmp_path: Path) -> None:
    # The driver receives epochs with a delay; some must be left when the disk is full.
    train_on_full_disk(disk, tmp_path, 1, epochs=200)
