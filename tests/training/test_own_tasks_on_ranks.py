"""Own tasks on several ranks: statistics of a batch normalisation, and parameters without use."""

import multiprocessing
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import build_config, register_task
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.task import Step
from raytune_yesno.training.evaluate import evaluate_checkpoint
from raytune_yesno.training.loop import REPLICA, fit


class Normalised:
    """Fits y = 3 x by a network with batch normalisation."""

    metrics: ClassVar[Any] = (Metric("loss"),)
    steps_per_epoch, steps_per_pass, train_scale = 4, 1, 1 / 64

    def __init__(self, config: Any, data: Any, device: Any, *, refit: bool = False) -> None:
        self.x = torch.linspace(-1, 1, 64)[:, None].sin().square()

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def steps(self, epoch: int, rank: int, world_size: int) -> Any:
        return [Step(self.x[rank::world_size], 1 / 64)] * self.steps_per_epoch

    def loss(self, model: nn.Module, shard: Tensor, progress: float) -> Tensor:
        return (model(shard) - 3 * shard).square().sum()

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        return self.loss(model, self.x[rank::world_size], 1.0)[None].double()

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        return {"loss": sums[0].item() / 64}


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line, self.head = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Any:
        return self.line(x)


class Unused(Normalised):
    def build_model(self) -> nn.Module:
        return TwoHeads()


class Frozen(Normalised):
    def build_model(self) -> nn.Module:
        model = TwoHeads()
        model.head.requires_grad_(False)
        return model


def configure(task: type) -> Any:
    name = f"ranks:{task.__name__}"
    TASKS.trust(name)
    register_task(name, task)
    return build_config({"task": name, "epochs": 2, "learning_rate": 0.05})


def train(rank: int, world_size: int, folder: Path, task: type) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size
    )
    try:
        for record in fit(
            configure(task), prepare=lambda model: DistributedDataParallel(model, **REPLICA)
        ):
            record.save(folder / str(rank))
    except InputError as error:
        (folder / f"{rank}.error").write_text(f"{type(error).__name__}: {error}")
    dist.destroy_process_group()


def train_on_ranks(world_size: int, folder: Path, task: type) -> None:
    multiprocessing.set_forkserver_preload(["raytune_yesno.training.loop"])
    torch.multiprocessing.start_processes(
        train, (world_size, folder, task), nprocs=world_size, start_method="forkserver"
    )


def test_the_recorded_figures_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    train_on_ranks(2, tmp_path, Normalised)
    configure(Normalised)
    for rank in ("0", "1"):
        checkpoint = load_checkpoint(tmp_path / rank)
        figures = evaluate_checkpoint(checkpoint, None).figures
        assert checkpoint.metrics["loss"] == pytest.approx(figures["loss"], rel=1e-6)


@pytest.mark.parametrize("world_size", [2, 3])
def test_a_parameter_without_use_is_named(world_size: int, tmp_path: Path) -> None:
    train_on_ranks(world_size, tmp_path, Unused)
    for rank in range(world_size):
        line = (tmp_path / f"{rank}.error").read_text()
        assert line.startswith("EveryTrialFails: head.weight ")
        assert "\n" not in line


def test_a_frozen_parameter_needs_no_use(tmp_path: Path) -> None:
    train_on_ranks(2, tmp_path, Frozen)
    configure(Frozen)
    assert load_checkpoint(tmp_path / "1").epoch == 2
