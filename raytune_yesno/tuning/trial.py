"""A trial as a Ray Tune trainable: the training loop, one epoch per step.

The trial's actor is rank 0. If a trial has more workers, the actor owns the other ranks as actors
in its own placement group, so they start and end with it. In a step all ranks train one epoch;
between steps they are idle. Tune reuses the actor for one trial after another, and with it the
other ranks and the process group. If a rank is lost, the trial fails, and Tune restarts it from its
last checkpoint with a new actor and a new group.
"""

import contextlib
import math
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayTaskError
from ray.tune.result import SHOULD_CHECKPOINT

from raytune_yesno.checkpoint import save_checkpoint
from raytune_yesno.metrics import COST, COSTS, EXCESSES
from raytune_yesno.study.clock import read_clock
from raytune_yesno.training.loop import Record, find_device, lacks_accelerator
from raytune_yesno.training.lost_processes import is_lost
from raytune_yesno.training.resume import find_latest
from raytune_yesno.tuning.ranks import RankGroup, StudyPayload, TrialSpec
from raytune_yesno.user_code import TaskError, report_errors

_RETRY_S = 1.0


@contextlib.contextmanager
def report_without_cause(passed: Callable[[BaseException], bool]) -> Iterator[None]:
    """Convert errors of the user's code, see :func:`raytune_yesno.user_code.report_errors`.

    Tune copies an exception and its causes. The copy of an exception that takes other arguments
    than it passes on fails, and that failure would be reported in its place.
    """
    try:
        with report_errors(passed):
            yield
    except TaskError as error:
        raise error from None


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Runs one trial after another, each as an iterator over its epochs."""

    def setup(self, config: TrialSpec, payload: StudyPayload) -> None:
        """Start the processes of the other ranks and begin the first trial."""
        self.payload = payload
        self.ranks: RankGroup | None = None
        with contextlib.suppress(TaskError):  # the first step raises it again
            self.ranks = RankGroup(payload)
        self.fence()
        self.begin(config)

    def fence(self) -> None:
        """Number checkpoints from a random start, so that no other process uses the same folders.

        A trial cut off by a network failure keeps running for minutes beside its replacement, and
        Tune would number the checkpoints of both alike.
        """
        if self._storage:
            self._storage.current_checkpoint_index += 1000 * random.SystemRandom().randrange(10**6)

    def reset_config(self, new_config: TrialSpec) -> bool:
        """Begin another trial in the same processes."""
        self.fence()
        self.begin(new_config)
        return True

    def begin(self, spec: TrialSpec, folder: str | None = None) -> None:
        """Prepare for a trial, from its start or from a checkpoint."""
        self.spec = spec
        self.records: Iterator[Record] | None = None
        self.resume, self.damage = None, None
        with contextlib.suppress(TaskError):
            _ = self.payload.config  # reading a checkpoint needs the task
            # A resumed study gives one, Tune another when it restarts the trial: use the latest.
            self.resume, self.damage = find_latest(filter(None, (spec["checkpoint"], folder)))
        self.metrics = self.resume.metrics if self.resume else {}
        self.saved_at = time.monotonic()

    def step(self) -> dict[str, Any]:
        """Train one epoch on all ranks."""
        began = read_clock()
        with report_without_cause(is_lost):
            try:
                if self.ranks is None:
                    self.ranks = RankGroup(self.payload)
                if self.records is None:
                    self.ranks.begin(self.spec, self.resume)
                    self.records = self.payload.records(self.spec, self.resume)
                record = self.ranks.step(partial(next, self.records, None))
            except RayTaskError as error:  # of another rank
                raise error.cause if isinstance(error.cause, TaskError) else error from None
        damage, self.damage = self.damage, None
        told: dict[str, Any] = {"damage": damage} if damage else {}
        if lacks_accelerator(self.payload.config):
            told["without_gpu"] = socket.gethostname()
        if record is None:  # the run has ended before its last epoch
            return {**self.report(self.metrics), **told, "complete": True, "done": True}
        self.record, self.metrics = record, record.metrics
        saved_s = time.monotonic() - self.saved_at
        config, metrics = self.payload.config, record.metrics
        return {
            **self.report(metrics),
            **told,
            "diverged": record.diverged,
            "record": {
                **{key: value for key, value in metrics.items() if key != "world_size"},
                "diverged": record.diverged,
                "host": socket.gethostname(),
                "node": ray.get_runtime_context().get_node_id(),
                "device": str(find_device(config)),
                "pid": os.getpid(),
                "began": began,
                "ended": read_clock(),
            },
            "complete": record.last and not record.diverged,
            "done": record.last,
            # The last epoch needs a checkpoint only if the trial may be extended.
            SHOULD_CHECKPOINT: self.payload.keep_last and not record.diverged
            if record.last
            else saved_s > self.payload.checkpoint_every_s,
        }

    def report(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return what searches and schedulers see of an epoch."""
        objective = self.payload.config.objective
        cost = objective.cost(metrics)
        # Ray's quantiles ignore NaN.
        report = {"epoch": metrics["epoch"], COST: cost if math.isfinite(cost) else math.nan}
        if objective.others:
            report[COSTS] = objective.costs(metrics)
        if objective.limits:
            report[EXCESSES] = objective.excesses(metrics)
        return report

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save the trial when Tune requests it."""
        if checkpoint_dir or not self._storage:
            return super().save(checkpoint_dir)
        # Use Ray's session folder, which is deleted with the cluster. Tune's default folder would
        # outlive a killed process.
        parent = Path(self._storage.trial_working_directory)
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            return super().save(folder)

    def _report_class_trainable_checkpoint(self, *saved: Any) -> Any:
        """Copy a checkpoint to the storage. Retry until the storage is writable.

        Otherwise every failure would count against the trial, and an hour without storage would
        fail all trials.
        """
        while True:
            try:
                return super()._report_class_trainable_checkpoint(*saved)
            except (OSError, RuntimeError):  # RuntimeError if Ray's marker file is missing there
                time.sleep(_RETRY_S)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the checkpoint of the last step.

        Raises:
            TaskError: the task's state cannot be stored.
        """
        with report_without_cause(is_lost):
            checkpoint = self.record.checkpoint()
        save_checkpoint(checkpoint, Path(checkpoint_dir))
        self.saved_at = time.monotonic()

    def load_checkpoint(self, checkpoint: str) -> None:
        """Resume from a checkpoint written by :meth:`save_checkpoint`."""
        self.begin(self.spec, checkpoint)

    def cleanup(self) -> None:
        """Close the generator of the last trial, and end the processes of the other ranks."""
        self.records = None
        if self.ranks:
            self.ranks.end()
