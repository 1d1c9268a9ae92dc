"""What a task is: what the engine asks, so that there is one training loop for every task.

:mod:`raytune_yesno.tasks.speech.task` and :mod:`raytune_yesno.tasks.sine` are the built-in tasks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from raytune_yesno.config import Config, find_task
from raytune_yesno.metrics import Metric
from raytune_yesno.registry import import_name
from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.space import Space

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


class Data(Protocol):
    """What a task learns from. It travels to every node once, through Ray's object store."""

    @property
    def source(self) -> str:
        """Where it came from, for people."""

    @property
    def fingerprint(self) -> str:
        """A digest of its content: runs on other data are neither resumed nor compared."""


class Task(Protocol):
    """What the engine asks of a task: one class, found by its name in a config.

    The class says what can be set, what is reported and where data come from. An object of it is
    one run's: the training loop asks it for a model, steps, losses and validation. Losses and
    validation figures are sums over examples, so that they add up over data-parallel ranks; a rank
    without examples adds nothing.

    Besides, a class may have

    * ``Settings``, a frozen dataclass of :func:`~raytune_yesno.config.setting` fields: its own
      config keys; a method ``check`` may refuse values that are wrong together;
    * ``imply(changes)``, which returns keys that the given ones imply, such as ``model``;
    * ``defaults``, other defaults of the engine's keys, and ``model_defaults``, by ``model``;
    * ``space``, the default search space: a mapping, or a function of the config;
    * ``implementation``, ``module:Name`` of the class that trains, if it is not this one: a config
      can then be read without importing torch;
    * ``retired`` and ``legacy``, see :func:`~raytune_yesno.config.upgrade_config`;
    * ``load_data(source, *, config, skip_bad, progress)``, which reads :class:`Data` on the driver;
    * ``remarks(config, data)``, lines to print at the start, such as on few data;
    * ``test(checkpoint, data)``, which returns the held-out figures after the refit, and
      ``describe_test(figures)``, a line on them for people;
    * ``describe_model(config, weights)``, lines that ``train`` prints at its end.
    """

    metrics: ClassVar[Sequence[Metric]]
    """What it reports after an epoch: the objective first, then what breaks ties of trials."""

    steps_per_epoch: int
    steps_per_pass: int
    train_scale: float
    """What the training loss summed over a pass is multiplied by to be reported."""

    def __init__(
        self, config: Any, data: Any, device: torch.device, *, refit: bool = False
    ) -> None:
        """Prepare a run.

        Args:
            config: a :class:`~raytune_yesno.config.Config` with the keys of ``Settings``.
            data: what ``load_data`` returned; None without it.
            device: where to compute.
            refit: train on the training and validation parts together, and validate nothing.
        """

    def build_model(self) -> nn.Module:
        """Return an untrained model."""

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        """Yield one rank's share of an epoch's steps; the same batches on any number of ranks."""

    def loss(self, model: nn.Module, shard: Any, progress: float) -> Tensor:
        """Return the loss summed over a shard, a scalar that carries a gradient.

        ``progress`` is the share of training done, in (0, 1].
        """

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        """Return this rank's float64 sums over the validation examples."""

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        """Turn the sums of all ranks into the metrics of an epoch; none without validation."""


def find_space(config: Config) -> Space:
    """Return the default search space of a config's task; empty if it has none."""
    space: Any = getattr(find_task(config.task), "space", {})
    return dict(space(config) if callable(space) else space)


def load_data(config: Config, source: str, **options: Any) -> Data | None:
    """Read the data of a config's task, on the driver; None if the task needs none.

    Args:
        config: names the task.
        source: what the user named: a corpus, a folder.
        options: ``skip_bad`` leaves bad items out; ``progress`` is called with bytes done and all.

    Raises:
        InputError: the data cannot be read, or do not suffice.
    """
    load = getattr(find_task(config.task), "load_data", None)
    found: Data | None = load(source, config=config, **options) if load else None
    return found


def describe_data(data: Data | None) -> dict[str, str]:
    """Return what records say of the data: ``source`` and ``fingerprint``; empty without data."""
    return {"source": data.source, "fingerprint": data.fingerprint} if data else {}


def build_task(
    config: Config, data: Data | None, device: torch.device, *, refit: bool = False
) -> Task:
    """Return the task that ``config`` names, its data on ``device``; arguments as of ``Task``."""
    task = find_task(config.task)
    if elsewhere := getattr(task, "implementation", None):
        task = import_name(elsewhere)
    made: Task = task(config, data, device, refit=refit)
    return made


def shuffle(count: int, *name: object) -> list[int]:
    """Return the numbers below ``count`` in the random order that a stream's name gives."""
    return torch.randperm(count, generator=build_torch_generator(*name)).tolist()


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into runs of ``size``; the last may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
