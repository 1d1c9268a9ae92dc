"""One training run, on Ray workers or in the calling process.

See :mod:`raytune_yesno.training.resume` for the contents of the run's folder.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.checkpoint import load_checkpoint, save_checkpoint
from raytune_yesno.config import Config
from raytune_yesno.cpus import one_thread
from raytune_yesno.errors import TaskFailed
from raytune_yesno.files.full_disk import wait_until_writable
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.tasks.task import Data
from raytune_yesno.training.loop import require_accelerator
from raytune_yesno.training.payload import RunPayload
from raytune_yesno.training.resume import (
    BEST,
    HISTORY,
    LAST,
    find_resumable,
    keep_last,
    load_resumable,
)
from raytune_yesno.user_code import stopped_by_errors

_SPARE_BYTES = 1 << 20


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        best: folder of the checkpoint of the best epoch by the config's objective; of the last
            epoch if nothing was validated.
        last: folder of the checkpoint of the last epoch.
        history: metrics of every epoch, from the first.
        diverged: whether the last epoch has, see :meth:`Objective.has_diverged`.
    """

    best: Path
    last: Path
    history: list[dict[str, Any]]
    diverged: bool


def run_training(
    config: Config,
    data: Data | None,
    out: Path | OutputFolder,
    *,
    resume: bool = False,
    refit: bool = False,
    epochs: int | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
    note: Callable[[str], None] = lambda line: None,
) -> Run:
    """Train on ``config.num_workers`` workers, or in the calling process if there are none.

    To train on workers, Ray must be initialised and have room for them
    (:func:`raytune_yesno.cluster.session.count_fitting`). An elastic run continues with fewer
    workers when nodes are lost and with more when nodes join. An unfinished epoch is repeated.

    If the disk of ``out`` is full, the run waits for space and then continues from its last
    checkpoint.

    Args:
        config: hyperparameters and settings of the run.
        data: the task's data; None for a task without data.
        out: the run's folder. Only this process writes there. Nodes with workers must reach it, or
            the storage of an :class:`OutputFolder`.
        resume: whether to resume from the last checkpoint in ``out``.
        refit: whether to train on the training and validation parts together.
        epochs: the number of epochs to stop after. The learning rate still follows
            ``config.epochs``, which is the default.
        on_epoch: called with the metrics at the end of every epoch.
        note: called with a line on each unusable checkpoint and on what was used instead.

    Returns:
        The finished run.

    Raises:
        InputError: there is nothing to resume, or the run was trained on other data.
        TaskFailed: the task's own code failed.
        UnfinishedError: the workers failed, or a state found no space in the temporary folder.
    """
    out = OutputFolder.of(out)
    folder = out.path
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = load_resumable(folder, data, note) if resume else None
    payload = RunPayload(config, data, checkpoint, refit, epochs or config.epochs, out.storage)
    while True:
        try:
            return _train(payload, folder, on_epoch, note)
        except TaskFailed:
            raise
        except (OSError, RuntimeError):
            if not wait_until_writable(folder, measure_need(payload, folder), note):
                raise
            payload = dataclasses.replace(payload, resume=find_resumable(folder)[0])


def measure_need(payload: RunPayload, out: Path) -> int:
    """Return the bytes that must be free to write the next checkpoint."""
    sizes = [
        sum(file.stat().st_size for file in (out / name).glob("*") if file.is_file())
        for name in (LAST, BEST)
    ]
    # Ray Train keeps one or two copies of its own in the storage of several workers.
    is_shared = payload.config.max_workers > 1 and Path(payload.storage).absolute() == out
    copies = 3 if is_shared else 1
    return copies * max(sizes) + _SPARE_BYTES


def _train(
    payload: RunPayload,
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None],
    note: Callable[[str], None],
) -> Run:
    """Train from the payload's checkpoint to the last epoch."""
    history = payload.resume.history if payload.resume else []
    (out / HISTORY).write_text("".join(json.dumps(metrics) + "\n" for metrics in history))
    if payload.resume:
        keep_last(out, payload.config.objective)  # the run may have ended before it did this
    objective = payload.config.objective
    if len(history) < payload.epochs and not (history and objective.has_diverged(history[-1])):
        if payload.config.num_workers == 0:
            run_here(payload, out, on_epoch)
        elif payload.config.num_workers == 1:
            from raytune_yesno.training.one_worker import run_on_one_worker

            run_on_one_worker(payload, out, on_epoch)
        else:
            from raytune_yesno.training.ray_workers import run_on_workers

            run_on_workers(payload, out, on_epoch, note)
    elif payload.config.max_workers > 1:
        from raytune_yesno.training.ray_workers import forget_request

        forget_request(out)  # left by a run interrupted after its last epoch
    last = load_checkpoint(out / LAST)
    return Run(out / BEST, out / LAST, last.history, objective.has_diverged(last.metrics))


def run_here(payload: RunPayload, out: Path, on_epoch: Callable[[dict[str, Any]], None]) -> None:
    """Train in the calling process, where a debugger can attach.

    Torch computes on one thread, as in a Ray worker: so the results are the same bits. The
    environment variable ``OMP_NUM_THREADS`` sets another number for both.
    """
    require_accelerator(payload.config)
    records = payload.records_alone(payload.resume)
    while True:
        with (
            nullcontext() if "OMP_NUM_THREADS" in os.environ else one_thread(),
            stopped_by_errors("training failed"),
        ):
            record = next(records, None)
            if record is None:
                return
            checkpoint = record.checkpoint()
        save_checkpoint(checkpoint, out / LAST)
        keep_last(out, payload.config.objective)
        on_epoch(record.metrics)
