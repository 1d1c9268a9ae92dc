"""A study: Ray Tune launches trials, the store records them, the best config is refitted.

A study's folder holds ``study.jsonl`` (see :mod:`raytune_yesno.study.store`), ``refit`` (the folder
of a training run) and, while the search runs, ``trials``: Ray's files and the trials' checkpoints.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raytune_yesno.checkpoint import Checkpoint, library_versions, load_checkpoint
from raytune_yesno.cluster.session import count_fitting, worker_bundles
from raytune_yesno.config import Config, build_config, find_task, upgrade_config
from raytune_yesno.errors import InputError, Interrupted, WorkError, quote
from raytune_yesno.files.remote import delete_tree
from raytune_yesno.files.writable import wait_until_writable
from raytune_yesno.metrics import COST, TRAIN_LOSS
from raytune_yesno.study import Study, load
from raytune_yesno.study import Trial as StudyTrial
from raytune_yesno.study.store import Event, StudyStore
from raytune_yesno.tasks.task import Data, describe_data
from raytune_yesno.text import last_line
from raytune_yesno.tuning.controller import our_controller
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.ranks import Payload
from raytune_yesno.tuning.recorder import Recorder, stop_on_signals
from raytune_yesno.tuning.searcher import StudySearcher
from raytune_yesno.tuning.stop_conditions import OrderedStopMonitor, StopMonitor
from raytune_yesno.tuning.trial import Trial

TRIALS, REFIT = "trials", "refit"
MAX_FAILURES = 3
"""Times that a trial whose process was lost is started again, from its last checkpoint."""
MAX_REFITS = 3
"""Seeds with which a refit is tried that falls short of its trial."""
_MAX_SHORTFALL = 0.1  # of what the trial's training loss fell


def run_search(
    plan: Plan,
    data: Data | None,
    out: Path,
    *,
    place: str | None = None,
    source: str = "",
    resume: bool = False,
    add_trials: int = 0,
    checkpoint_every_s: float = 10.0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda line: None,
    listen: Callable[[Event], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Study:
    """Run a study's search on the Ray cluster that is initialised, and return the study.

    SIGINT and SIGTERM end it after the epochs in flight; :class:`Interrupted` is raised then, and
    ``resume`` goes on: finished trials stay as they are, unfinished ones go on from their last
    checkpoints, and the search is told all records.

    Args:
        out: the study's folder, where this process writes.
        place: where its checkpoints go, and who reads them must reach it: a URI [``out``].
        source: how the user named the data, for the record; resuming finds them by that.
        add_trials: how many more trials a resumed study gets.
        note: is handed a line on each checkpoint that could not be used.
        checkpoint_every_s: seconds of a trial that a crash may cost.
        listen: is handed every event that the store was told.
        check: called before each record; it raises once another process writes to the study.

    Raises:
        InputError: the plan makes no sense or does not fit the cluster, or the study that is to go
            on had other data.
        Interrupted: a signal asked to stop.
        WorkError: Ray Tune failed.
    """
    out = out.absolute()
    before = load_resumable(out, data) if resume else None
    if before and add_trials:
        plan = plan.extend(before, add_trials)
    plan.check()
    if not resume:
        plan.check_all_points()
    slots = min(count_fitting(plan.config), plan.num_trials, plan.max_concurrent or plan.num_trials)
    if plan.ordered:
        slots = min(slots, plan.window)
    store = StudyStore(out, listen, place, check=check)
    earlier = before.trial_list if before else []
    if not resume:
        store.append(
            "study",
            format=1,
            slots=slots,
            data=source,
            corpus=describe_data(data),
            versions=library_versions(),
            **plan.as_dict(),
        )
    else:
        store.append("resumed", slots=slots, trials=plan.num_trials, **vars(plan.stop))
        end_whole(earlier, plan.config.epochs, store)
    finished = [trial for trial in earlier if trial.status != "running"]
    unfinished = [trial for trial in earlier if trial.status == "running"]
    objective = plan.config.objective
    progress = Progress(objective, plan.num_trials, slots, plan.config.epochs, on_progress)
    for trial in earlier:
        for epoch in trial.epochs:
            progress.take(trial.number, epoch)
        if trial.status != "running":
            progress.ended[trial.status] += 1
    monitor = (OrderedStopMonitor if plan.ordered else StopMonitor)(plan.stop, objective, earlier)
    store.listeners += [progress.listen, monitor.listen]
    recorder = Recorder(store, progress, monitor, note)
    recorder.attempts = {trial.number: trial.attempts for trial in earlier}
    scheduler = plan.build_scheduler()
    scheduler.prepare(
        earlier, num_trials=plan.num_trials, slots=slots, store=store, on_wait=recorder.waits
    )
    searcher = StudySearcher(plan, store, finished, unfinished, monitor, scheduler)
    remaining = plan.num_trials - len(finished)
    # A search that a stop condition ended goes on only if it was given more trials.
    over = before is not None and before.searched and not add_trials
    if remaining > 0 and not over:
        with stop_on_signals(recorder):
            payload = Payload(plan.config, ray.put(data), checkpoint_every_s)
            tune_trials(plan, payload, searcher, scheduler, recorder, remaining, slots)
    if recorder.stopped_by:
        store.append("paused")
        raise Interrupted(recorder.stopped_by)
    if monitor.found:
        recorder.cut_off(searcher.in_flight)
    store.append("searched", **({"reason": monitor.found} if monitor.found else {}))
    delete_tree(f"{store.place}/{TRIALS}")
    return load(out)


def end_whole(trials: Iterable[StudyTrial], epochs: int, store: StudyStore) -> None:
    """Note the end of the trials that were killed between their last epoch and the note of it."""
    for trial in trials:
        if trial.status == "running" and trial.epochs:
            last = trial.epochs[-1]
            if last.get("diverged") or last["epoch"] >= epochs:
                trial.status = "diverged" if last.get("diverged") else "done"
                store.append("ended", trial=trial.number, status=trial.status)


def load_resumable(out: Path, data: Data | None) -> Study:
    """Return the study to resume.

    Raises:
        InputError: there is none, or its trials were trained on other data.
    """
    study = load(out)
    check_data(study, data)
    return study


def check_data(study: Study, data: Data | None) -> None:
    """Raise InputError if a study's trials were trained on other data."""
    trained_on = study.asked.get("corpus", {})
    if data and data.fingerprint != trained_on.get("fingerprint"):
        raise InputError(
            f"{study.path}: this study is of {trained_on.get('source')} "
            f"({trained_on.get('fingerprint')}), not of {data.source} ({data.fingerprint}); "
            "give --data as it was then"
        )


def tune_trials(
    plan: Plan,
    payload: Payload,
    searcher: "StudySearcher",
    scheduler: Any,
    recorder: "Recorder",
    num_trials: int,
    slots: int,
) -> None:
    """Let Ray Tune run the trials that ``searcher`` proposes."""
    # The store records what Ray's own loggers would; SIGINT is the recorder's.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)
    # A waiting trial does not count as running, and a synchronous scheduler limits these itself.
    waits = scheduler.synchronous
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(Trial, payload=payload),
            tune.PlacementGroupFactory(worker_bundles(plan.config)),
        ),
        tune_config=tune.TuneConfig(
            metric=COST,
            mode="min",
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=num_trials + waits,  # one more, or the search ends while trials wait
            max_concurrent_trials=None if waits else slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=recorder.store.place,
            stop=recorder,
            callbacks=[recorder.callback],
            # What was saved at a trial's end would be deleted at once.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            verbose=0,
        ),
    )
    try:
        with our_controller():
            tuner.fit()
    except tune.TuneError as error:
        raise WorkError(f"the search failed: {last_line(str(error))}") from error


def run_refit(
    study: Study,
    data: Data | None,
    *,
    place: str | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
    note: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Train the best config on training and validation parts, then read the test part, once.

    Training runs on the TorchTrainer, to the best trial's best epoch. A refit that learns much less
    than its trial did is repeated with the next seed, :data:`MAX_REFITS` times in all.

    Args:
        place: where workers leave their checkpoints, a URI, and where the study's folder is kept
            [that folder].
        check: as of :func:`run_search`.

    Returns:
        ``checkpoint`` (a folder), ``epochs``, ``trial``, ``seed``, and ``test`` and ``test_says``
        (figures on the test part, and a line on them), if the task has a test.

    Raises:
        WorkError: no trial has a result to refit, or the refit diverged.
    """
    from raytune_yesno.training.run import find_resumable, run_training

    best = study.best
    if best is None or best.best_epoch is None:
        raise WorkError(f"{study.path}: no trial came to a result; see `report {study.path}`")
    config = best_config(study, best)
    epochs = best.best_epoch["epoch"]
    folder = study.path / REFIT
    begun, damage = find_resumable(folder)
    if damage and begun is None and folder.exists():
        note(f"{damage}; the refit is begun anew")
    kept = f"{place or study.path}/{REFIT}"
    tries = [
        build_config(config.as_dict(), {"seed": config.seed + number})
        for number in range(MAX_REFITS)
    ]
    resumed = [begun is not None and is_part(begun, config, epochs) for config in tries]
    for number in range(resumed.index(True) if any(resumed) else 0, MAX_REFITS):
        config, resume = tries[number], resumed[number]
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)  # of a study that was then extended
        run = run_training(
            config,
            data,
            folder,
            place=kept,
            resume=resume,
            refit=True,
            epochs=epochs,
            on_epoch=on_epoch,
            note=note,
        )
        if run.diverged or not (shortfall := find_shortfall(best, run.history)):
            break
        is_last = number == MAX_REFITS - 1
        again = "it is kept" if is_last else f"training again with seed {config.seed + 1}"
        note(f"the refit learnt less than trial {best.number}: {shortfall}; {again}")
    if run.diverged:
        raise WorkError(
            f"{folder}: trained on more recordings, trial {best.number}'s config diverged: its "
            f"loss is no longer a number after epoch {len(run.history)} of {epochs}; more trials "
            "may find a steadier one: raytune-yesno tune --add-trials 8 --resume "
            f"{quote(place or str(study.path))}"
        )
    refit = {"checkpoint": f"{kept}/{run.last.name}", "epochs": epochs, "trial": best.number}
    refit["seed"] = config.seed
    task = find_task(config.task)
    if hasattr(task, "test"):
        refit["test"] = task.test(load_checkpoint(run.last), data)
        refit["test_says"] = task.describe_test(refit["test"])

    def wait(error: OSError) -> None:
        if not wait_until_writable(study.path, 1 << 16, note):
            raise error

    StudyStore(study.path, wait=wait, check=check).append("refitted", **refit)
    return refit


def find_shortfall(trial: StudyTrial, history: Sequence[Mapping[str, Any]]) -> str:
    """Return how a refit fell short of its trial, by the training loss; empty if it did not.

    A refit validates nothing, so its training loss is compared with the trial's at the same epoch.
    It falls short if it lacks more than a tenth of what the trial's training gained.
    """
    best = trial.best_epoch or {}
    first, reached = (epoch.get(TRAIN_LOSS.name) for epoch in (trial.epochs[0], best))
    loss = history[-1].get(TRAIN_LOSS.name)
    if first is None or reached is None or loss is None:
        return ""
    if loss - reached <= _MAX_SHORTFALL * max(0.0, first - reached) or first <= reached:
        return ""
    return f"its training loss is {loss:.4g}, the trial's was {reached:.4g}"


def is_part(begun: Checkpoint, config: Config, epochs: int) -> bool:
    """Say whether a checkpoint is of the refit of a config, cut off at or before an epoch."""
    return begun.refit and begun.config == config and begun.epoch <= epochs


def best_config(study: Study, trial: StudyTrial) -> Config:
    """Return the whole config of a study's trial."""
    return build_config(
        upgrade_config(study.asked["config"]), trial.best_point, where=str(study.path)
    )
