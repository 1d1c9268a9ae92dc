"""A training run on one Ray worker: an actor that sends each epoch's checkpoint to the driver.

One worker needs no process group, so it needs no TorchTrainer either, whose controller and helpers
take longer to start than many a run takes to train.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from raytune_yesno.checkpoint import Checkpoint, save_checkpoint
from raytune_yesno.cluster.nodes import find_draining
from raytune_yesno.cluster.session import worker_bundles
from raytune_yesno.config import Config
from raytune_yesno.errors import UnfinishedError, one_line
from raytune_yesno.training.loop import require_accelerator_of_worker
from raytune_yesno.training.lost_processes import MAX_LOSSES
from raytune_yesno.training.payload import RunPayload
from raytune_yesno.training.resume import LAST, keep_last
from raytune_yesno.training.serialization import put_shared
from raytune_yesno.user_code import TaskError, report_errors, unfinished


def run_on_one_worker(
    payload: RunPayload, out: Path, on_epoch: Callable[[dict[str, Any]], None]
) -> None:
    """Train on one worker. If its process or node is lost, continue with another one.

    Raises:
        InputError: the input is at fault, such as what the task reports.
        TaskFailed: the task's own code failed.
        UnfinishedError: workers were lost without finishing an epoch.
    """
    resume, losses = payload.resume, 0
    shared = put_shared(payload.config.task, dataclasses.replace(payload, resume=None))
    while True:
        try:
            for checkpoint in train_elsewhere(payload.config, shared, resume):
                save_checkpoint(checkpoint, out / LAST)
                keep_last(out, payload.config.objective)
                on_epoch(checkpoint.metrics)
                resume, losses = checkpoint, 0
            return
        except RayTaskError as error:
            if isinstance(error.cause, TaskError):
                raise unfinished("training failed", error.cause) from None
            raise UnfinishedError(f"training failed: {error.cause}") from None
        except RayError as error:
            losses += 1
            if losses > MAX_LOSSES:
                reason = one_line(str(error).strip().partition("\n")[0])
                raise UnfinishedError(f"training failed: {reason}") from None


def train_elsewhere(
    config: Config, shared: "ray.ObjectRef[RunPayload]", resume: Checkpoint | None
) -> Iterator[Checkpoint]:
    """Start a worker and yield the checkpoint of every epoch that it trains.

    The worker trains the next epoch meanwhile. If Ray announces that it will take the worker's node
    away, the worker moves: it is started again elsewhere, from the last checkpoint.

    Raises:
        RayTaskError: the task failed.
        RayError: the worker was lost.
    """
    needs = worker_bundles(config)[0]
    create = ray.remote(TrainWorker).options(
        num_cpus=needs["CPU"], num_gpus=needs.get("GPU", 0), memory=needs.get("memory")
    )
    while True:
        worker = create.remote()
        try:
            node = ray.get(worker.begin.remote(shared, resume))
            pending = worker.train_epoch.remote()
            while node not in find_draining():
                checkpoint = ray.get(pending)
                if checkpoint is None:
                    return
                pending = worker.train_epoch.remote()
                yield checkpoint
                resume = checkpoint
        finally:
            ray.kill(worker)


class TrainWorker:
    """The actor that trains."""

    def begin(self, payload: RunPayload, resume: Checkpoint | None) -> str:
        """Prepare for the first epoch and return the id of the actor's node.

        Raises:
            TaskError: torch finds no GPU there, but the config asks for one.
        """
        with report_errors(lambda error: isinstance(error, RayError)):
            if not payload.refit:  # the trials have already reported the missing GPU
                require_accelerator_of_worker(payload.config)
        self._records = payload.records_alone(resume)
        return str(ray.get_runtime_context().get_node_id())

    def train_epoch(self) -> Checkpoint | None:
        """Train an epoch and return its checkpoint; None after the last one.

        Raises:
            TaskError: the task failed.
        """
        with report_errors(lambda error: isinstance(error, RayError)):
            record = next(self._records, None)
            return record.checkpoint() if record else None
