"""The polynomial's task: the tutorial's first neural network, as a second task for the loop."""

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
    """The keys of a config that the polynomial adds."""

    model: str = setting("mlp", "the network", options=("mlp",), inherited=True)
    hidden_units: int = setting(
        16, "units of each hidden layer", low=1, high=65_536, inherited=True
    )
    hidden_layers: int = setting(
        0, "hidden layers; without any the model is the polynomial", low=0, high=8, inherited=True
    )
    activation: str = setting(
        "tanh",
        "activation function",
        options=("relu", "gelu", "silu", "tanh", "sigmoid"),
        inherited=True,
    )
    dropout: float = setting(0.0, "dropout before the last layer", low=0.0, high=0.95)


class SineConfig(SineSettings, Config):
    """The type of the task's config, for annotations."""


class Sine:
    """Fit y = sin x on [-pi, pi] from (x, x^2, x^3) by least squares, summed over the points.

    The first neural network of PyTorch's tutorial "Learning PyTorch with examples": plain gradient
    descent, 2000 steps over all points at once, here 20 epochs of 100 steps.
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
    # Configs once held the keys of all tasks.
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

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        return {"valid_loss": sums[0].item()} if sums[1] else {}

    @staticmethod
    def describe_model(config: SineConfig, weights: Mapping[str, Tensor]) -> list[str]:
        """Return the tutorial's last line, y = a + b x + c x^2 + d x^3; none for other networks."""
        if config.hidden_layers:
            return []
        b, c, d = weights["0.weight"][0].tolist()
        return [f"Result: y = {weights['0.bias'].item()} + {b} x + {c} x^2 + {d} x^3"]


def powers(x_B: Tensor) -> Tensor:
    """Return (B, 3): x, x squared, x cubed."""
    return x_B.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
