"""Training on a full disk waits for space, as a search does."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from raytune_yesno.config import build_config, declare_task, register_task
from raytune_yesno.errors import TaskFailed, UnfinishedError
from raytune_yesno.tasks.sine import Sine
from raytune_yesno.tasks.task import Step
from raytune_yesno.training.payload import RunPayload
from raytune_yesno.training.run import measure_need, run_training

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


def count(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
    """Report the epochs, with a state of 400 kB."""
    for epoch in range(int(checkpoint[0]) + 1 if checkpoint is not None else 1, 5):
        yield {"loss": 1 / epoch}, torch.full((100_000,), float(epoch))


def write(state: Any, path: str) -> None:
    Path(path).write_bytes(state.numpy().tobytes())


def read(path: str) -> Any:
    return torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.float32)


def configure_count(save: Any, load: Any) -> Any:
    given = {"metric": "loss", "epochs": 4, "num_workers": 0}
    register_task("tests:count", (count, save, load))
    declaration = declare_task("tests:count", space={}, config=given)
    return build_config({"task": "tests:count", **given}, declaration=declaration)


@pytest.mark.parametrize("pair", [(write, read), (torch.save, torch.load)], ids=["file", "torch"])
def test_a_state_that_finds_the_disk_full_waits_for_room(
    pair: tuple[Callable[..., Any], ...], disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    config = configure_count(*pair)
    notes: list[str] = []

    def on_epoch(metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == 2 and not notes:
            fill(disk / "filler")

    def note(line: str) -> None:
        notes.append(line)
        (disk / "filler").unlink()

    run = run_training(config, None, disk / "run", on_epoch=on_epoch, note=note)
    assert [epoch["loss"] for epoch in run.history] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert any("No space left" in line for line in notes)


def test_a_state_that_finds_no_room_elsewhere_ends_the_run(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    config = configure_count(torch.save, torch.load)

    def on_epoch(metrics: dict[str, Any]) -> None:
        fill(disk / "filler")

    with pytest.raises(UnfinishedError, match=r"save: .*No space left") as raised:
        run_training(config, None, tmp_path / "run", on_epoch=on_epoch)
    assert not isinstance(raised.value, TaskFailed)


def test_another_full_disk_is_an_error_of_the_function(tmp_path: Path) -> None:
    def save(state: Any, path: str) -> None:
        Path("/dev/full").write_text("x")

    config = configure_count(save, torch.load)
    with pytest.raises(TaskFailed, match="No space left"):
        run_training(config, None, tmp_path / "run")


def test_copies_of_ray_take_room_only_in_the_folder_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "weights").write_bytes(bytes(10 << 20))
    needs = {}
    for num_workers in (1, 2):
        config = build_config({"task": "sine", "num_workers": num_workers})
        for storage in (str(tmp_path), "s3://bucket/run"):
            payload = RunPayload(config, None, None, False, 1, storage)
            needs[num_workers, storage == str(tmp_path)] = measure_need(payload, tmp_path)
    assert needs[2, True] > 30 << 20
    assert needs[2, False] == needs[1, True] == needs[1, False] < 20 << 20


@pytest.mark.ray
@pytest.mark.slow  # Ray Train tries three times before it gives up
@pytest.mark.usefixtures("ray_cluster")
def test_training_on_workers_waits_for_room(disk: Path, tmp_path: Path) -> None:
    # The driver receives epochs with a delay; some must be left when the disk is full.
    train_on_full_disk(disk, tmp_path, 1, epochs=200)
