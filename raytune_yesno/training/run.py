"""One data-parallel training run: Ray Train's TorchTrainer around the training loop.

A run's folder holds ``best`` and ``last``, two checkpoints, and ``history.jsonl``, a line an epoch;
all are written as an epoch ends, so that a run cut off at any moment can go on.
"""

import dataclasses
import json
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model

from raytune_yesno.checkpoint import (
    DESCRIPTION,
    Checkpoint,
    UnusableCheckpoint,
    copy_checkpoint,
    load_checkpoint,
    recover_folder,
    save_checkpoint,
)
from raytune_yesno.cluster.network import choose_interface
from raytune_yesno.cluster.ray_private import TorchBackend, TrainingFailedError
from raytune_yesno.cluster.reservations import cancel_request, list_reserved, release_reserved
from raytune_yesno.cluster.session import worker_bundles
from raytune_yesno.config import Config
from raytune_yesno.errors import InputError, UnfinishedError
from raytune_yesno.files.remote import delete_tree
from raytune_yesno.files.writable import wait_until_writable
from raytune_yesno.metrics import Objective
from raytune_yesno.tasks.task import Data
from raytune_yesno.training.loop import (
    REPLICA,
    Record,
    find_device,
    fit,
    is_finite,
    process_rank,
    require_accelerator,
)
from raytune_yesno.training.malloc import ONE_ARENA

BEST, LAST, HISTORY = "best", "last", "history.jsonl"
DAMAGE = "damage"
_RAY_FILES, _NOTES, _REQUEST = ".ray", ".notes", ".request"
_MAX_FAILURES = 3  # before an epoch is finished
_GIVE_UP_S = 10.0
_SPARE_BYTES = 1 << 20
_RESIZE_INTERVAL_S = 5.0  # at which an elastic run looks for nodes that have joined


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        best: the checkpoint of the epoch that is best by the config's objective; without
            validation, of the last epoch.
        last: the checkpoint of the last epoch.
        history: one record an epoch, from the first.
        diverged: the loss stopped being a number.
    """

    best: Path
    last: Path
    history: list[dict[str, Any]]
    diverged: bool


@dataclass(frozen=True)
class Payload:
    """All that a worker needs, handed over as one object."""

    config: Config
    data: Data | None
    resume: Checkpoint | None
    refit: bool
    epochs: int
    place: str

    def records(self, resume: Checkpoint | None, **host: Any) -> Iterator[Record]:
        """Train up to ``epochs`` and yield the records; ``host`` goes to :func:`loop.fit`."""
        records = fit(self.config, self.data, resume=resume, refit=self.refit, **host)
        for _ in range(count_epochs(resume), self.epochs):
            if record := next(records, None):
                yield record


def run_training(
    config: Config,
    data: Data | None,
    out: Path,
    *,
    place: str | None = None,
    resume: bool = False,
    refit: bool = False,
    epochs: int | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
    note: Callable[[str], None] = lambda line: None,
) -> Run:
    """Train with ``config.num_workers`` workers, or with none: in the calling process.

    Where there are workers, Ray must be initialised and have room for them
    (:func:`raytune_yesno.cluster.session.count_fitting`). An elastic run continues with fewer
    workers when nodes are lost and with more when nodes join; an unfinished epoch is repeated.

    Args:
        out: the run's folder, where this process writes.
        place: where workers leave their checkpoints for it, which all nodes reach [``out``].
        resume: go on from the folder's last checkpoint.
        refit: train on the training and validation parts together.
        epochs: stop after this many; the learning rate still follows ``config.epochs``.
        on_epoch: called with the metrics of every epoch as it ends.
        note: called with a line on a checkpoint that could not be used, and what was instead.

    A full disk is waited for: training continues from its last checkpoint once there is room.

    Raises:
        InputError: there is nothing to resume, or the data are others.
        UnfinishedError: the workers failed.
    """
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = load_resumable(out, data, note) if resume else None
    place = place or str(out)
    payload = Payload(config, data, checkpoint, refit, epochs or config.epochs, place)
    while True:
        try:
            return _train(payload, out, on_epoch, note)
        except (OSError, RuntimeError):
            # Room for another copy of each checkpoint, with something to spare.
            written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
            if not wait_until_writable(out, written + _SPARE_BYTES, note):
                raise
            payload = dataclasses.replace(payload, resume=find_resumable(out)[0])


def _train(
    payload: Payload,
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None],
    note: Callable[[str], None],
) -> Run:
    """Train to the end from where the payload resumes."""
    history = payload.resume.history if payload.resume else []
    (out / HISTORY).write_text("".join(json.dumps(metrics) + "\n" for metrics in history))
    if payload.resume:
        keep_last(
            out, payload.config.objective
        )  # it may have been cut off before the best one was kept
    if len(history) < payload.epochs and (not history or is_finite(history[-1])):
        if payload.config.num_workers:
            run_on_workers(payload, out, on_epoch, note)
        else:
            run_here(payload, out, on_epoch)
    elif payload.config.num_workers:
        forget_request(out)  # of a run that was interrupted after its last epoch
    last = load_checkpoint(out / LAST)
    return Run(out / BEST, out / LAST, last.history, diverged=not is_finite(last.metrics))


def run_here(payload: Payload, out: Path, on_epoch: Callable[[dict[str, Any]], None]) -> None:
    """Train in the calling process, where a debugger can follow."""
    require_accelerator(payload.config)
    device = find_device(payload.config)
    host = {"device": device, "prepare": lambda model: model.to(device)}
    for record in payload.records(payload.resume, **host):
        save_checkpoint(record.checkpoint(), out / LAST)
        keep_last(out, payload.config.objective)
        on_epoch(record.metrics)


def run_on_workers(
    payload: Payload,
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None],
    note: Callable[[str], None],
) -> None:
    """Train on workers, and start them again as long as an epoch is finished between failures."""
    (out / _NOTES).write_text("")
    try:
        with (
            follow_lines(out / HISTORY, lambda line: on_epoch(json.loads(line))),
            follow_lines(out / _NOTES, lambda line: note(line.rstrip())),
        ):
            while cause := fit_on_workers(payload, out):
                resume, damage = find_resumable(out)
                if count_epochs(resume) <= count_epochs(payload.resume):
                    raise UnfinishedError(f"training failed: {cause}")
                if damage:
                    copy_checkpoint(out / BEST, out / LAST)
                keep_last(out, payload.config.objective)
                payload = dataclasses.replace(payload, resume=resume)
    finally:
        (out / _NOTES).unlink(missing_ok=True)


class InterfaceBackend(TorchBackend):  # type: ignore[misc]
    """Ray Train's way to set a process group up, whose workers choose their interface first."""

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(choose_interface)
        super().on_start(worker_group, backend_config)


class InterfaceConfig(TorchConfig):  # type: ignore[misc]
    """What to give a trainer for it."""

    @property
    def backend_cls(self) -> type[Any]:
        return InterfaceBackend


def fit_on_workers(payload: Payload, out: Path) -> str:
    """Train on a TorchTrainer's workers: gloo between CPUs, NCCL between GPUs.

    Returns:
        What they failed with time and again, in a line; empty where they came to the end.
    """
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"payload": ray.put(payload)},
        torch_config=InterfaceConfig(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=payload.config.num_workers,
            elastic_resize_monitor_interval_s=_RESIZE_INTERVAL_S,
            use_gpu=payload.config.use_gpu,
            resources_per_worker=worker_bundles(payload.config)[0],
        ),
        run_config=ray.train.RunConfig(
            name=_RAY_FILES,
            storage_path=payload.place,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=_MAX_FAILURES),
            callbacks=[CheckpointKeeper(out, payload.config.objective)],
            worker_runtime_env={"env_vars": ONE_ARENA},  # there the loop runs on a thread
        ),
    )
    failures: list[BaseException] = []
    ended = threading.Event()
    reserved = list_reserved()
    forget_request(out)  # the run was interrupted or killed
    request = out / _REQUEST
    request.write_text(trainer.train_run_context.run_id)

    def fit_trainer() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()

    # Not on the main thread: there `fit` would take SIGINT over, and our own handling with it.
    try:
        threading.Thread(target=fit_trainer, daemon=True).start()
        ended.wait()
    finally:
        cancel_request(request.read_text())
        delete_tree(f"{payload.place}/{_RAY_FILES}")
        # An interrupted controller gives up when it finds its files gone. Ray would crash if it
        # were shut down while a thread waits for it.
        ended.wait(_GIVE_UP_S)
    request.unlink()
    for error in failures:
        if not isinstance(error, TrainingFailedError | RayActorError):  # or the controller died
            raise error
        release_reserved(list_reserved() - reserved)
        return first_cause(error)
    return ""


def forget_request(out: Path) -> None:
    """Take back what a run that did not come to its end asked the cluster for."""
    request = out / _REQUEST
    if request.exists():
        cancel_request(request.read_text())
        request.unlink()


def train_worker(train_loop_config: dict[str, Any]) -> None:
    """Drive the loop on one of Ray Train's workers, reporting every epoch."""
    payload: Payload = ray.get(train_loop_config["payload"])
    resume, damage = payload.resume, None
    if interrupted := ray.train.get_checkpoint():  # a worker was lost: go on from the last report
        with interrupted.as_directory() as folder:
            # The driver's copies lie in the run's folder, where that is the nodes', too.
            copies = [Path(payload.place, name) for name in (LAST, BEST)]
            found, damage = find_usable([Path(folder), *copies])
        resume = found or resume
        if damage and not found:
            damage += f"; gone on from epoch {count_epochs(resume)}"
    for record in payload.records(resume, device=get_device(), prepare=prepare_replica):
        # Ray Train has changed to a folder of its own, which ends with the cluster: the system's
        # would outlive a killed process.
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            checkpoint = None
            if process_rank()[0] == 0:
                record.save(Path(folder) / "checkpoint")
                checkpoint = ray.train.Checkpoint.from_directory(Path(folder) / "checkpoint")
            ray.train.report({**record.metrics, DAMAGE: damage}, checkpoint=checkpoint)
            damage = None


def prepare_replica(model: torch.nn.Module) -> torch.nn.Module:
    """Move a model to its device and wrap it in DistributedDataParallel where there are several."""
    replica: torch.nn.Module = prepare_model(model, parallel_strategy_kwargs=REPLICA)
    return replica


class CheckpointKeeper(ray.train.UserCallback):  # type: ignore[misc]
    """Take over every epoch's checkpoint. Ray Train calls it in a process of its own, on the
    driver's node."""

    def __init__(self, out: Path, objective: Objective) -> None:
        self.out, self.objective = out, objective

    def after_report(
        self,
        run_context: Any,
        metrics: list[dict[str, Any]],
        checkpoint: ray.train.Checkpoint | None,
    ) -> None:
        """Copy the checkpoint that rank 0 reported."""
        if damage := metrics[0].get(DAMAGE):
            self._note(damage)
        if checkpoint:
            with checkpoint.as_directory() as folder:
                try:
                    copy_checkpoint(Path(folder), self.out / LAST)
                except UnusableCheckpoint as error:
                    self._note(f"{error.what}; the one before is kept")
                    return
            keep_last(self.out, self.objective)

    def _note(self, line: str) -> None:
        with (self.out / _NOTES).open("a") as notes:
            notes.write(line + "\n")


def keep_last(out: Path, objective: Objective) -> None:
    """Bring the history up to the last checkpoint; where it is the best, keep it as such."""
    description = json.loads((out / LAST / DESCRIPTION).read_text())
    if find_best(objective, description["history"])["epoch"] == description["epoch"]:
        copy_checkpoint(out / LAST, out / BEST)
    noted = len((out / HISTORY).read_text().splitlines())
    with (out / HISTORY).open("a") as history:
        for metrics in description["history"][noted:]:
            history.write(json.dumps(metrics) + "\n")


def find_best(objective: Objective, history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the metrics of a run's best epoch; of the last one if nothing was validated."""
    sound = [metrics for metrics in history if is_finite(metrics)] or history[:1]
    best = objective.find_best(sound)
    return sound[-1 if best is None else best]


def count_epochs(checkpoint: Checkpoint | None) -> int:
    """Return how many epochs lie behind a checkpoint, or behind none."""
    return checkpoint.epoch if checkpoint else 0


def find_resumable(out: Path) -> tuple[Checkpoint | None, str | None]:
    """Return the checkpoint that a run may go on from, and a line on one that is damaged."""
    for name in (LAST, BEST):
        recover_folder(out / name)
    return find_usable([out / LAST, out / BEST])


def find_usable(folders: Iterable[Path]) -> tuple[Checkpoint | None, str | None]:
    """Return the first checkpoint that is whole, and a line on the one that should have been."""
    damage = None
    for folder in folders:
        try:
            checkpoint = load_checkpoint(folder)
        except UnusableCheckpoint as error:
            damage = damage or error.what
            continue
        instead = f"; gone on from epoch {checkpoint.epoch}, {folder}"
        return checkpoint, damage and damage + instead
    return None, damage


def load_resumable(
    out: Path, data: Data | None, note: Callable[[str], None] = lambda line: None
) -> Checkpoint:
    """Return the checkpoint that a run goes on from.

    Raises:
        InputError: there is none, or it was trained on other data.
    """
    checkpoint, damage = find_resumable(out)
    if checkpoint is None:
        raise InputError(f"{damage}; there is nothing to go on from, train anew")
    if damage:
        note(damage)
    trained_on = checkpoint.corpus.get("fingerprint")
    if data and data.fingerprint != trained_on:
        raise InputError(
            f"{out}: this run was trained on {checkpoint.corpus.get('source')} ({trained_on}), "
            f"not on {data.source} ({data.fingerprint}); give --data as it was then"
        )
    if damage:
        copy_checkpoint(out / BEST, out / LAST)
    return checkpoint


def first_cause(error: BaseException) -> str:
    """Return the last line that says anything of the exception at the root of Ray's."""
    failures = getattr(error, "worker_failures", None)
    root = next(iter(failures.values())) if failures else error
    while root.__cause__ is not None:
        root = root.__cause__
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    return lines[-1] if lines else type(root).__name__


@contextmanager
def follow_lines(file: Path, handle: Callable[[str], None]) -> Iterator[None]:
    """Call ``handle`` with every whole line that is appended to a file meanwhile."""
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
