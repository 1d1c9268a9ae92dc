"""Between Ray Tune and the store: what is asked, what is reported, when to stop."""

import contextlib
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as RayTrial

from raytune_yesno.errors import WorkError
from raytune_yesno.files.remote import delete_tree, name_checkpoint
from raytune_yesno.metrics import COST, Objective
from raytune_yesno.schedulers.synchronous import SynchronousScheduler
from raytune_yesno.search import Observation
from raytune_yesno.search.ray_searcher import AlgorithmSearcher
from raytune_yesno.study import Trial
from raytune_yesno.study.store import StudyStore
from raytune_yesno.text import last_line
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.ranks import Launch
from raytune_yesno.tuning.stop_conditions import OrderedWatch, Watch
from raytune_yesno.tuning.warm_start import build_observations

_TRY_AGAIN_S, _SAY_AGAIN_S = 0.5, 60.0  # of storage that cannot be written to


@dataclass
class Progress:
    """How far a search is; handed to ``on_progress`` whenever it changes."""

    objective: Objective

    asked_for: int
    slots: int
    epochs_per_trial: int
    ended: dict[str, int] = field(
        default_factory=lambda: {"done": 0, "stopped": 0, "diverged": 0, "failed": 0}
    )
    running: int = 0
    epochs: int = 0
    best: dict[str, Any] | None = None
    best_trial: int | None = None

    def take(self, trial: int, metrics: dict[str, Any]) -> None:
        """Count an epoch, and take it as the best if it is."""
        self.epochs += 1
        if not self.objective.reached(metrics):
            return
        score = self.objective.score
        if self.best is None or score(metrics) < score(self.best):
            self.best, self.best_trial = metrics, trial


class StudySearcher(AlgorithmSearcher):
    """Ask the plan's algorithm, record what was asked, and hand unfinished trials out first."""

    def __init__(
        self,
        plan: Plan,
        store: StudyStore,
        finished: list[Trial],
        unfinished: list[Trial],
        watch: Watch,
        rounds: SynchronousScheduler | None = None,
    ) -> None:
        earlier = build_observations(plan.warm_start)
        self.offset = len(earlier)  # to the algorithm, other studies' trials come before the first
        for trial in (*finished, *unfinished):
            seen = observe(trial)
            earlier.append(replace(seen, number=seen.number + self.offset))
        super().__init__(plan.build_algorithm(), metric=COST, mode="min", history=earlier)
        self.store = store
        self.unfinished = list(unfinished)
        self.rounds = rounds
        self.window = plan.window if plan.ordered else None
        self.watch = watch
        self.num_left = plan.num_trials - len(finished)

    def suggest(self, trial_id: str) -> Launch | str | None:
        """Return the launch of the next trial, None if it is not its time, or FINISHED."""
        if not self.num_left:
            return self.finish()
        if self.rounds and not self.rounds.has_room:
            return None
        if self.window is not None and not self.unfinished:
            known = self.history.next_number - self.window + 1
            if any(number < known for number in self.numbers.values()):
                return None
            if isinstance(self.watch, OrderedWatch) and self.watch.find_reason(known - self.offset):
                self.num_left = 0
                return self.finish()
        self.num_left -= 1
        if self.unfinished:
            trial = self.unfinished.pop(0)
            self.numbers[trial_id] = trial.number + self.offset
            folder = trial.checkpoint[0] if trial.checkpoint else None
            return {"number": trial.number, "point": trial.point, "checkpoint": folder}
        point = super().suggest(trial_id)
        if not isinstance(point, dict):
            return point
        number = self.numbers[trial_id] - self.offset
        self.store.append("asked", trial=number, point=point)
        return {"number": number, "point": point, "checkpoint": None}

    def finish(self) -> str | None:
        """Return FINISHED; where trials wait for each other, not before all have ended.

        Tune would let go of the processes of those who wait.
        """
        waits = self.rounds and self.rounds.has_live_trials
        return None if waits else str(self.FINISHED)

    def select_seen(self, number: int) -> Sequence[Observation]:
        """Return the trials; in an ordered study, of the last ones only what was asked."""
        if self.window is None:
            return self.history
        last = max(number - self.window, self.offset - 1)
        return [
            seen if seen.number <= last else Observation(seen.number, seen.point)
            for seen in self.history
        ]

    @property
    def in_flight(self) -> list[int]:
        """The numbers of the trials that were handed out and have not ended."""
        return [number - self.offset for number in self.numbers.values()]

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Note an epoch, by the trial's own count: Ray's begins anew when a study is resumed."""
        if COST in result:
            super().on_trial_result(trial_id, {**result, "training_iteration": result["epoch"]})


def observe(trial: Trial) -> Observation:
    """Return what a search algorithm is told of a recorded trial."""
    losses = tuple(cost for _, cost in trial.costs)
    return Observation(
        number=trial.number,
        point=trial.point,
        loss=min(losses, default=None),
        epochs=len(losses),
        status=trial.status,  # type: ignore[arg-type]
        losses=losses,
    )


class Recorder(tune.Stopper):  # type: ignore[misc]
    """Write what Tune reports to the store, and stop the search when a signal asks for it."""

    def __init__(
        self,
        store: StudyStore,
        progress: Progress,
        epochs: int,
        on_progress: Callable[[Progress], None],
        watch: Watch,
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.store, self.progress, self.epochs, self.watch = store, progress, epochs, watch
        self.on_progress, self.note = on_progress, note
        store.wait = self.wait_for_storage
        self.tried_at = 0.0
        self.attempts: dict[int, int] = {}
        self.folders: dict[int, set[str]] = defaultdict(set)
        self.running: set[int] = set()
        self.waiting: set[int] = set()
        self.stopped_by: int | None = None
        self.callback = _Callback(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what shows things: Ray pickles the tuner, and never reads that again."""
        return {**self.__dict__, "on_progress": None, "note": None}

    def wait_for_storage(self, error: OSError) -> None:
        """Wait a moment before a record is tried again, saying once a minute why.

        Raises:
            WorkError: a signal asks to stop; what could not be written is told.
        """
        where = f"{self.store.path}: cannot be written ({error.strerror})"
        if self.stopped_by is not None:
            raise WorkError(f"{where}; what was not recorded is trained again by --resume")
        if time.monotonic() - self.tried_at > _SAY_AGAIN_S:
            self.tried_at = time.monotonic()
            self.note(f"{where}; the study waits until it can be")
        time.sleep(_TRY_AGAIN_S)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Say whether Tune is to stop all trials."""
        return self.stopped_by is not None or self.watch.reason is not None

    def started(self, number: int) -> None:
        if number not in self.waiting:
            self.attempts[number] = self.attempts.get(number, 0) + 1
            self.store.append("started", trial=number, attempt=self.attempts[number])
        self.move(number, self.running)
        self.on_progress(self.progress)

    def waits(self, number: int) -> None:
        self.move(number, self.waiting)

    def move(self, number: int, to: set[int] | None = None) -> None:
        self.running.discard(number)
        self.waiting.discard(number)
        if to is not None:
            to.add(number)
        self.progress.running = len(self.running)

    def epoch(self, number: int, result: dict[str, Any]) -> None:
        if damage := result.get("damage"):
            self.store.append("damaged", trial=number, reason=damage)
            self.note(f"trial {number}: {damage}")
        kept = result["record"]
        self.progress.take(number, kept)
        self.watch.epoch(number, kept)
        self.store.append("epoch", trial=number, attempt=self.attempts[number], **kept)
        self.on_progress(self.progress)

    def saved(self, number: int, folder: str, epoch: int) -> None:
        self.folders[number].add(folder.rpartition("/")[0])
        self.store.append("saved", trial=number, checkpoint=folder, epoch=epoch)

    def ended(self, number: int, result: dict[str, Any], error: str | None = None) -> None:
        self.move(number)
        whole = result.get("diverged") or result.get("epoch") == self.epochs
        if self.stopped_by and not whole and not error:
            return  # cut off; it goes on when the study is resumed
        if error:
            status = "failed"
        elif result.get("diverged"):
            status = "diverged"
        else:
            status = "done" if whole else "stopped"
        self.progress.ended[status] += 1
        self.watch.ended(number, status)
        fields = {"error": error} if error else {}
        self.store.append("ended", trial=number, status=status, **fields)
        # Nobody goes on from its checkpoints; together those of all trials would fill a disk. Never
        # is a folder deleted that only a record names: the record may be a stranger's.
        for folder in self.folders.pop(number, ()):
            delete_tree(folder)
        self.on_progress(self.progress)

    def cut_off(self, numbers: Iterable[int]) -> None:
        """Note the end of the trials that a stop condition left in their midst."""
        for number in sorted(numbers):
            self.move(number)
            self.progress.ended["stopped"] += 1
            self.store.append("ended", trial=number, status="stopped")
        self.on_progress(self.progress)


class _Callback(tune.Callback):  # type: ignore[misc]
    """Translate Tune's events for a :class:`Recorder`."""

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
        place = name_checkpoint(checkpoint.path, root, self.recorder.store.place)
        self.recorder.saved(trial.config["number"], place, epoch)

    def on_trial_recover(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        self.recorder.move(trial.config["number"])

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        self.recorder.ended(trial.config["number"], trial.last_result)
        forget_metrics(trial)

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        self.recorder.ended(trial.config["number"], trial.last_result, error=find_cause(trial))
        forget_metrics(trial)


def forget_metrics(trial: RayTrial) -> None:
    """Drop the means and extremes that Tune has kept of every number of an ended trial.

    Nobody reads them, and they are nearly all that the driver would hold of it.
    """
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()


def find_cause(trial: RayTrial) -> str:
    """Return a line on why a trial failed, from the file that Tune wrote on this machine.

    ``trial.get_error`` reads its copy in the study's folder, which may not be there yet.
    """
    with contextlib.suppress(OSError, TypeError):  # there is none where a trial never started
        return last_line(Path(trial.error_file).read_text(errors="replace"))
    return "lost"


class stop_on_signals:  # noqa: N801 - reads as a statement
    """Tell a recorder of the first SIGINT or SIGTERM; a second one interrupts at once."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self.before[signum] = signal.signal(signum, self.handle)

    def handle(self, signum: int, frame: object) -> None:
        self.recorder.stopped_by = signum
        self.restore()

    def restore(self) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)

    def __exit__(self, *exception: object) -> None:
        self.restore()
