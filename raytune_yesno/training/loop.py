"""The training loop for every task, model and runtime.

:func:`fit` is a generator that yields one record per epoch. Its caller decides what a record
becomes: a report to Ray Train, a report to Ray Tune, or a printed line. This module does not import
Ray; it learns about other ranks only through ``torch.distributed``.
"""

import math
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from raytune_yesno.checkpoint import (
    Checkpoint,
    check_storable,
    load_optimizer,
    restore_model,
    save_checkpoint,
)
from raytune_yesno.config import Config
from raytune_yesno.errors import EveryTrialFails, InputError
from raytune_yesno.metrics import check_reported, read_metrics
from raytune_yesno.seeding import derive_seed
from raytune_yesno.tasks.dropout import begin_step
from raytune_yesno.tasks.task import Data, Task, build_task, describe_data
from raytune_yesno.training.costs import Costs
from raytune_yesno.training.malloc import keep_freed_memory
from raytune_yesno.training.optimizers import without_compiler

REPLICA: dict[str, Any] = {"gradient_as_bucket_view": True}
"""Options for ``DistributedDataParallel``: gradients are views into the all-reduce buckets."""


@dataclass(frozen=True)
class Record:
    """The result of an epoch.

    Attributes:
        metrics: ``epoch`` (from 1), ``train_loss``, the task's own metrics, ``learning_rate`` (at
            the end of the epoch), ``world_size`` (number of ranks) and ``seconds`` (duration of the
            epoch on this rank). All values except ``seconds`` are equal on all ranks.
        diverged: see :meth:`Objective.has_diverged`. Training ends with such a record.
        checkpoint: builds the checkpoint of this epoch. Call it before requesting the next record.
        last: whether it is known that no record follows.
    """

    metrics: dict[str, Any]
    diverged: bool
    checkpoint: Callable[[], Checkpoint]
    last: bool = False

    def save(self, folder: Path) -> None:
        """Write this epoch's checkpoint. Valid only until the next record is requested."""
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
    """Train, yielding one :class:`Record` per epoch.

    The number of data-parallel workers does not change the result. ``batch_size`` is the global
    batch size. Rank r takes every world-size-th example of a batch. Gradients and metrics are sums
    over examples divided by the size of the global batch. Dropout masks depend on the example, not
    on the rank (:mod:`raytune_yesno.tasks.dropout`).

    An interruption does not change the result either. Every epoch starts by reseeding from
    (seed, epoch, rank), so a resumed run ends with the same weights as an uninterrupted one (bit
    for bit on a CPU with the same number of threads and workers).

    Args:
        config: the hyperparameters and settings of the run.
        data: the return value of the task's ``load_data``; None for a task without data.
        prepare: moves the model to its device and wraps it for its process group.
        device: the device to train on.
        resume: the checkpoint to resume from.
        refit: train on the training and validation parts together and skip validation.

    Yields:
        The record of each epoch after ``resume``, up to ``config.epochs`` or divergence.
    """
    keep_freed_memory()
    costs = Costs(config, data) if not refit else None
    device = torch.device(device)
    rank, world_size = process_rank()
    with flush_subnormal():  # torch's other threads start here and inherit the mode
        task = build_task(config, data, device, refit=refit)
        torch.manual_seed(config.seed)
        model = restore_model(task.build_model, resume) if resume else task.build_model()
        if not isinstance(model, nn.Module):
            raise wrong_result("build_model", model, "a torch.nn.Module")
        check_numbers(task)
        check_dtype(config, model)
        replica = prepare(model)
        if world_size > 2:  # with two ranks the order of the sum cannot change the result
            fix_reduction_order(task, replica)
    optimizer = build_optimizer(config, model)
    if resume:
        load_optimizer(optimizer, resume)
    history = list(resume.history) if resume else []
    about_data = describe_data(data)

    def check_state() -> None:
        check_storable(model.state_dict(), about_data, getattr(task, "calibration", None))

    def build_checkpoint() -> Checkpoint:
        return Checkpoint(
            config=config,
            corpus=about_data,
            epoch=len(history),
            history=list(history),
            refit=refit,
            state_dict=on_cpu(model.state_dict()),
            optimizer=on_cpu(optimizer.state_dict()),
            calibration=getattr(task, "calibration", None),
        )

    check_state()
    for epoch in range(len(history) + 1, config.epochs + 1):
        started = time.perf_counter()
        torch.manual_seed(derive_seed("epoch", config.seed, epoch, rank))
        with flush_subnormal():
            train_loss = train_epoch(config, task, replica, optimizer, epoch)
            with mixed_precision(config, device):
                found = read_metrics(validate(task, model, device), epoch)
            metrics = {"epoch": epoch, "train_loss": train_loss, **found}
        metrics.setdefault("learning_rate", optimizer.param_groups[0]["lr"])
        metrics["world_size"] = world_size
        metrics["seconds"] = time.perf_counter() - started
        if costs:
            metrics |= costs.after(history, metrics["seconds"])
            check_reported(config.objective, metrics, epoch)
        check_state()  # the calibration; a trial may train to its end without a checkpoint
        history.append(metrics)
        diverged = config.objective.has_diverged(metrics)
        yield Record(metrics, diverged, build_checkpoint, diverged or epoch == config.epochs)
        if diverged:
            return


def on_cpu(state: Any) -> Any:
    """Return a state dict with its tensors on the CPU, where every process can read them."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, Mapping):
        return {key: on_cpu(value) for key, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state


@contextmanager
def flush_subnormal() -> Iterator[None]:
    """Flush subnormal numbers (below 1e-38 in single precision) to zero within this context.

    The gradients of a network that has converged become subnormal, and a CPU takes about a hundred
    times as long for each operation on them. The mode applies to the calling thread. It is restored
    on exit because other code may depend on subnormal numbers.
    """
    before = sys.float_info.min / 2 == 0  # torch has no function to read the mode
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def mixed_precision(config: Config, device: torch.device) -> torch.autocast:
    """Return a context in which products are computed in bfloat16 if the config says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.dtype == "bfloat16")


def fix_reduction_order(task: Task, replica: nn.Module) -> None:
    """Run one discarded backward pass so that ``DistributedDataParallel`` fixes its buckets.

    It rebuilds its gradient buckets after the first backward pass, which changes the order of the
    sums. Without this pass, a resumed run on three or more ranks would differ in the last bits from
    an uninterrupted one. Buffers, such as the statistics of a batch normalisation, are restored.
    """
    before = [buffer.clone() for buffer in replica.buffers()]
    first = next(iter(task.steps(1, *process_rank())))
    task.loss(replica, first.shard, 1.0).backward()
    check_all_used(replica)
    replica.zero_grad()
    for buffer, value in zip(replica.buffers(), before, strict=True):
        buffer.copy_(value)


def check_all_used(replica: nn.Module) -> None:
    """Check, after a backward pass, that the loss has used every parameter.

    ``DistributedDataParallel`` waits for the gradients of all of them.

    Raises:
        EveryTrialFails: it has not used one.
    """
    for name, parameter in replica.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise EveryTrialFails(
                f"{name.removeprefix('module.')} of the task's model does not affect the loss; "
                "data-parallel training needs a gradient for every parameter; use it in every "
                "step, remove it, set its requires_grad to False, or train with one worker"
            )


def train_epoch(
    config: Config, task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int
) -> float:
    """Train one epoch and return the training loss of its last pass over the data."""
    rank, world_size = process_rank()
    model.train()
    trained = optimizer.param_groups[0]["params"]
    device = trained[0].device
    losses: list[Tensor] = []
    steps = task.steps(epoch, rank, world_size)
    if not isinstance(steps, Iterable):
        raise wrong_result("steps", steps, "the steps of an epoch")
    for number, step in enumerate(steps, start=1):
        if not hasattr(step, "shard"):
            raise wrong_result("steps", step, "Step(shard, scale) for each step")
        progress = (epoch - 1 + number / task.steps_per_epoch) / config.epochs
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(progress, config)
        optimizer.zero_grad()
        begin_step(model, rank, world_size, config.seed, epoch, number)
        with mixed_precision(config, device):
            loss = task.loss(model, step.shard, progress)
        if not isinstance(loss, Tensor) or loss.ndim:
            raise wrong_result("loss", loss, "a scalar tensor, the sum over its shard")
        # DistributedDataParallel averages gradients over ranks; the global batch needs their sum.
        (loss * (step.scale * world_size)).backward()
        if world_size > 1 and any(p.grad is None for p in trained):
            check_all_used(model)
        if config.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        losses.append(loss.detach())
    if not losses:
        raise InputError("steps of the task has yielded nothing: there is no batch to train on")
    total = torch.stack(losses[-int(task.steps_per_pass) :]).double().sum()
    return sum_over_ranks(total).item() * task.train_scale


@torch.no_grad()
def validate(task: Task, model: nn.Module, device: torch.device) -> dict[str, float]:
    """Return the validation metrics. They are equal on all ranks.

    The statistics of a batch normalisation differ by rank. All ranks validate with those of rank 0,
    which are saved.
    """
    if process_rank()[1] > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
    model.eval()
    sums = task.validate(model, *process_rank())
    if not isinstance(sums, Tensor):
        raise wrong_result("validate", sums, "a tensor of sums")
    return task.metrics_of(sum_over_ranks(sums.to(device)))


def check_numbers(task: Task) -> None:
    """Check the numbers that the loop reads from a task.

    Raises:
        InputError: one is missing, or not a positive number.
    """
    for name in ("steps_per_epoch", "steps_per_pass", "train_scale"):
        value = getattr(task, name, None)
        if not isinstance(value, Real) or not float(value) > 0:
            raise InputError(f"{name} of the task has to be a number above 0, not {value!r:.60}")
    if not float(task.steps_per_pass).is_integer():
        raise InputError(f"steps_per_pass of the task has to be whole, not {task.steps_per_pass!r}")


def check_dtype(config: Config, model: nn.Module) -> None:
    """Check that a model has double precision if the config says so.

    Raises:
        EveryTrialFails: it has not: the task ignores ``dtype``.
    """
    types = {each.dtype for each in model.parameters() if each.is_floating_point()}
    if config.dtype == "float64" and types and torch.float64 not in types:
        raise EveryTrialFails(
            "dtype=float64: build_model of the task returns a model in single precision; convert "
            "model and data to getattr(torch, config.stored_dtype), or start a new run without "
            "dtype"
        )


def wrong_result(method: str, value: Any, wanted: str) -> EveryTrialFails:
    """Return the error about what a method of a task has returned."""
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return EveryTrialFails(
        f"{method} of the task has to return {wanted}, not a {type(value).__name__}{shape}"
    )


def learning_rate_at(progress: float, config: Config) -> float:
    """Return the learning rate at ``progress`` in (0, 1]: linear warm-up, then half a cosine."""
    peak, warmup = config.learning_rate, config.warmup
    if progress < warmup:
        return peak * progress / warmup
    descent = (progress - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return peak * (1 - config.lr_decay * (1 - math.cos(math.pi * descent)) / 2)


def build_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser named by ``config`` for the model's parameters."""
    kinds: dict[str, Any] = {
        "sgd": torch.optim.SGD,
        "rmsprop": torch.optim.RMSprop,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer in ("sgd", "rmsprop"):
        options["momentum"] = config.momentum
    else:
        options["betas"] = (config.momentum, 0.999)
    if config.optimizer != "rmsprop":  # it has no fused version
        options["fused"] = True  # one kernel per step
    return without_compiler(kinds[config.optimizer])(model.parameters(), **options)


def find_device(config: Config) -> torch.device:
    """Return the process's accelerator if ``use_gpu`` is set and one is available, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found and config.use_gpu else torch.device("cpu")


def choose_backend(config: Config) -> str | None:
    """Return the collectives for a config's ranks; None for the default of their device.

    NCCL refuses ranks that share a GPU; gloo takes them, through the memory of the CPU.
    """
    return "gloo" if config.use_gpu and config.gpus_per_worker < 1 else None


def require_accelerator(config: Config) -> None:
    """Check that this process finds the GPU that is asked for. A function may not need torch.

    Raises:
        InputError: ``use_gpu`` is set for a PyTorch task, but torch finds no GPU.
    """
    if lacks_accelerator(config):
        raise InputError(
            "use_gpu: torch finds no GPU on this machine; omit --use-gpu (to resume a run: give "
            "--set use_gpu=false), or give --num-workers and the --address of a cluster with a GPU"
        )


def require_accelerator_of_worker(config: Config) -> None:
    """Check that torch finds the GPU that Ray has given a worker. A function may not need torch.

    Raises:
        InputError: ``use_gpu`` is set for a PyTorch task, but torch finds no GPU.
    """
    if lacks_accelerator(config):
        raise InputError(
            f"use_gpu: torch finds no GPU on node {socket.gethostname()}, where Ray has given one; "
            "install a torch with GPU support there, or omit --use-gpu (to resume a run: give "
            "--set use_gpu=false)"
        )


def lacks_accelerator(config: Config) -> bool:
    """Return whether a model is trained on the CPU although the config asks for a GPU."""
    is_wanted = config.use_gpu and config.declaration.trains_model
    return is_wanted and find_device(config).type == "cpu"


def process_rank() -> tuple[int, int]:
    """Return this process's rank and the world size; (0, 1) outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum a tensor over all ranks, in place."""
    if process_rank()[1] > 1:
        dist.all_reduce(values)
    return values
