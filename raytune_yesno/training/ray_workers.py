"""A training run on Ray workers: Ray Train's TorchTrainer around the training loop."""

import dataclasses
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model

from raytune_yesno.checkpoint import (
    UnusableCheckpoint,
    copy_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from raytune_yesno.cluster.network import choose_interface
from raytune_yesno.cluster.ray_private import (
    DatasetsCallback,
    PlacementGroupCleanerCallback,
    TorchBackend,
    TrainingFailedError,
)
from raytune_yesno.cluster.reservations import (
    cancel_request,
    list_reserved,
    release_reserved,
    start_coordinator,
)
from raytune_yesno.cluster.session import ends_with_driver, worker_bundles
from raytune_yesno.errors import UnfinishedError, list_chain
from raytune_yesno.files.remote import delete_tree
from raytune_yesno.metrics import Objective
from raytune_yesno.text import last_line
from raytune_yesno.training.loop import (
    REPLICA,
    choose_backend,
    process_rank,
    require_accelerator_of_worker,
)
from raytune_yesno.training.lost_processes import MAX_LOSSES, is_lost
from raytune_yesno.training.malloc import ONE_ARENA
from raytune_yesno.training.payload import RunPayload
from raytune_yesno.training.resume import (
    BEST,
    HISTORY,
    LAST,
    count_epochs,
    find_resumable,
    keep_last,
)
from raytune_yesno.training.serialization import put_shared
from raytune_yesno.user_code import TaskError, report_errors, unfinished

_RAY_FILES, _NOTES, _REQUEST = ".ray", ".notes", ".request"
_GIVE_UP_S = 10.0
_RESIZE_INTERVAL_S = 5.0  # interval at which an elastic run checks for new nodes


def run_on_workers(
    payload: RunPayload,
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None],
    note: Callable[[str], None],
) -> None:
    """Train on workers. If one is lost, restart all of them from the last checkpoint.

    Raises:
        InputError: the input is at fault, such as what the task reports.
        TaskFailed: the task's own code failed.
        UnfinishedError: workers were lost without finishing an epoch.
    """
    losses = 0
    (out / _NOTES).write_text("")
    try:
        with (
            follow_lines(out / HISTORY, lambda line: on_epoch(json.loads(line))),
            follow_lines(out / _NOTES, lambda line: note(line.rstrip())),
        ):
            while cause := fit_on_workers(payload, out):
                resume, damage = find_resumable(out)
                has_trained = count_epochs(resume) > count_epochs(payload.resume)
                losses = 0 if has_trained else losses + 1
                if losses > MAX_LOSSES:
                    raise UnfinishedError(f"training failed: {cause}")
                if resume is None:  # no epoch was finished
                    continue
                if damage:
                    note(damage)
                    copy_checkpoint(out / BEST, out / LAST)
                keep_last(out, payload.config.objective)
                payload = dataclasses.replace(payload, resume=resume)
    finally:
        (out / _NOTES).unlink(missing_ok=True)


class InterfaceBackend(TorchBackend):  # type: ignore[misc]
    """Ray Train's torch backend whose workers choose their network interface first."""

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """Choose the interface on every worker, then set up the process group."""
        worker_group.execute(choose_interface)
        super().on_start(worker_group, backend_config)


class InterfaceConfig(TorchConfig):  # type: ignore[misc]
    """Trainer config that selects :class:`InterfaceBackend`."""

    @property
    def backend_cls(self) -> type[Any]:
        """The backend class that Ray Train instantiates."""
        return InterfaceBackend


class LeanTrainer(TorchTrainer):  # type: ignore[misc]
    """A TorchTrainer without the processes that a run has no use for.

    Each takes 1.5 to 2 s of a core to start: the one that divides datasets, of which there are
    none, and on a cluster that ends with its driver the one that cleans up after a controller.
    """

    def _create_default_callbacks(self) -> list[Any]:
        spared = (DatasetsCallback, *([PlacementGroupCleanerCallback] * ends_with_driver()))
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, spared)]


def fit_on_workers(payload: RunPayload, out: Path) -> str:
    """Train on a TorchTrainer's workers: gloo between CPUs, NCCL between whole GPUs.

    Returns:
        Why a worker was lost, in one line; empty if training finished.

    Raises:
        InputError: the input is at fault, such as what the task reports.
        TaskFailed: the task's own code failed.
    """
    # What a killed command left would be resumed instead of the checkpoint of this run.
    delete_tree(f"{payload.storage}/{_RAY_FILES}")
    start_coordinator()
    shared = put_shared(payload.config.task, payload)
    trainer = LeanTrainer(
        train_worker,
        train_loop_config={"payload": shared},
        torch_config=InterfaceConfig(backend=choose_backend(payload.config)),
        scaling_config=ray.train.ScalingConfig(
            num_workers=payload.config.num_workers,
            elastic_resize_monitor_interval_s=_RESIZE_INTERVAL_S,
            use_gpu=payload.config.use_gpu,
            resources_per_worker=worker_bundles(payload.config)[0],
        ),
        run_config=ray.train.RunConfig(
            name=_RAY_FILES,
            storage_path=payload.storage,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=0),
            callbacks=[CheckpointKeeper(out, payload.config.objective)],
            worker_runtime_env={"env_vars": ONE_ARENA},  # workers run the loop on a thread
        ),
    )
    failures: list[BaseException] = []
    ended = threading.Event()
    reserved = list_reserved()
    forget_request(out)  # left by a run that was interrupted or killed
    request = out / _REQUEST
    request.write_text(trainer.train_run_context.run_id)

    def fit_trainer() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()

    # On the main thread, ``fit`` would replace our SIGINT handler.
    try:
        threading.Thread(target=fit_trainer, daemon=True).start()
        ended.wait()
    finally:
        cancel_request(request.read_text())
        delete_tree(f"{payload.storage}/{_RAY_FILES}")
        # An interrupted controller stops when it finds its files deleted. Wait for it: Ray crashes
        # if it is shut down while a thread waits for the controller.
        ended.wait(_GIVE_UP_S)
    request.unlink()
    for error in failures:
        # RayActorError: the controller has died.
        if not isinstance(error, TrainingFailedError | RayActorError):
            raise error
        release_reserved(list_reserved() - reserved)
        causes = list(list_causes(error))
        for cause in causes:
            if isinstance(cause, TaskError):
                raise unfinished("training failed", cause) from None
        return last_line(str(causes[-1])) or type(causes[-1]).__name__
    return ""


def forget_request(out: Path) -> None:
    """Withdraw the resource request that an unfinished run left in the cluster."""
    request = out / _REQUEST
    if request.exists():
        cancel_request(request.read_text())
        request.unlink()


def train_worker(train_loop_config: dict[str, Any]) -> None:
    """Run the training loop on a Ray Train worker and report every epoch."""
    payload: RunPayload = ray.get(train_loop_config["payload"])
    with report_errors(is_lost):
        if not payload.refit:  # the trials have already reported the missing GPU
            require_accelerator_of_worker(payload.config)
    resume = payload.resume
    if interrupted := ray.train.get_checkpoint():  # the number of workers of this run has changed
        with interrupted.as_directory() as folder:
            resume = load_checkpoint(folder)
    records = payload.records(resume, device=get_device(), prepare=prepare_replica)
    while True:
        with report_errors(is_lost):
            record = next(records, None)
            trained = record.checkpoint() if record and process_rank()[0] == 0 else None
        if record is None:
            return
        # The working folder is Ray Train's own and is deleted with the cluster. A folder in the
        # system's temporary directory would outlive a killed process.
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            checkpoint = None
            if trained:
                save_checkpoint(trained, Path(folder) / "checkpoint")
                checkpoint = ray.train.Checkpoint.from_directory(Path(folder) / "checkpoint")
            ray.train.report(record.metrics, checkpoint=checkpoint)


def prepare_replica(model: torch.nn.Module) -> torch.nn.Module:
    """Move a model to its device and, with several ranks, wrap it for data-parallel training."""
    replica: torch.nn.Module = prepare_model(model, parallel_strategy_kwargs=REPLICA)
    return replica


class CheckpointKeeper(ray.train.UserCallback):  # type: ignore[misc]
    """Copies every epoch's checkpoint into the run's folder.

    Ray Train calls it in a separate process on the driver's node.
    """

    def __init__(self, out: Path, objective: Objective) -> None:
        self.out, self.objective = out, objective

    def after_report(
        self,
        run_context: Any,
        metrics: list[dict[str, Any]],
        checkpoint: ray.train.Checkpoint | None,
    ) -> None:
        """Copy the checkpoint reported by rank 0."""
        if checkpoint:
            with checkpoint.as_directory() as folder:
                try:
                    copy_checkpoint(Path(folder), self.out / LAST)
                except UnusableCheckpoint as error:
                    with (self.out / _NOTES).open("a") as notes:
                        notes.write(f"{error.what}; the previous one is kept\n")
                    return
            keep_last(self.out, self.objective)


def list_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what is behind one of Ray's exceptions, of every worker; a root cause comes last."""
    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values() or (error,):
        yield from list_chain(failure, only_causes=True)


@contextmanager
def follow_lines(file: Path, handle: Callable[[str], None]) -> Iterator[None]:
    """Call ``handle`` with every complete line appended to a file within this context."""
    done = threading.Event()

    def follow() -> None:
        with file.open() as lines:
            lines.seek(0, 2)
            partial = ""
            while True:
                last_look = done.wait(0.1)
                for piece in lines:
                    partial += piece
                    if partial.endswith("\n"):
                        handle(partial)
                        partial = ""
                if last_look:
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
