"""The protocol between the engine and a task: one training loop serves every task.

The built-in tasks are :mod:`raytune_yesno.tasks.speech.task` and :mod:`raytune_yesno.tasks.sine`.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from pkgutil import resolve_name
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from raytune_yesno.config import Config, EngineConfig
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.space import Space, build_space
from raytune_yesno.task_registry import TASKS
from raytune_yesno.user_code import stopped_by_errors

Item = TypeVar("Item")
_READ = "_read_as"
"""Attribute of data: how they were read, for :func:`describe_data`. It is pickled with them."""


@dataclass(frozen=True)
class Step:
    """One training step on one rank.

    Attributes:
        shard: this rank's share of the batch; may be empty.
        scale: factor applied to the loss summed over the whole batch.
    """

    shard: Any
    scale: float


class Data(Protocol):
    """The data of a task. Ray's object store sends them to every node once.

    Data may also have an attribute ``recorded``, a mapping of texts that checkpoints and studies
    record with the source and the fingerprint.
    """

    @property
    def source(self) -> str:
        """Where the data were read from, for people."""

    @property
    def fingerprint(self) -> str:
        """Digest of the content. Runs with different digests are not resumed or compared."""


class Task(Protocol):
    """The class that a config names in its key ``task``.

    The class declares settings, metrics and data. An instance belongs to one run: the training
    loop asks it for a model, steps, losses and validation. Losses and validation figures are sums
    over examples, so that they add up over data-parallel ranks. A rank without examples
    contributes zeros.

    Example:
        A task that fits a line. It runs as ``tune --task line.py:Line --space FILE``, with a space
        of ``learning_rate``::

            import torch
            from raytune_yesno.metrics import Metric
            from raytune_yesno.tasks.task import Step

            class Line:
                metrics = (Metric("loss"),)
                steps_per_epoch, steps_per_pass, train_scale = 10, 1, 1 / 64

                def __init__(self, config, data, device, *, refit=False):
                    self.x = torch.linspace(-1, 1, 64, device=device)[:, None]  # (64, 1)

                def build_model(self):
                    return torch.nn.Linear(1, 1)

                def steps(self, epoch, rank, world_size):
                    for _ in range(self.steps_per_epoch):
                        yield Step(self.x[rank::world_size], scale=1 / 64)

                def loss(self, model, shard, progress):
                    return (model(shard) - 3 * shard).square().sum()

                def validate(self, model, rank, world_size):
                    part = self.x[rank::world_size]
                    sums = self.loss(model, part, 1.0).item(), len(part)
                    return torch.tensor(sums, dtype=torch.float64)

                def metrics_of(self, sums):
                    return {"loss": (sums[0] / sums[1]).item()}

    A class may also have the other parts that
    :class:`~raytune_yesno.task_declaration.TaskDeclaration` lists, such as ``Settings`` (its config
    keys), ``defaults``, ``space``, ``load_data`` and ``test``. An instance may have an attribute
    ``calibration``: None, or a dict of floats that the checkpoint of the epoch keeps, such as a
    threshold that :meth:`metrics_of` chooses. It is ``checkpoint.calibration`` in ``test``.
    """

    metrics: ClassVar[Sequence[Metric]]
    """Metrics reported after each epoch: the objective first, then those that break ties."""

    steps_per_epoch: int
    """Training steps between two validations."""
    steps_per_pass: int
    """Training steps in one pass over the training part."""
    train_scale: float
    """Factor from the training loss summed over a pass to the reported training loss."""

    def __init__(
        self, config: Any, data: Any, device: torch.device, *, refit: bool = False
    ) -> None:
        """Prepare a run.

        Args:
            config: a :class:`~raytune_yesno.config.Config` with the keys of ``Settings``.
            data: the result of ``load_data``; None for a task without it.
            device: device for the computation.
            refit: train on the training and validation parts together, without validation.
        """

    def build_model(self) -> nn.Module:
        """Return an untrained model."""

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        """Yield one rank's share of the steps of an epoch.

        The whole batches do not depend on the number of ranks.

        Args:
            epoch: number of the epoch, from 1.
            rank: rank of this process.
            world_size: number of ranks.
        """

    def loss(self, model: nn.Module, shard: Any, progress: float) -> Tensor:
        """Return the loss summed over a shard.

        Args:
            model: the model in training mode.
            shard: the shard of a :class:`Step`; may be empty.
            progress: share of training done, in (0, 1].

        Returns:
            A scalar that carries a gradient.
        """

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        """Return sums over this rank's share of the validation examples.

        Returns:
            Any number S of them, such as a loss and the number of examples: float64, shape (S,).
            They are added up over the ranks.
        """

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        """Return the metrics of an epoch; empty without validation.

        Args:
            sums: the results of :meth:`validate`, added up over all ranks: float64, shape (S,).
        """


def find_space(config: Config) -> Space:
    """Return the default search space of the config's task; empty if the task has none."""
    space = config.declaration.space
    found = space(config) if callable(space) else space
    return build_space(found) if found else {}


def load_data(config: Config, source: str, **options: Any) -> Data | None:
    """Read the data of the config's task, on the driver.

    Args:
        config: names the task.
        source: the user's choice, such as a folder.
        options: ``skip_bad`` leaves bad items out; ``progress`` is called with the number of bytes
            read and the total.

    Returns:
        The data; None if the task needs none.

    Raises:
        InputError: the data cannot be read, are too few, or lack a source or a fingerprint.
        TaskFailed: the user's code raised an error.
    """
    load = config.declaration.load_data
    if load is None:
        return None
    is_own, failed = config.task not in TASKS, f"{config.task}: it cannot read the data {source!r}"
    with stopped_by_errors(failed) if is_own else contextlib.nullcontext():
        found: Data | None = load(source, config=config, **options)
    if found is not None:
        for name in ("source", "fingerprint"):
            value = getattr(found, name, None)
            if not isinstance(value, str | int | PurePath):  # their text is the same in every run
                lack = f"whose {name} is a {type(value).__name__}, not text"
                raise InputError(
                    f"{config.task}: load_data returned a {type(found).__name__} "
                    f"{f'without {name}' if value is None else lack}; "
                    "return an object with the texts source and fingerprint"
                )
        read = {"data": source, **({"skip_bad": "yes"} if options.get("skip_bad") else {})}
        with contextlib.suppress(AttributeError, TypeError):  # with slots, or a class: not recorded
            object.__setattr__(found, _READ, read)
    return found


def describe_data(data: Data | None) -> dict[str, str]:
    """Return the recorded description of the data, empty without data.

    It has ``source``, ``fingerprint`` and the texts of the data's attribute ``recorded``, if any,
    such as the words that the classes of a model stand for. Of data that :func:`load_data` read, it
    has ``data``, the source as the user named it, and ``skip_bad`` if bad items were left out.
    """
    if data is None:
        return {}
    recorded = getattr(data, "recorded", {})
    read = getattr(data, _READ, {})
    about = {"source": data.source, "fingerprint": data.fingerprint, **recorded, **read}
    return {str(key): str(value) for key, value in about.items()}


def left_out_bad(recorded: Mapping[str, Any] | None) -> bool:
    """Return whether bad items were left out of recorded data, see :func:`describe_data`."""
    return (recorded or {}).get("skip_bad") == "yes"


def check_same_data(data: Data | None, trained_on: Mapping[str, Any], what: str) -> None:
    """Check that data are those of earlier work.

    Args:
        data: the task's data; None for a task without data.
        trained_on: the description that the work has recorded, see :func:`describe_data`.
        what: the work, for the message: a path, and whether it is a study or a run.

    Raises:
        InputError: the work used other data.
    """
    if data is not None and str(data.fingerprint) != str(trained_on.get("fingerprint")):
        same = str(data.source) == str(trained_on.get("source"))
        advice = "restore it, or train again in another folder" if same else "give the same data"
        raise InputError(f"{what} was {describe_change(data, trained_on)}; {advice}")


def describe_change(data: Data, trained_on: Mapping[str, Any]) -> str:
    """Return on which data a model was trained, and that others are given or they have changed.

    Args:
        data: the data that are given.
        trained_on: as for :func:`check_same_data`.
    """
    before, fingerprint = trained_on.get("source"), trained_on.get("fingerprint")
    text = f"trained on {before or 'unknown data'} ({fingerprint}), "
    if str(data.source) == str(before):
        return f"{text}which has changed ({data.fingerprint})"
    return f"{text}not on {data.source} ({data.fingerprint})"


def open_records(config: EngineConfig, data: Data | None, **options: Any) -> Iterator[Any]:
    """Run a task: yield one record an epoch.

    The loop is :func:`raytune_yesno.training.loop.fit`, which trains a PyTorch model, or the one
    that the task names. A loop takes the arguments of ``fit`` and yields its records; it is all
    that the engine knows of a run.
    """
    loop = resolve_name(config.declaration.loop)
    records: Iterator[Any] = loop(config, data, **options)
    return records


def build_task(
    config: Config, data: Data | None, device: torch.device, *, refit: bool = False
) -> Task:
    """Create the task that ``config`` names. The arguments are those of :class:`Task`."""
    declared = config.declaration
    implementation = declared.implementation
    cls: Any = resolve_name(implementation) if implementation else declared.source
    task: Task = cls(config, data, device, refit=refit)
    return task


def shuffle(count: int, *name: object) -> list[int]:
    """Return a random permutation of the numbers below ``count``.

    Args:
        count: length of the permutation.
        name: name of the random stream. The order depends only on it and on ``count``.
    """
    return torch.randperm(count, generator=build_torch_generator(*name)).tolist()


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield batches of ``size`` consecutive items; the last may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
