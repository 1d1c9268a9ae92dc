"""A trial as Ray Tune runs it: the training loop, an epoch a step.

The trial's actor is rank 0. Where a trial has more workers, the actor keeps the other ranks as
actors of its own, in its own placement group, so they come, wait and go with it: at a step all
ranks take one epoch, between steps they stand still. Tune reuses the actor, and so the whole group
and its process group, for one trial after another. A group that loses a rank fails the trial, and
Tune starts it anew from its last checkpoint, with a new actor and a new group.
"""

import math
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from raytune_yesno.metrics import COST
from raytune_yesno.study.clock import read_clock
from raytune_yesno.training.loop import Record, find_device
from raytune_yesno.training.resume import find_latest
from raytune_yesno.tuning.ranks import Payload, RankGroup, TrialSpec

_TRY_AGAIN_S = 1.0


class Trial(tune.Trainable):  # type: ignore[misc]
    """One trial after another, each an iterator over its epochs."""

    def setup(self, config: TrialSpec, payload: Payload) -> None:
        """Begin the first trial; the other ranks' processes start, too."""
        self.payload = payload
        self.ranks = RankGroup(payload)
        self.fence()
        self.begin(config)

    def fence(self) -> None:
        """Save to folders that no other process saves to.

        A trial that the network cut off lives on for minutes beside the one that took its place,
        and Tune names both their checkpoints by the same running number.
        """
        if self._storage:
            self._storage.current_checkpoint_index += 1000 * random.SystemRandom().randrange(10**6)

    def reset_config(self, new_config: TrialSpec) -> bool:
        """Begin another trial in the same processes."""
        self.fence()
        self.begin(new_config)
        return True

    def begin(self, spec: TrialSpec, folder: str | None = None) -> None:
        """Make ready for a trial, from its start or from a checkpoint."""
        self.spec = spec
        self.records: Iterator[Record] | None = None
        # A resumed study names one, Tune another when it restarts the trial: the later one counts.
        places = filter(None, (spec["checkpoint"], folder))
        self.resume, self.damage = find_latest(places)
        self.saved_at = time.monotonic()

    def step(self) -> dict[str, Any]:
        """Train one epoch on all ranks."""
        began = read_clock()
        if self.records is None:
            self.ranks.begin(self.spec, self.resume)
            self.records = self.payload.records(self.spec, self.resume)
        records = self.records
        self.record = self.ranks.step(lambda: next(records))
        metrics, config = self.record.metrics, self.payload.config
        damage, self.damage = self.damage, None
        is_over = self.record.diverged or metrics["epoch"] >= config.epochs
        saved_s = time.monotonic() - self.saved_at
        cost = config.objective.metric.cost(metrics)
        return {
            "epoch": metrics["epoch"],
            COST: cost if math.isfinite(cost) else math.nan,  # Ray's quantiles leave NaN out
            "diverged": self.record.diverged,
            "record": {
                **{key: value for key, value in metrics.items() if key != "world_size"},
                "diverged": self.record.diverged,
                "host": socket.gethostname(),
                "node": ray.get_runtime_context().get_node_id(),
                "device": str(find_device(config)),
                "pid": os.getpid(),
                "began": began,
                "ended": read_clock(),
            },
            **({"damage": damage} if damage else {}),
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
        self.begin(self.spec, checkpoint)

    def cleanup(self) -> None:
        """End the group."""
        self.ranks.end()
