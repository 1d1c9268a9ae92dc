"""A study: Ray Tune launches trials, the store records them, the best config is refitted.

A study's folder holds ``study.jsonl`` (see :mod:`raytune_yesno.store`), ``refit`` (the folder of a
training run) and, while the search runs, ``trials`` with Ray's files and the trials' checkpoints.
"""

import itertools
import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.experiment import Trial as RayTrial

from raytune_yesno.checkpoint import library_versions, load_checkpoint
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError, Interrupted, WorkError
from raytune_yesno.schedulers import build_scheduler
from raytune_yesno.search import Observation, build_algorithm
from raytune_yesno.search.ray_searcher import AlgorithmSearcher
from raytune_yesno.session import count_fitting, worker_bundles
from raytune_yesno.space import Space, format_space, parse_space
from raytune_yesno.store import StudyStore
from raytune_yesno.study import Study, load
from raytune_yesno.study import Trial as StudyTrial
from raytune_yesno.trial import Launch, Payload, Trial

if TYPE_CHECKING:
    from raytune_yesno.corpus import Corpus

TRIALS, REFIT = "trials", "refit"
METRIC = "valid_loss"
DEFAULT_TRIALS = 32
MAX_FAILURES = 3
"""Times that a trial whose process was lost is started again, from its last checkpoint."""


@dataclass(frozen=True)
class Plan:
    """What a study is asked to do.

    Attributes:
        config: what all trials share; a point is merged over it. Its ``num_workers`` are the
            workers of a trial, its ``epochs`` the most that a trial may train.
        space: the domains searched.
        search, search_options: an entry of :data:`raytune_yesno.search.ALGORITHMS`.
        scheduler, scheduler_options: an entry of :data:`raytune_yesno.schedulers.SCHEDULERS`.
        trials: how many are asked for; None for 32 or, of a search that has an end, all.
        max_concurrent: most trials at a time; None for as many as fit the cluster.
    """

    config: Config
    space: Space
    search: str = "tpe"
    search_options: Mapping[str, Any] = field(default_factory=dict)
    scheduler: str = "asha"
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    trials: int | None = None
    max_concurrent: int | None = None

    def check(self) -> None:
        """Raise InputError if any part of the plan could not be carried out."""
        if self.trials is not None and self.trials < 1:
            raise InputError(f"trials: {self.trials} is out of range; it must be at least 1")
        if self.config.num_workers < 1:
            raise InputError("num_workers: a trial has at least 1 worker; 0 is for `train`")
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise InputError(f"max_concurrent: {self.max_concurrent} must be at least 1")
        build_scheduler(self.scheduler, self.config.epochs, **self.scheduler_options)
        self.build_algorithm()
        fixed = {"epochs", "num_workers", "use_gpu", "seed", "swap_halves", "task"}
        for key in self.space.keys() & fixed:
            raise InputError(f"search space: {key!r} is the same for all trials; use --set {key}=…")
        for key, domain in self.space.items():
            for value in domain.grid(2):
                build_config(self.config.as_dict(), {key: value}, where=f"search space: {key}")
        # These can be wrong together where each is right alone.
        coupled = [key for key in ("model", "channels", "kernel_size") if key in self.space]
        for values in itertools.product(*(self.space[key].grid(100) for key in coupled)):
            point = dict(zip(coupled, values, strict=True))
            build_config(self.config.as_dict(), point, where="search space")

    @property
    def num_trials(self) -> int:
        """The number of trials: what was asked for, but no more than the search has."""
        available = getattr(self.build_algorithm(), "num_points", None)
        if available is None:
            return self.trials or DEFAULT_TRIALS
        return min(self.trials or available, available)

    def build_algorithm(self) -> Any:
        return build_algorithm(
            self.search, self.space, seed=self.config.seed, **self.search_options
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as the store's first event holds it."""
        return {
            "config": self.config.as_dict(),
            "space": format_space(self.space),
            "search": self.search,
            "search_options": dict(self.search_options),
            "scheduler": self.scheduler,
            "scheduler_options": dict(self.scheduler_options),
            "trials": self.num_trials,
            "max_concurrent": self.max_concurrent,
        }

    @classmethod
    def from_study(cls, study: Study) -> "Plan":
        """Return the plan that a study was asked to carry out."""
        asked = study.asked
        keys = ("search", "search_options", "scheduler", "scheduler_options", "trials")
        missing = [key for key in ("config", "space", *keys, "data") if key not in asked]
        if missing:
            raise InputError(f"{study.path}: its first line lacks {', '.join(missing)}")
        return cls(
            config=build_config(asked["config"], where=f"{study.path}: config"),
            space=parse_space(asked["space"]),
            **{key: asked[key] for key in keys},
            max_concurrent=asked.get("max_concurrent"),
        )


@dataclass
class Progress:
    """How far a search is; handed to ``on_progress`` whenever it changes."""

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
        loss = metrics.get(METRIC)
        if loss is not None and (self.best is None or loss < self.best[METRIC]):
            self.best, self.best_trial = metrics, trial


def run_search(
    plan: Plan,
    corpus: "Corpus | None",
    out: Path,
    *,
    data: str = "",
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Study:
    """Run a study's search on the Ray cluster that is initialised, and return the study.

    SIGINT and SIGTERM end it after the epochs in flight; :class:`Interrupted` is raised then, and
    ``resume`` goes on: finished trials stay as they are, unfinished ones go on from their last
    checkpoints, and the search is told all records.

    Args:
        data: how the corpus was named, for the record; resuming finds it by that.

    Raises:
        InputError: the plan makes no sense, or does not fit the cluster.
        Interrupted: a signal asked to stop.
        WorkError: Ray Tune failed.
    """
    plan.check()
    out = out.absolute()
    slots = min(count_fitting(plan.config), plan.num_trials, plan.max_concurrent or plan.num_trials)
    earlier = load(out).trial_list if resume else []
    finished = [trial for trial in earlier if trial.status != "running"]
    unfinished = [trial for trial in earlier if trial.status == "running"]
    progress = Progress(plan.num_trials, slots, plan.config.epochs)
    for trial in earlier:
        for epoch in trial.epochs:
            progress.take(trial.number, epoch)
        if trial.status != "running":
            progress.ended[trial.status] += 1

    store = StudyStore(out)
    if not resume:
        about = {"source": corpus.source, "fingerprint": corpus.fingerprint} if corpus else {}
        store.append(
            "study",
            format=1,
            slots=slots,
            data=data,
            corpus=about,
            versions=library_versions(),
            **plan.as_dict(),
        )
    else:
        store.append("resumed", slots=slots)
    recorder = Recorder(store, progress, plan.config.epochs, on_progress)
    searcher = StudySearcher(plan, store, finished, unfinished)
    remaining = plan.num_trials - len(finished)
    if remaining > 0:
        with stop_on_signals(recorder):
            tune_trials(plan, corpus, out, searcher, recorder, remaining, slots)
    store.append("paused" if recorder.stopped_by else "searched")
    if recorder.stopped_by:
        raise Interrupted(recorder.stopped_by)
    shutil.rmtree(out / TRIALS, ignore_errors=True)
    return load(out)


def tune_trials(
    plan: Plan,
    corpus: "Corpus | None",
    out: Path,
    searcher: "StudySearcher",
    recorder: "Recorder",
    num_trials: int,
    slots: int,
) -> None:
    """Let Ray Tune run the trials that ``searcher`` proposes."""
    # The store records what Ray's own loggers would; SIGINT is the recorder's.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"
    payload = Payload(plan.config, ray.put(corpus))
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(Trial, payload=payload),
            tune.PlacementGroupFactory(worker_bundles(plan.config)),
        ),
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="min",
            search_alg=searcher,
            scheduler=build_scheduler(plan.scheduler, plan.config.epochs, **plan.scheduler_options),
            num_samples=num_trials,
            max_concurrent_trials=slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=str(out),
            stop=recorder,
            callbacks=[recorder.callback],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except tune.TuneError as error:
        raise WorkError(f"the search failed: {last_line(str(error))}") from error


class StudySearcher(AlgorithmSearcher):
    """Ask the plan's algorithm, record what was asked, and hand unfinished trials out first."""

    def __init__(
        self,
        plan: Plan,
        store: StudyStore,
        finished: list[StudyTrial],
        unfinished: list[StudyTrial],
    ) -> None:
        known = [*finished, *unfinished]
        super().__init__(
            plan.build_algorithm(), metric=METRIC, mode="min", history=map(observe, known)
        )
        self.store = store
        self.unfinished = list(unfinished)

    def suggest(self, trial_id: str) -> Launch | str:
        """Return the launch of the next trial, or FINISHED."""
        if self.unfinished:
            trial = self.unfinished.pop(0)
            self.numbers[trial_id] = trial.number
            folder = trial.checkpoint[0] if trial.checkpoint else None
            return {"number": trial.number, "point": trial.point, "checkpoint": folder}
        point = super().suggest(trial_id)
        if isinstance(point, str):
            return point
        number = self.numbers[trial_id]
        self.store.append("asked", trial=number, point=point)
        return {"number": number, "point": point, "checkpoint": None}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Note an epoch, by the trial's own count: Ray's begins anew when a study is resumed."""
        if METRIC in result:
            super().on_trial_result(trial_id, {**result, "training_iteration": result["epoch"]})


def observe(trial: StudyTrial) -> Observation:
    """Return what a search algorithm is told of a recorded trial."""
    losses = tuple(epoch[METRIC] for epoch in trial.epochs if epoch.get(METRIC) is not None)
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
    ) -> None:
        self.store, self.progress, self.epochs = store, progress, epochs
        self.on_progress = on_progress
        self.attempts: dict[int, int] = {}
        self.stopped_by: int | None = None
        self.callback = _Callback(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot go into Ray's snapshots of the experiment, which are never read."""
        return {**self.__dict__, "on_progress": None}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Say whether Tune is to stop all trials."""
        return self.stopped_by is not None

    def started(self, number: int) -> None:
        self.attempts[number] = self.attempts.get(number, 0) + 1
        self.progress.running += 1
        self.store.append("started", trial=number, attempt=self.attempts[number])
        self.on_progress(self.progress)

    def epoch(self, number: int, result: dict[str, Any]) -> None:
        kept = {key: result[key] for key in RECORDED if key in result}
        self.progress.take(number, kept)
        self.store.append("epoch", trial=number, attempt=self.attempts[number], **kept)
        self.on_progress(self.progress)

    def saved(self, number: int, folder: str, epoch: int) -> None:
        self.store.append("saved", trial=number, checkpoint=folder, epoch=epoch)

    def ended(self, number: int, result: dict[str, Any], error: str | None = None) -> None:
        self.progress.running -= 1
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
        fields = {"error": error} if error else {}
        self.store.append("ended", trial=number, status=status, **fields)
        self.on_progress(self.progress)


RECORDED = (
    "epoch",
    "train_loss",
    "valid_loss",
    "valid_wer",
    "learning_rate",
    "seconds",
    "diverged",
    "host",
    "pid",
    "began",
    "ended",
)


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
        self.recorder.saved(trial.config["number"], checkpoint.path, epoch)

    def on_trial_recover(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        self.recorder.progress.running -= 1

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        self.recorder.ended(trial.config["number"], trial.last_result)

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: Any
    ) -> None:
        cause = last_line(str(trial.get_error() or "lost"))
        self.recorder.ended(trial.config["number"], trial.last_result, error=cause)


def last_line(text: str) -> str:
    """Return the last line of a text that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


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


def run_refit(
    study: Study,
    corpus: "Corpus | None",
    *,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> dict[str, Any]:
    """Train the best config on training and validation parts, then read the test part, once.

    Training runs on the TorchTrainer, to the best trial's best epoch.

    Returns:
        ``checkpoint`` (a folder), ``epochs``, and ``test`` (figures on the test part; `yesno`).

    Raises:
        WorkError: no trial has a result to refit.
    """
    from raytune_yesno.train import run_training

    best = study.best
    if best is None or best.best_epoch is None:
        raise WorkError(f"{study.path}: no trial came to a result; see `report {study.path}`")
    config = best_config(study, best)
    epochs = best.best_epoch["epoch"]
    run = run_training(
        config, corpus, study.path / REFIT, refit=True, epochs=epochs, on_epoch=on_epoch
    )
    refit = {"checkpoint": str(run.last), "epochs": epochs, "trial": best.number}
    if corpus:
        from raytune_yesno.recognizer import Recognizer, evaluate

        refit["test"] = evaluate(Recognizer(load_checkpoint(run.last)), corpus, "test")
    StudyStore(study.path).append("refitted", **refit)
    return refit


def best_config(study: Study, trial: StudyTrial) -> Config:
    """Return the whole config of a study's trial."""
    return build_config(study.asked["config"], trial.point, where=str(study.path))
