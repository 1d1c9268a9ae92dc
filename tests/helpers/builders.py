"""Builders shared by tests: studies, experiments of Ray Tune, checkpoints, networks, trials."""

import json
import math
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.checkpoint import (
    DESCRIPTION,
    Checkpoint,
    describe_checkpoint,
)
from raytune_yesno.config import build_config
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tasks.speech.networks import build_network

SPACE = {
    "learning_rate": {"float": [1e-4, 1e-1], "log": True},
    "dropout": {"float": [0.0, 0.5]},
    "hidden_units": {"int": [8, 64]},
    "channels": {"choice": [[8, 16], [16, 32]]},
}


EVIL = "</script><script>recordError('ran')</script><img src=x onerror=recordError(1)>"


def write_study(
    folder: Path,
    num_trials: int = 30,
    *,
    search: str = "random",
    seed: int = 0,
    ended: bool = True,
    error: str = "OSError: no room",
) -> Study:
    """Write a study in which only the learning rate matters much."""
    draw = random.Random(seed)
    store = StudyStore(folder)
    store.append(
        "study",
        time=0.0,
        format=1,
        slots=2,
        data="synthetic",
        corpus={"source": "synthetic", "fingerprint": "f00d"},
        versions={"ray": "2.60.0"},
        config={"epochs": 9, "seed": seed, "learning_rate": 0.002},
        space=SPACE,
        search=search,
        search_options={},
        scheduler="asha",
        scheduler_options={},
        trials=num_trials,
    )
    clock = [1.0, 1.5]
    for number in range(num_trials):
        slot = number % 2
        rate = 10 ** draw.uniform(-4, -1)
        point = {
            "learning_rate": rate,
            "dropout": draw.uniform(0, 0.5),
            "hidden_units": draw.randint(8, 64),
            "channels": draw.choice([[8, 16], [16, 32]]),
        }
        store.append("asked", time=clock[slot], trial=number, point=point)
        store.append("started", time=clock[slot], trial=number, attempt=1)
        floor = 0.1 + (math.log10(rate) + 2.5) ** 2
        last = 9 if floor < 0.6 else 3
        for epoch in range(1, last + 1):
            loss = floor + 3 / epoch
            store.append(
                "epoch",
                time=clock[slot] + 1,
                trial=number,
                attempt=1,
                epoch=epoch,
                train_loss=loss,
                valid_loss=loss,
                valid_wer=min(1.0, round(loss / 5, 2)),
                seconds=0.9,
                host="here",
                pid=slot,
                began=clock[slot],
                ended=clock[slot] + 1,
            )
            clock[slot] += 1.0
        clock[slot] += 0.25
        status = "failed" if number == 1 else "done" if last == 9 else "stopped"
        failed = {"error": error} if status == "failed" else {}
        store.append("ended", time=clock[slot], trial=number, status=status, **failed)
    if ended:
        store.append("searched", time=max(clock))
        test = {"wer": 1 / 240, "words": 240, "substitutions": 0, "insertions": 0, "deletions": 1}
        store.append("refitted", checkpoint="refit/last", epochs=9, trial=0, test=test)
    return load(folder)


def write_trial(
    experiment: Path,
    number: int,
    *reports: dict[str, Any],
    config: dict[str, Any] | None = None,
    error: str = "",
) -> Path:
    """Write a trial's folder in the format of Ray Tune 2.60."""
    folder = experiment / f"f_8381e_{number:05}_{number}_lr=0.1_2026-01-01_00-00-00"
    folder.mkdir(parents=True)
    config = {"lr": 0.1 * (number + 1), "net": {"depth": 2}} if config is None else config
    (folder / "params.json").write_text(json.dumps(config))
    lines = []
    for iteration, metrics in enumerate(reports, start=1):
        added = {
            "timestamp": 1000 + 10 * number + 2 * iteration,
            "checkpoint_dir_name": None,
            "done": False,
            "training_iteration": iteration,
            "trial_id": f"8381e_{number:05}",
            "date": "2026-01-01_00-00-00",
            "time_this_iter_s": 2.0,
            "time_total_s": 2.0 * iteration,
            "pid": 100 + number,
            "hostname": "somewhere",
            "node_ip": "192.0.2.2",
            "config": config,
            "time_since_restore": 2.0 * iteration,
            "iterations_since_restore": iteration,
        }
        lines.append(json.dumps({**metrics, **added}) + "\n")
    (folder / "result.json").write_text("".join(lines))
    if error:
        (folder / "error.txt").write_text(f"Failure # 1 (occurred at …)\n  File …\n{error}\n")
    return folder


CONFIG = build_config({"channels": (2, 3), "hidden_units": 4})


def make_checkpoint(epoch: int = 2) -> Checkpoint:
    torch.manual_seed(epoch)
    model = build_network(CONFIG)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(1, 1, 28, 40)).sum().backward()
    optimizer.step()
    return Checkpoint(
        config=CONFIG,
        corpus={"source": "here", "fingerprint": "0123456789abcdef"},
        epoch=epoch,
        history=[{"epoch": n, "train_loss": 1 / n} for n in range(1, epoch + 1)],
        refit=False,
        state_dict=model.state_dict(),
        optimizer=optimizer.state_dict(),
        versions={"torch": "0"},
    )


def describe_again(folder: Path, **changes: Any) -> None:
    """Give a checkpoint the digests of its present files, as an attacker would."""
    description = json.loads((folder / DESCRIPTION).read_text())
    del description["sha256"]
    describe_checkpoint({**description, **changes}, folder)


class Attack:
    """Make a folder as soon as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


class RecipeNet(nn.Module):
    """PyTorch's recipe "Defining a neural network in PyTorch", rewritten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.dropout2(x)
        return F.log_softmax(self.fc2(x), dim=1)


def build_trial(number: int, trial_id: str = "") -> Any:
    """Stand for one of Ray's trials, as far as schedulers that only compare look at it."""

    class Standing(SimpleNamespace):
        __hash__ = object.__hash__

    return Standing(trial_id=trial_id or str(number), config={"number": number})
