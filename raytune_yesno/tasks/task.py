"""What a task is: what the training loop asks, so that there is only one loop.

:mod:`raytune_yesno.tasks.speech.task` and :mod:`raytune_yesno.tasks.sine` are the two tasks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from raytune_yesno.seeding import build_generator

Item = TypeVar("Item")


@dataclass(frozen=True)
class Step:
    """One step of training on one rank.

    Attributes:
        shard: this rank's share of the batch; may be empty.
        scale: what the loss summed over the whole batch is multiplied by.
    """

    shard: Any
    scale: float


class Task(Protocol):
    """What the training loop asks of a task.

    Losses and validation figures are sums over examples, so that they add up over ranks, and a
    rank without examples adds nothing.
    """

    steps_per_epoch: int
    steps_per_pass: int
    train_scale: float
    """What the training loss summed over a pass is multiplied by to be reported."""

    def build_model(self) -> nn.Module: ...

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]: ...

    def loss(self, model: nn.Module, shard: Any, progress: float) -> Tensor:
        """Return the loss summed over a shard, a scalar that carries a gradient.

        ``progress`` is the share of training done, in (0, 1].
        """

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        """Return this rank's float64 sums over the validation examples."""

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """Turn the sums of all ranks into the metrics of an epoch."""


def shuffle(count: int, *name: object) -> list[int]:
    """Return the numbers below ``count`` in the random order that a stream's name gives."""
    return torch.randperm(count, generator=build_generator(*name)).tolist()


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into runs of ``size``; the last may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
