"""The ranks of a trial: what all of them share, and the processes of those beyond the first.

Kept apart from the trial, as their processes need nothing of Ray Tune.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
import torch
import torch.distributed as dist
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.cluster.network import choose_interface
from raytune_yesno.config import Config, build_config
from raytune_yesno.tasks.task import Data
from raytune_yesno.training.loop import REPLICA, Record, find_device, fit

Step = TypeVar("Step")
TrialSpec = dict[str, Any]
"""What Tune gives a trial as its config: ``number``, ``point``, and ``checkpoint``, the folder or
URI to go on from, or None. Tune may name a checkpoint of the trial's own; the one of more epochs
counts, and of as many the spec's: a scheduler that copies one trial over another puts it there.
"""


@dataclass(frozen=True)
class Payload:
    """What all trials of a study share; the data lie once on each node, in the object store.

    Attributes:
        checkpoint_every_s: seconds of a trial that a crash may cost; pausing one saves it, too.
    """

    config: Config
    data: "ray.ObjectRef[Data | None]"
    checkpoint_every_s: float = 10.0

    def records(self, spec: TrialSpec, resume: Checkpoint | None) -> Iterator[Record]:
        """Return the records of the trial that ``spec`` describes."""
        config = build_config(self.config.as_dict(), spec["point"])
        device = find_device(config)
        return fit(
            config, ray.get(self.data), prepare=replicate(device), device=device, resume=resume
        )


class RankGroup:
    """A trial's ranks beyond the first, as its rank 0 sees them: actors in its placement group.

    Making one starts their processes; where a trial has one worker, there are none.
    """

    def __init__(self, payload: Payload) -> None:
        self._config = config = payload.config
        group = get_current_placement_group()
        self._actors = [
            ray.remote(RankActor)
            .options(
                num_cpus=1,
                num_gpus=config.gpus_per_worker if config.use_gpu else 0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group=group, placement_group_bundle_index=rank
                ),
            )
            .remote(payload)
            for rank in range(1, config.min_workers)
        ]

    def begin(self, spec: TrialSpec, resume: Checkpoint | None) -> None:
        """Make them ready for a trial; before their first, join them and this rank in a group."""
        if self._actors and not dist.is_initialized():
            self._join()
        ray.get([actor.begin.remote(spec, resume) for actor in self._actors])

    def step(self, advance: Callable[[], Step]) -> Step:
        """Train one epoch on all ranks and return what ``advance``, this one's part, returns.

        The ranks wait for each other in collectives, half an hour long, and do not see that one has
        failed as long as its process lives. So the first to fail ends the group.

        Raises:
            Exception: what the first rank that failed raised; RayActorError if its process died.
        """
        if not self._actors:
            return advance()
        failures: list[Exception] = []
        waiting = [actor.advance.remote() for actor in self._actors]
        watch = threading.Thread(target=self._watch, args=(waiting, failures), daemon=True)
        watch.start()
        try:
            mine = advance()
        except Exception as error:
            if not _is_lost_connection(error):
                self.end()
                raise
            watch.join()
            raise (failures or [error])[0] from None
        watch.join()
        if failures:
            raise failures[0]
        return mine

    def _watch(self, waiting: list[Any], failures: list[Exception]) -> None:
        """Wait for the peers' epochs; at the first that fails, end all of them."""
        while waiting:
            ready, waiting = ray.wait(waiting)
            try:
                ray.get(ready)
            except Exception as error:
                failures.append(error)
                for actor in self._actors:
                    ray.kill(actor)
                return

    def end(self) -> None:
        """End them and the group; they would end with the actor that owns them, too."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if dist.is_initialized():
            dist.destroy_process_group()

    def _join(self) -> None:
        address, world_size = ray.util.get_node_ip_address(), self._config.min_workers
        store = open_store(address, world_size)
        waiting = [
            actor.join.remote(rank, address, store.port)
            for rank, actor in enumerate(self._actors, start=1)
        ]
        join_process_group(self._config, 0, store)
        ray.get(waiting)


class RankActor:
    """A trial's rank other than 0, told by rank 0 when to begin a trial and when to step."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.records: Iterator[Record] = iter(())

    def join(self, rank: int, address: str, port: int) -> None:
        """Join the process group."""
        world_size = self.payload.config.min_workers
        store = TCPStore(address, port, world_size, is_master=False)
        join_process_group(self.payload.config, rank, store)

    def begin(self, spec: TrialSpec, resume: Checkpoint | None) -> None:
        """Make ready for a trial."""
        self.records = self.payload.records(spec, resume)

    def advance(self) -> None:
        """Train one epoch."""
        next(self.records)


def _is_lost_connection(error: Exception) -> bool:
    """Say whether a collective failed, so that what failed is another rank."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def open_store(address: str, world_size: int) -> TCPStore:
    """Return the store through which ranks find each other, to be reached at one address alone.

    It asks nobody for a token, and left to itself listens on every interface. Its port is one that
    the system picks, with no race for it.
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
    """Join torch's default process group: NCCL between GPUs, gloo between CPUs."""
    choose_interface()
    dist.init_process_group(
        dist.get_default_backend_for_device(find_device(config)),
        store=store,
        rank=rank,
        world_size=config.min_workers,
    )


def replicate(device: torch.device) -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Return what moves a model to its device and, in a process group, makes it a replica."""

    def prepare(model: torch.nn.Module) -> torch.nn.Module:
        model = model.to(device)
        if dist.is_initialized():
            return DistributedDataParallel(model, **REPLICA)
        return model

    return prepare
