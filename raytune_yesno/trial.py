"""A trial as Ray Tune runs it: the training loop, an epoch a step.

The trial's actor is rank 0. Where a trial has more workers, the actor keeps the other ranks as
actors of its own, in its own placement group, so they come, wait and go with it: at a step all
ranks take one epoch, between steps they stand still. Tune reuses the actor, and so the whole group
and its process group, for one trial after another. A group that loses a rank fails the trial, and
Tune starts it anew from its last checkpoint, with a new actor and a new group.
"""

import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import torch
import torch.distributed as dist
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.config import Config, build_config
from raytune_yesno.interface import choose_interface
from raytune_yesno.latest import find_latest
from raytune_yesno.loop import Record, find_device, fit

if TYPE_CHECKING:
    from raytune_yesno.corpus import Corpus

_TRY_AGAIN_S = 1.0

Launch = dict[str, Any]
"""What Tune gives a trial as its config: ``number``, ``point``, and ``checkpoint``, the folder or
URI to go on from, or None. Tune may name a checkpoint of the trial's own; the one of more epochs
counts, and of as many the launch's: a scheduler that copies one trial over another puts it there.
"""


@dataclass(frozen=True)
class Payload:
    """What all trials of a study share; the corpus lies once on each node, in the object store.

    Attributes:
        checkpoint_every_s: seconds of a trial that a crash may cost; pausing one saves it, too.
    """

    config: Config
    corpus: "ray.ObjectRef[Corpus | None]"
    checkpoint_every_s: float = 10.0

    def records(self, launch: Launch, resume: Checkpoint | None) -> Iterator[Record]:
        """Return the records of the trial that ``launch`` describes."""
        config = build_config(self.config.as_dict(), launch["point"])
        device = find_device(config)
        return fit(
            config, ray.get(self.corpus), prepare=replicate(device), device=device, resume=resume
        )


class Trial(tune.Trainable):  # type: ignore[misc]
    """One trial after another, each an iterator over its epochs."""

    def setup(self, config: Launch, payload: Payload) -> None:
        """Begin the first trial; the peers are started at its first step."""
        self.payload = payload
        self.peers: list[Any] = []
        self.fence()
        self.begin(config)

    def fence(self) -> None:
        """Save to folders that no other process saves to.

        A trial that the network cut off lives on for minutes beside the one that took its place,
        and Tune names both their checkpoints by the same running number.
        """
        if self._storage:
            self._storage.current_checkpoint_index += 1000 * random.SystemRandom().randrange(10**6)

    def reset_config(self, new_config: Launch) -> bool:
        """Begin another trial in the same processes."""
        self.fence()
        self.begin(new_config)
        return True

    def begin(self, launch: Launch, folder: str | None = None) -> None:
        """Make ready for a trial, from its start or from a checkpoint."""
        self.launch = launch
        self.records: Iterator[Record] | None = None
        # A resumed study names one, Tune another when it restarts the trial: the later one counts.
        places = filter(None, (launch["checkpoint"], folder))
        self.resume, self.damage = find_latest(places)
        self.saved_at = time.monotonic()

    def step(self) -> dict[str, Any]:
        """Train one epoch on all ranks."""
        began = time.time()
        if self.records is None:
            self.start_peers()
            ray.get([peer.begin.remote(self.launch, self.resume) for peer in self.peers])
            self.records = self.payload.records(self.launch, self.resume)
        waiting = [peer.advance.remote() for peer in self.peers]
        try:
            self.record = next(self.records)
        finally:
            ray.get(waiting)  # what a peer raised explains better than the lost connection does
        metrics = self.record.metrics
        damage, self.damage = self.damage, None
        is_over = self.record.diverged or metrics["epoch"] >= self.payload.config.epochs
        saved_s = time.monotonic() - self.saved_at
        return {
            **metrics,
            **({"damage": damage} if damage else {}),
            "diverged": self.record.diverged,
            "host": socket.gethostname(),
            "node": ray.get_runtime_context().get_node_id(),
            "device": str(find_device(self.payload.config)),
            "began": began,
            "ended": time.time(),
            "done": is_over,
            # Nobody goes on from the end of a trial.
            SHOULD_CHECKPOINT: not is_over and saved_s > self.payload.checkpoint_every_s,
        }

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save the trial as Tune asks."""
        if checkpoint_dir or not self._storage:
            return super().save(checkpoint_dir)
        # In Ray's own folder, which ends with the cluster: Tune's would outlive a killed process.
        above = Path(self._storage.trial_working_directory)
        above.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=above) as folder:
            return super().save(folder)

    def _report_class_trainable_checkpoint(self, *saved: Any) -> Any:
        """Copy what was saved to the storage; where it cannot be written to, wait for it.

        A failure would count against the trial, and an hour without storage fail all trials.
        """
        while True:
            try:
                return super()._report_class_trainable_checkpoint(*saved)
            except (OSError, RuntimeError):  # the latter where Ray's marker is gone from there
                time.sleep(_TRY_AGAIN_S)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the trial as of its last step."""
        self.record.save(Path(checkpoint_dir))
        self.saved_at = time.monotonic()

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on from what :meth:`save_checkpoint` wrote."""
        self.begin(self.launch, checkpoint)

    def start_peers(self) -> None:
        """Start the other ranks and join them in a process group, once for all trials."""
        config = self.payload.config
        world_size = max(1, config.min_workers)
        if world_size == 1 or self.peers:
            return
        group = get_current_placement_group()
        for rank in range(1, world_size):
            strategy = PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_bundle_index=rank
            )
            self.peers.append(
                ray.remote(Peer)
                .options(
                    num_cpus=1,
                    num_gpus=config.gpus_per_worker if config.use_gpu else 0,
                    scheduling_strategy=strategy,
                )
                .remote(self.payload)
            )
        address = ray.util.get_node_ip_address()
        # Port 0: the system picks a free one, with no race for it.
        store = TCPStore(address, 0, world_size, is_master=True, wait_for_workers=False)
        waiting = [
            peer.join.remote(rank, address, store.port)
            for rank, peer in enumerate(self.peers, start=1)
        ]
        join_process_group(config, 0, store)
        ray.get(waiting)

    def cleanup(self) -> None:
        """End the group; peers end with the actor that owns them."""
        for peer in self.peers:
            ray.kill(peer)
        self.peers = []
        if dist.is_initialized():
            dist.destroy_process_group()


class Peer:
    """A trial's rank other than 0, told by rank 0 when to begin a trial and when to step."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.records: Iterator[Record] = iter(())

    def join(self, rank: int, address: str, port: int) -> None:
        """Join the process group."""
        world_size = self.payload.config.min_workers
        store = TCPStore(address, port, world_size, is_master=False)
        join_process_group(self.payload.config, rank, store)

    def begin(self, launch: Launch, resume: Checkpoint | None) -> None:
        """Make ready for a trial."""
        self.records = self.payload.records(launch, resume)

    def advance(self) -> None:
        """Train one epoch."""
        try:
            next(self.records)
        except Exception:
            # The others wait for this rank in a collective; dropping the connections tells them.
            dist.destroy_process_group()
            raise


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
            # See train.prepare_replica for why unused parameters are looked for.
            return DistributedDataParallel(model, find_unused_parameters=True)
        return model

    return prepare
