"""The training loop: one for every task, model and host.

:func:`fit` is a generator that yields a record an epoch. Who drives it decides what a record
becomes: a report to Ray Train, a report to Ray Tune, a printed line. It imports no Ray and looks
at the world only through ``torch.distributed``.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from raytune_yesno.checkpoint import (
    Checkpoint,
    load_optimizer,
    restore_model,
    save_checkpoint,
)
from raytune_yesno.config import Config
from raytune_yesno.errors import InputError
from raytune_yesno.seeding import derive_seed
from raytune_yesno.tasks.dropout import begin_step
from raytune_yesno.tasks.task import Data, Task, build_task, describe_data
from raytune_yesno.training.malloc import keep_freed_memory

REPLICA: dict[str, Any] = {"gradient_as_bucket_view": True}
"""How to wrap a model in ``DistributedDataParallel``: gradients lie where they are added up."""


@dataclass(frozen=True)
class Record:
    """The result of an epoch.

    Attributes:
        metrics: ``epoch`` (from 1), ``train_loss``, the task's own metrics, ``learning_rate`` (at
            the epoch's end), ``world_size`` (ranks that trained it) and ``seconds`` (this epoch, on
            this rank); the same on all ranks, except the seconds.
        diverged: a metric is not a finite number; this is the last record.
        checkpoint: makes the checkpoint of this epoch; call it before asking for the next record.
    """

    metrics: dict[str, Any]
    diverged: bool
    checkpoint: Callable[[], Checkpoint]

    def save(self, folder: Path) -> None:
        """Write this epoch's checkpoint; only valid until the next record is asked for."""
        save_checkpoint(self.checkpoint(), folder)


def fit(
    config: Config,
    data: Data | None = None,
    *,
    prepare: Callable[[nn.Module], nn.Module] = lambda model: model,
    device: str | torch.device = "cpu",
    resume: Checkpoint | None = None,
    refit: bool = False,
) -> Iterator[Record]:
    """Train, yielding one :class:`Record` an epoch.

    The number of data-parallel workers does not change the result: ``batch_size`` is that of all
    ranks together, rank r takes every world-size-th example of a batch, gradients and metrics are
    sums over examples divided by the whole batch's count, and dropout's masks belong to examples
    (:mod:`raytune_yesno.tasks.dropout`). Nor does a pause: every epoch begins by
    reseeding from (seed, epoch, rank), so a run resumed from a checkpoint ends with the weights of
    one left alone (bit for bit on a CPU with the same number of threads and workers).

    Args:
        data: what the task's ``load_data`` returned; None for a task without data.
        prepare: makes the model ready for its device and its process group, in place.
        device: where to compute.
        resume: go on after this checkpoint.
        refit: train on the training and validation parts together, and validate nothing.
    """
    keep_freed_memory()
    device = torch.device(device)
    rank, world_size = process_rank()
    with flush_subnormal():  # torch's other threads, which begin here, inherit it
        task = build_task(config, data, device, refit=refit)
        torch.manual_seed(config.seed)
        model = restore_model(task.build_model, resume) if resume else task.build_model()
        replica = prepare(model)
        if world_size > 2:  # two addends come to the same in either order
            fix_reduction_order(task, replica)
    optimizer = build_optimizer(config, model)
    if resume:
        load_optimizer(optimizer, resume)
    history = list(resume.history) if resume else []
    about_data = describe_data(data)

    for epoch in range(len(history) + 1, config.epochs + 1):
        started = time.perf_counter()
        torch.manual_seed(derive_seed("epoch", config.seed, epoch, rank))
        with flush_subnormal():
            train_loss = train_epoch(config, task, replica, optimizer, epoch)
            metrics = {"epoch": epoch, "train_loss": train_loss, **validate(task, model, device)}
        metrics["learning_rate"] = optimizer.param_groups[0]["lr"]
        metrics["world_size"] = world_size
        metrics["seconds"] = time.perf_counter() - started
        history.append(metrics)
        diverged = not is_finite(metrics)
        yield Record(
            metrics,
            diverged,
            lambda: Checkpoint(
                config=config,
                corpus=about_data,
                epoch=len(history),
                history=list(history),
                refit=refit,
                state_dict={name: value.cpu() for name, value in model.state_dict().items()},
                optimizer=optimizer.state_dict(),
                calibration=getattr(task, "calibration", None),
            ),
        )
        if diverged:
            return


@contextmanager
def flush_subnormal() -> Iterator[None]:
    """Take numbers below the smallest normal one, 1e-38 in single precision, for zero meanwhile.

    The gradients of a network that fits sink so low, and each operation on one takes a CPU a
    hundred times as long. It counts for the calling thread, and is undone: other code may need
    them.
    """
    before = sys.float_info.min / 2 == 0  # torch does not tell
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def fix_reduction_order(task: Task, replica: nn.Module) -> None:
    """Have ``DistributedDataParallel`` choose in what order it adds gradients up.

    It does so after its first backward pass, which therefore must not count: a resumed run of three
    ranks or more would differ in the last bits from one left alone.
    """
    first = next(task.steps(1, *process_rank()))
    task.loss(replica, first.shard, 1.0).backward()
    replica.zero_grad()


def train_epoch(
    config: Config, task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int
) -> float:
    """Take an epoch's steps and return its training loss, of its last pass over the data."""
    rank, world_size = process_rank()
    model.train()
    losses: list[Tensor] = []
    for number, step in enumerate(task.steps(epoch, rank, world_size), start=1):
        progress = (epoch - 1 + number / task.steps_per_epoch) / config.epochs
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(progress, config)
        optimizer.zero_grad()
        begin_step(model, rank, world_size, config.seed, epoch, number)
        loss = task.loss(model, step.shard, progress)
        # Data-parallel gradients are averaged over ranks; the batch's is their sum.
        (loss * (step.scale * world_size)).backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        losses.append(loss.detach())
    total = torch.stack(losses[-task.steps_per_pass :]).double().sum()
    return sum_over_ranks(total).item() * task.train_scale


@torch.no_grad()
def validate(task: Task, model: nn.Module, device: torch.device) -> dict[str, float]:
    """Return the validation metrics, the same on all ranks."""
    model.eval()
    sums = task.validate(model, *process_rank()).to(device)
    return task.metrics_of(sum_over_ranks(sums))


def learning_rate_at(progress: float, config: Config) -> float:
    """Return the learning rate at a share of training in (0, 1]: linear warm-up, half cosine."""
    peak, warmup = config.learning_rate, config.warmup
    if progress < warmup:
        return peak * progress / warmup
    descent = (progress - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return peak * (1 - config.lr_decay * (1 - math.cos(math.pi * descent)) / 2)


def build_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser that ``config`` names over the model's parameters."""
    rate: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    fused = {**rate, "fused": True}  # one kernel a step, which RMSprop alone does not have
    match config.optimizer:
        case "sgd":
            return torch.optim.SGD(model.parameters(), momentum=config.momentum, **fused)
        case "rmsprop":
            return torch.optim.RMSprop(model.parameters(), momentum=config.momentum, **rate)
        case "adam":
            return torch.optim.Adam(model.parameters(), betas=(config.momentum, 0.999), **fused)
        case _:
            return torch.optim.AdamW(model.parameters(), betas=(config.momentum, 0.999), **fused)


def find_device(config: Config) -> torch.device:
    """Return the accelerator that this process was given; the CPU if none was, or none is found."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found and config.use_gpu else torch.device("cpu")


def require_accelerator(config: Config) -> None:
    """Raise InputError if a GPU was asked for, and this process finds none."""
    if config.use_gpu and find_device(config).type == "cpu":
        raise InputError(
            "use_gpu: torch finds no GPU on this machine; leave --use-gpu out, or give "
            "--num-workers and the --address of a cluster that has one"
        )


def is_finite(metrics: dict[str, Any]) -> bool:
    """Whether every metric is a finite number."""
    return all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))


def process_rank() -> tuple[int, int]:
    """Return this process's rank and the world size; (0, 1) outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add a tensor up over all ranks, in place."""
    if process_rank()[1] > 1:
        dist.all_reduce(values)
    return values
