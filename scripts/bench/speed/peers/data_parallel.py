"""Shared by the peers of data-parallel training: the task, the steps, a line per epoch."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.speed.peers.work import read_task
from raytune_yesno.config import Config, build_config
from raytune_yesno.seeding import derive_seed
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.task import build_task
from raytune_yesno.training.loop import learning_rate_at, process_rank
from raytune_yesno.training.malloc import keep_freed_memory


def prepare() -> tuple[dict[str, Any], Config, Any, torch.nn.Module]:
    """Return what is asked for, the config, the task and the model as it begins."""
    task = read_task()
    # As the project does: engines are compared here, not these.
    keep_freed_memory()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    config = build_config(task["config"])
    trained = build_task(config, load_corpus(task["data"]), torch.device("cpu"))
    torch.manual_seed(config.seed)
    return task, config, trained, trained.build_model()


def list_steps(
    config: Config, task: Any, epoch: int, rank: int, world_size: int
) -> Iterator[tuple[Any, float, float, float]]:
    """Yield each step's shard, the loss's scale, the learning rate and the progress."""
    torch.manual_seed(derive_seed("epoch", config.seed, epoch, rank))
    for number, step in enumerate(task.steps(epoch, rank, world_size), start=1):
        progress = (epoch - 1 + number / task.steps_per_epoch) / config.epochs
        yield step.shard, step.scale * world_size, learning_rate_at(progress, config), progress


def note_epoch(task: dict[str, Any], metrics: dict[str, float]) -> None:
    """Note the end of an epoch, on rank 0."""
    if int(os.environ.get("RANK", "0")) == 0:
        with (Path(task["out"]) / "epochs.jsonl").open("a") as lines:
            line = {"world_size": process_rank()[1], **metrics, "ended": time.time()}
            lines.write(json.dumps(line) + "\n")
