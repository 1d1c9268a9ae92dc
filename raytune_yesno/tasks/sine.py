"""The task ``sine``: the first network of PyTorch's tutorial, a second task beside speech."""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.config import Config, setting
from raytune_yesno.metrics import TRAIN_LOSS, Metric
from raytune_yesno.space import Choice, Float, Int
from raytune_yesno.tasks.speech.networks import MLP
from raytune_yesno.tasks.task import Step, batched, shuffle

POINTS = 2000
STEPS_PER_EPOCH = 100


@dataclass(frozen=True, kw_only=True)
class SineSettings:
    """Config keys of the task ``sine``."""

    model: str = setting("mlp", "the network", options=("mlp",), inherited=True)
    hidden_units: int = setting(
        16, "units of each hidden layer", low=1, high=65_536, inherited=True
    )
    hidden_layers: int = setting(
        0, "hidden layers; with 0 the model is a cubic polynomial", low=0, high=8, inherited=True
    )
    activation: str = setting(
        "tanh",
        "activation function",
        options=("relu", "gelu", "silu", "tanh", "sigmoid"),
        inherited=True,
    )
    dropout: float = setting(0.0, "dropout before the last layer", low=0.0, high=0.95)


class SineConfig(SineSettings, Config):
    """Type of the task's config, for annotations."""


class Sine:
    """Fit y = sin x on [-pi, pi] from (x, x^2, x^3), with the squared error summed over points.

    This is the first network of PyTorch's tutorial "Learning PyTorch with examples". It takes 2000
    steps of plain gradient descent over all points; here they are 20 epochs of 100 steps.
    """

    metrics: ClassVar[Sequence[Metric]] = (Metric("valid_loss", label="loss"), TRAIN_LOSS)
    Settings = SineSettings
    defaults: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "batch_size": POINTS,
        "optimizer": "sgd",
        "learning_rate": 1e-6,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "lr_decay": 0.0,
        "clip_norm": 0.0,
    }
    space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": Float(1e-7, 1e-4, log=True),
        "momentum": Float(0.0, 0.95),
        "hidden_layers": Int(0, 2),
        "hidden_units": Int(4, 64, log=True),
        "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
    }
    # Configs of older versions have the keys of all tasks.
    retired = frozenset(
        (
            *("flat_start", "channels", "kernel_size", "valid_noise", "swap_halves"),
            *("augment_noise", "augment_snr_db", "augment_gain_db", "augment_shift_s"),
            *("augment_speed", "augment_time_mask", "augment_freq_mask"),
        )
    )

    def __init__(
        self, config: SineConfig, data: None, device: torch.device, *, refit: bool = False
    ) -> None:
        self._config = config
        move = functools.partial(
            torch.Tensor.to, device=device, dtype=getattr(torch, config.stored_dtype)
        )
        x = torch.linspace(-math.pi, math.pi, POINTS)
        # Validation points lie halfway between training points. There are as many of them, so that
        # the two sums are comparable.
        half_step = math.pi / (POINTS - 1)
        self._train = move(powers(x)), move(torch.sin(x))
        between = x + half_step
        self._valid = None if refit else (move(powers(between)), move(torch.sin(between)))
        self.steps_per_epoch = STEPS_PER_EPOCH
        self.steps_per_pass = min(STEPS_PER_EPOCH, math.ceil(POINTS / config.batch_size))
        # An epoch of small batches is less than a pass, whose loss is scaled up.
        self.train_scale = max(1.0, POINTS / (STEPS_PER_EPOCH * config.batch_size))

    def build_model(self) -> nn.Module:
        """Return an untrained MLP with one output."""
        config = self._config
        model = MLP(
            in_features=3,
            out_features=1,
            hidden_units=config.hidden_units,
            hidden_layers=config.hidden_layers,
            activation=config.activation,
            dropout=config.dropout,
        )
        return model.to(getattr(torch, config.stored_dtype))

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        """Yield one rank's share of :data:`STEPS_PER_EPOCH` steps."""
        if self._config.batch_size >= POINTS:
            shard = tuple(part[rank::world_size] for part in self._train)
            yield from itertools.repeat(Step(shard, 1.0), STEPS_PER_EPOCH)
            return
        passes = (shuffle(POINTS, "order", self._config.seed, epoch, n) for n in itertools.count())
        batches = (batch for order in passes for batch in batched(order, self._config.batch_size))
        for batch in itertools.islice(batches, STEPS_PER_EPOCH):
            shard = tuple(part[batch[rank::world_size]] for part in self._train)
            yield Step(shard, POINTS / len(batch))  # scales up to a sum over all points

    def loss(self, model: nn.Module, shard: tuple[Tensor, Tensor], progress: float) -> Tensor:
        """Return the squared error summed over a shard of (B, 3) inputs and (B,) targets."""
        x_B3, y_B = shard
        return F.mse_loss(model(x_B3), y_B, reduction="sum")

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        """Return this rank's sums: squared error and number of points."""
        if self._valid is None:
            return torch.zeros(2, dtype=torch.float64)
        x_B3, y_B = (part[rank::world_size] for part in self._valid)
        loss = F.mse_loss(model(x_B3), y_B, reduction="sum").item()
        return torch.tensor([loss, len(y_B)], dtype=torch.float64)

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        """Return the validation loss; nothing in a refit."""
        return {"valid_loss": sums[0].item()} if sums[1] else {}

    @staticmethod
    def describe_model(config: SineConfig, weights: Mapping[str, Tensor]) -> list[str]:
        """Return the tutorial's result, y = a + b x + c x^2 + d x^3; nothing with hidden layers."""
        if config.hidden_layers:
            return []
        b, c, d = weights["0.weight"][0].tolist()
        return [f"Result: y = {weights['0.bias'].item()} + {b} x + {c} x^2 + {d} x^3"]


def powers(x_B: Tensor) -> Tensor:
    """Return x, x squared and x cubed, (B, 3)."""
    return x_B.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
