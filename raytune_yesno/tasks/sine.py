"""The polynomial's task: the tutorial's first neural network, as a second task for the loop."""

import functools
import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.config import Config
from raytune_yesno.tasks.speech.networks import MLP
from raytune_yesno.tasks.task import Step, batched, shuffle

POINTS = 2000
STEPS_PER_EPOCH = 100


class Sine:
    """Fit y = sin x on [-pi, pi] from (x, x^2, x^3), summed squared error, as in "Learning
    PyTorch with examples". An epoch is 100 steps."""

    def __init__(self, config: Config, device: torch.device, *, refit: bool = False) -> None:
        self._config = config
        place = functools.partial(
            torch.Tensor.to, device=device, dtype=getattr(torch, config.dtype)
        )
        x = torch.linspace(-math.pi, math.pi, POINTS)
        # Validation lies between the training points; both have as many, so that sums compare.
        half_step = math.pi / (POINTS - 1)
        self._train = place(powers(x)), place(torch.sin(x))
        between = x + half_step
        self._valid = None if refit else (place(powers(between)), place(torch.sin(between)))
        self.steps_per_epoch = STEPS_PER_EPOCH
        self.steps_per_pass = min(STEPS_PER_EPOCH, math.ceil(POINTS / config.batch_size))
        self.train_scale = 1.0

    def build_model(self) -> nn.Module:
        config = self._config
        model = MLP(
            in_features=3,
            out_features=1,
            hidden_units=config.hidden_units,
            hidden_layers=config.hidden_layers,
            activation=config.activation,
            dropout=config.dropout,
        )
        return model.to(getattr(torch, config.dtype))

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        if self._config.batch_size >= POINTS:
            whole = slice(rank, None, world_size)
            shard = tuple(part[whole] for part in self._train)
            yield from itertools.repeat(Step(shard, 1.0), STEPS_PER_EPOCH)
            return
        passes = (shuffle(POINTS, "order", self._config.seed, epoch, n) for n in itertools.count())
        batches = (some for order in passes for some in batched(order, self._config.batch_size))
        for some in itertools.islice(batches, STEPS_PER_EPOCH):
            shard = tuple(part[some[rank::world_size]] for part in self._train)
            yield Step(shard, POINTS / len(some))  # an estimate of the sum over all points

    def loss(self, model: nn.Module, shard: tuple[Tensor, Tensor], progress: float) -> Tensor:
        x_B3, y_B = shard
        return F.mse_loss(model(x_B3), y_B, reduction="sum")

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        if self._valid is None:
            return torch.zeros(2, dtype=torch.float64)
        x_B3, y_B = (part[rank::world_size] for part in self._valid)
        loss = F.mse_loss(model(x_B3), y_B, reduction="sum").item()
        return torch.tensor([loss, len(y_B)], dtype=torch.float64)

    def metrics(self, sums: Tensor) -> dict[str, float]:
        return {"valid_loss": sums[0].item()} if sums[1] else {}


def powers(x_B: Tensor) -> Tensor:
    """Return (B, 3): x, x squared, x cubed."""
    return x_B.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
