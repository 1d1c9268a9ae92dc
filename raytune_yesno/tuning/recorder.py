"""Translate Ray Tune's callbacks into events of the study's record.

Progress, stop conditions and trackers listen to the record. The recorder does not know their rules.
"""

import contextlib
import errno
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as RayTrial

from raytune_yesno.errors import WorkError
from raytune_yesno.files.remote import delete_tree, name_checkpoint
from raytune_yesno.study.store import StudyStore
from raytune_yesno.text import format_point, last_line
from raytune_yesno.tuning.failures import OUT_OF_MEMORY
from raytune_yesno.tuning.kept_checkpoints import KeptTrials
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.stop_conditions import StopMonitor
from raytune_yesno.user_code import EVERY_TRIAL, NEW_STUDY, TaskError

_RETRY_S, _REPEAT_NOTE_S = 0.5, 60.0  # intervals while the storage is not writable


class Recorder(tune.Stopper):  # type: ignore[misc]
    """Writes Tune's reports to the store and stops the search after a signal."""

    def __init__(
        self,
        store: StudyStore,
        progress: Progress,
        monitor: StopMonitor,
        note: Callable[[str], None] = lambda line: None,
        kept: KeptTrials | None = None,
    ) -> None:
        self.kept = kept or KeptTrials(0, progress.objective)
        self.store, self.progress, self.monitor, self.note = store, progress, monitor, note
        store.wait = self.wait_for_storage
        self.noted_at = 0.0
        self.attempts: dict[int, int] = {}
        self.folders: dict[int, set[str]] = defaultdict(set)
        self.waiting: set[int] = set()
        self.stopped_by: int | None = None
        self.fatal: str | None = None
        self.shown: set[str] = set()
        self.callback = _Callback(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out display callbacks. Ray pickles the tuner, but never unpickles it here."""
        return {**self.__dict__, "progress": None, "note": None}

    def wait_for_storage(self, error: OSError) -> None:
        """Wait briefly before a failed write is retried. Note the reason once a minute.

        Raises:
            WorkError: a signal asked to stop, or the file has reached its size limit.
        """
        failure = f"{self.store.path}: cannot be written ({error.strerror})"
        if self.stopped_by is not None or error.errno == errno.EFBIG:  # `ulimit -f`
            raise WorkError(f"{failure}; a resumed study trains again what was not recorded")
        if time.monotonic() - self.noted_at > _REPEAT_NOTE_S:
            self.noted_at = time.monotonic()
            self.note(f"{failure}; the study waits until it is writable")
        time.sleep(_RETRY_S)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: a result never stops its trial here."""
        return False

    def stop(self, signum: int) -> None:
        """Stop the search, as a signal asks."""
        self.stopped_by = signum

    def stop_all(self) -> bool:
        """Return whether Tune should stop all trials."""
        reasons = (self.stopped_by, self.fatal, self.monitor.reason)
        return any(reason is not None for reason in reasons)

    def started(self, number: int) -> None:
        """Record that a trial has started, unless it continues after a pause."""
        if number in self.waiting:
            self.waiting.remove(number)
            self.progress.unpause(number)
            return
        self.attempts[number] = self.attempts.get(number, 0) + 1
        self.store.append("started", trial=number, attempt=self.attempts[number])

    def waits(self, number: int) -> None:
        """Note that a trial is paused until its scheduler can judge it."""
        self.waiting.add(number)
        self.progress.pause(number)

    def lost(self, number: int) -> None:
        """Note that a trial's process was lost. Tune will restart the trial."""
        self.waiting.discard(number)
        self.progress.pause(number)

    def epoch(self, number: int, result: dict[str, Any]) -> None:
        """Record an epoch, and before it a damaged checkpoint if the result reports one."""
        if damage := result.get("damage"):
            self.store.append("damaged", trial=number, reason=damage)
            self.note(f"trial {number}: {damage}")
        if (node := result.get("without_gpu")) and f"without_gpu {node}" not in self.shown:
            self.shown.add(f"without_gpu {node}")
            self.note(f"use_gpu: torch finds no GPU on node {node}; trials train on its CPUs")
        if record := result.get("record"):
            self.store.append("epoch", trial=number, attempt=self.attempts[number], **record)

    def saved(self, number: int, uri: str, epoch: int) -> None:
        """Record a checkpoint, given as a folder or URI."""
        self.folders[number].add(uri.rpartition("/")[0])
        self.store.append("saved", trial=number, checkpoint=uri, epoch=epoch)

    def ended(
        self,
        number: int,
        result: dict[str, Any],
        error: str | None = None,
        cause: str | None = None,
    ) -> None:
        """Record the end of a trial with its status, and delete its checkpoints.

        Args:
            number: the trial's number.
            result: the last result of the trial.
            error: why the trial failed; None if it did not.
            cause: the kind of failure, see :mod:`raytune_yesno.tuning.failures`.
        """
        self.waiting.discard(number)
        complete = result.get("diverged") or result.get("complete")
        if self.fatal or (self.stopped_by and not complete and not error):
            return  # interrupted; the trial continues when the study is resumed
        if error:
            status = "failed"
        elif result.get("diverged"):
            status = "diverged"
        else:
            status = "done" if complete else "stopped"
        fields = {"error": error} if error else {}
        fields |= {"cause": cause} if error and cause else {}
        if status == "stopped" and (reason := self.monitor.reason):
            fields["reason"] = reason  # the end of the search, not the scheduler
        kept_before = self.kept.numbers
        self.store.append("ended", trial=number, status=status, **fields)
        # Keep the checkpoints of the best trials, which may be extended; the others would fill the
        # disk. Delete only folders that Tune reported in this session; a path read from a record
        # may be hostile.
        for each in {number, *kept_before} - self.kept.numbers:
            for folder in self.folders.pop(each, ()):
                delete_tree(folder)

    def raised(self, number: int, point: Mapping[str, Any], error: TaskError) -> None:
        """Show an error of the user's code, unless another trial has raised it.

        An error that ends the study is kept in ``fatal``.
        """
        if error.scope == EVERY_TRIAL or (error.scope == NEW_STUDY and not self.progress.epochs):
            self.fatal = self.fatal or f"trial {number}: {error.line}"
            return
        if error.lines not in self.shown or not error.lines:
            self.note(f"trial {number} failed ({format_point(point)}): {error.line}")
            for line in error.lines.splitlines():
                self.note(line)
        self.shown.add(error.lines)

    def cut_off(self, numbers: Iterable[int]) -> None:
        """Record that trials were stopped whose end Tune does not report."""
        found = self.monitor.found
        reason = {"reason": found} if found else {}
        for number in sorted(numbers):
            if self.progress.has_trained_all(number):
                self.store.append("ended", trial=number, status="done")
            else:
                self.store.append("ended", trial=number, status="stopped", **reason)


class _Callback(tune.Callback):  # type: ignore[misc]
    """Forwards Tune's callbacks to a :class:`Recorder`."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def on_trial_start(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        self.recorder.started(trial.config["number"])

    def on_trial_result(
        self,
        iteration: int,
        trials: list[RayTrial],
        trial: RayTrial,
        result: dict[str, Any],
        **_: Any,
    ) -> None:
        self.recorder.epoch(trial.config["number"], result)

    def on_checkpoint(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, checkpoint: Any, **_: Any
    ) -> None:
        epoch = trial.last_result.get("epoch", 0)
        root = trial.storage.storage_fs_path
        uri = name_checkpoint(checkpoint.path, root, self.recorder.store.out.storage)
        self.recorder.saved(trial.config["number"], uri, epoch)

    def on_trial_recover(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        number, failure = trial.config["number"], getattr(trial, "failure", None)
        self.recorder.lost(number)
        if failure and failure.cause == OUT_OF_MEMORY:
            self.recorder.note(f"trial {number} is restarted alone: {failure.text}")

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        self.recorder.ended(trial.config["number"], trial.last_result)
        forget_metrics(trial)

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        number, error = trial.config["number"], getattr(trial, "task_error", None)
        if error:
            self.recorder.raised(number, trial.config["point"], error)
        failure = getattr(trial, "failure", None)
        cause = failure.cause if failure else None
        line = error.line if error else find_cause(trial)
        if failure and not error and cause == OUT_OF_MEMORY:
            line = failure.text  # the line with the sizes, not the last one
        self.recorder.ended(number, trial.last_result, error=line, cause=cause)
        forget_metrics(trial)


def forget_metrics(trial: RayTrial) -> None:
    """Drop the metric statistics that Tune keeps for an ended trial.

    Nothing reads them, and they take most of the memory that the driver uses for the trial.
    """
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()


def find_cause(trial: RayTrial) -> str:
    """Return why a trial failed, in one line, from the error file on the driver's node.

    ``trial.get_error`` reads the copy in the study's folder, which may not exist yet.
    """
    with contextlib.suppress(OSError, TypeError):  # a trial that never started has no file
        return last_line(Path(trial.error_file).read_text(errors="replace"))
    return "lost"
