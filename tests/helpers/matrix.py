"""One study of every kind of objective: a PyTorch task, a generator and a function."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raytune_yesno import tune
from raytune_yesno.metrics import Metric
from raytune_yesno.space import Float
from raytune_yesno.study import Study
from raytune_yesno.tasks.task import Step

SPACE = {"learning_rate": Float(1e-3, 1.0, log=True)}
TRIALS, EPOCHS = 16, 4


class Line:
    """A PyTorch task: fits a line through the origin."""

    metrics = (Metric("loss"),)
    steps_per_epoch = steps_per_pass = 2
    train_scale = 0.5

    def __init__(self, config: Any, data: Any, device: Any, *, refit: bool = False) -> None:
        pass

    def build_model(self) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        for _ in range(2):
            yield Step(torch.rand(4, 1)[rank::world_size], 0.25)

    def loss(self, model: nn.Module, shard: Any, progress: float) -> Tensor:
        return (model(shard) - 2 * shard).pow(2).sum()

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        shard = torch.linspace(0, 1, 8)[rank::world_size, None]
        return (model(shard) - 2 * shard).pow(2).sum().double().reshape(1)

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        return {"loss": sums.item() / 8}


def descend(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
    """Approach 0 at a rate, an epoch at a time."""
    epoch, value = checkpoint or (0, 1.0)
    while epoch < config["epochs"]:
        epoch, value = epoch + 1, value * (1 - config["learning_rate"])
        yield {"loss": value}, (epoch, value)


def parabola(config: dict[str, Any]) -> dict[str, float]:
    """Return a loss at once."""
    return {"loss": (config["learning_rate"] - 0.3) ** 2}


KINDS = {"task": Line, "generator": descend, "function": parabola}


def run_study(kind: str, search: str, scheduler: str, out: Path, **more: Any) -> Study:
    """Run or resume an ordered study on the cluster that this process has joined."""
    return tune(
        KINDS[kind],
        SPACE,
        metric="loss",
        trials=TRIALS,
        search=search,
        scheduler=scheduler,
        epochs=1 if kind == "function" else EPOCHS,
        ordered=True,
        out=out,
        checkpoint_every=0,
        quiet=True,
        **more,
    )


def run_on(address: str, *arguments: Any) -> None:
    """Run a study on the cluster at an address."""
    from raytune_yesno.cluster.session import ray_session

    torch.set_num_threads(1)
    with ray_session(address):
        run_study(*arguments)
