"""The ranks of a data-parallel trial: their shared payload, and the actors of ranks 1 and above.

This module is separate from the trial because these actors do not need Ray Tune.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import ray
import torch
import torch.distributed as dist
from ray import cloudpickle
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.cluster.network import choose_interface
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError
from raytune_yesno.study_settings import CHECKPOINT_EVERY_S
from raytune_yesno.tasks.task import Data, open_records
from raytune_yesno.training.loop import REPLICA, Record, choose_backend, find_device
from raytune_yesno.training.lost_processes import is_lost, is_lost_connection
from raytune_yesno.training.serialization import sent_by_content
from raytune_yesno.user_code import EVERY_TRIAL, TaskError, describe_error, report_errors

Step = TypeVar("Step")
TrialSpec = dict[str, Any]
"""The config that Tune passes to a trial.

Keys: ``number``; ``point``; and ``checkpoint``, the folder or URI to resume from, or None. Tune may
also restore the trial from its own checkpoint. The checkpoint with more epochs is used. In a tie
the spec's is used: a scheduler that copies one trial over another puts the source's there.
"""


@dataclass(frozen=True)
class StudyPayload:
    """The settings and data shared by all trials of a study.

    Attributes:
        sealed: the settings that a trial's point overrides, with the user's code, see :func:`seal`.
        data: reference to the task's data. The object store keeps one copy per node.
        checkpoint_every_s: seconds between checkpoints of a trial: the most work lost in a crash.
            Pausing a trial also saves it.
        keep_last: whether to save a trial after its last epoch, so that it can be extended.
    """

    sealed: bytes
    data: "ray.ObjectRef[Data | None]"
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    keep_last: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the config: the sealed one has the code."""
        return {key: value for key, value in vars(self).items() if key != "config"}

    @cached_property
    def config(self) -> Config:
        """The settings. The first access imports the user's code.

        Raises:
            TaskError: it cannot be imported here.
        """
        try:
            config: Config = cloudpickle.loads(self.sealed)
        except (Exception, SystemExit) as error:
            line = str(error) if isinstance(error, InputError) else describe_error(error)[0]
            raise TaskError(f"{line}, on node {socket.gethostname()}", "", EVERY_TRIAL) from error
        return config

    def records(self, spec: TrialSpec, resume: Checkpoint | None) -> Iterator[Record]:
        """Return the records of the trial described by ``spec``."""
        config = build_config(self.config, spec["point"])
        device = find_device(config)
        data, prepare = ray.get(self.data), replicate(device)
        return open_records(config, data, prepare=prepare, device=device, resume=resume)


def seal(config: Config) -> bytes:
    """Return a config with the user's code, for the workers of this driver.

    Raises:
        InputError: something in the code cannot be pickled.
    """
    with sent_by_content(config.task):
        try:
            return bytes(cloudpickle.dumps(config))
        except Exception as error:
            raise InputError(
                f"{config.task}: it cannot be sent to the workers: {describe_error(error)[0]}; "
                "create what cannot be pickled inside the function"
            ) from error


class RankGroup:
    """The ranks 1 and above of a trial, controlled by rank 0: actors in its placement group.

    The constructor starts their processes. A trial with one worker has none.
    """

    def __init__(self, payload: StudyPayload) -> None:
        self._config = config = payload.config
        group = get_current_placement_group()
        self._actors = [
            ray.remote(RankActor)
            .options(
                num_cpus=config.cpus_per_worker,
                num_gpus=config.gpus_per_worker if config.use_gpu else 0,
                memory=config.memory_per_worker * 1e9 or None,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group=group, placement_group_bundle_index=rank
                ),
            )
            .remote(payload)
            for rank in range(1, config.min_workers)
        ]

    def begin(self, spec: TrialSpec, resume: Checkpoint | None) -> None:
        """Prepare the ranks for a trial. Before the first trial, set up the process group."""
        if self._actors and not dist.is_initialized():
            self._join()
        ray.get([actor.begin.remote(spec, resume) for actor in self._actors])

    def step(self, advance: Callable[[], Step]) -> Step:
        """Train one epoch on all ranks.

        Ranks wait for each other in collectives with a timeout of half an hour. They do not notice
        that another rank has failed while its process is alive. So the first failure ends the
        whole group.

        Args:
            advance: trains the epoch on rank 0.

        Returns:
            The return value of ``advance``.

        Raises:
            Exception: the error of the first rank that failed; RayActorError if its process died.
        """
        if not self._actors:
            return advance()
        failures: list[Exception] = []
        pending = [actor.advance.remote() for actor in self._actors]
        monitor = threading.Thread(target=self._monitor, args=(pending, failures), daemon=True)
        monitor.start()
        try:
            result = advance()
        except Exception as error:
            if not is_lost_connection(error):
                self.end()
                raise
            monitor.join()
            raise (failures or [error])[0] from None
        monitor.join()
        if failures:
            raise failures[0]
        return result

    def _monitor(self, pending: list[Any], failures: list[Exception]) -> None:
        """Wait for the epochs of the other ranks. After the first failure, kill all of them."""
        while pending:
            ready, pending = ray.wait(pending)
            try:
                ray.get(ready)
            except Exception as error:
                failures.append(error)
                for actor in self._actors:
                    ray.kill(actor)
                return

    def end(self) -> None:
        """Kill the actors and destroy the process group.

        The actors would also end with the actor that owns them.
        """
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if dist.is_initialized():
            dist.destroy_process_group()

    def _join(self) -> None:
        address, world_size = ray.util.get_node_ip_address(), self._config.min_workers
        store = open_store(address, world_size)
        pending = [
            actor.join.remote(rank, address, store.port)
            for rank, actor in enumerate(self._actors, start=1)
        ]
        join_process_group(self._config, 0, store)
        ray.get(pending)


class RankActor:
    """A rank other than 0 of a trial. Rank 0 calls it to begin a trial and to train an epoch."""

    def __init__(self, payload: StudyPayload) -> None:
        self.payload = payload
        self.records: Iterator[Record] = iter(())

    def join(self, rank: int, address: str, port: int) -> None:
        """Join the process group."""
        world_size = self.payload.config.min_workers
        store = TCPStore(address, port, world_size, is_master=False)
        join_process_group(self.payload.config, rank, store)

    def begin(self, spec: TrialSpec, resume: Checkpoint | None) -> None:
        """Prepare for a trial."""
        self.records = self.payload.records(spec, resume)

    def advance(self) -> None:
        """Train one epoch."""
        with report_errors(is_lost):
            next(self.records)


def open_store(address: str, world_size: int) -> TCPStore:
    """Return the rendezvous store of the ranks, listening on one address only.

    The store has no authentication, and by default it listens on every interface. The system
    chooses the port when it opens the socket, so there is no race for it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family)
    port = listener.getsockname()[1]
    return TCPStore(
        address,
        port,
        world_size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def join_process_group(config: Config, rank: int, store: Store) -> None:
    """Join torch's default process group: NCCL between whole GPUs, gloo between CPUs."""
    choose_interface()
    dist.init_process_group(
        choose_backend(config) or dist.get_default_backend_for_device(find_device(config)),
        store=store,
        rank=rank,
        world_size=config.min_workers,
    )


def replicate(device: torch.device) -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Return a function that moves a model to ``device`` and, with several ranks, replicates it."""

    def prepare(model: torch.nn.Module) -> torch.nn.Module:
        model = model.to(device)
        if dist.is_initialized():
            return DistributedDataParallel(model, **REPLICA)
        return model

    return prepare
