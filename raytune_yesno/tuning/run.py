"""Run a study: Ray Tune runs the trials, the store records them, the best config is refitted.

The folder of a study holds ``study.jsonl`` (see :mod:`raytune_yesno.study.store`), ``refit`` (the
folder of a training run) and, during the search, ``trials`` (Ray's files and checkpoints).
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raytune_yesno.checkpoint import Checkpoint, library_versions, load_checkpoint
from raytune_yesno.cluster.session import count_fitting, worker_bundles
from raytune_yesno.config import TASKS, Config, build_config, find_task, upgrade_config
from raytune_yesno.errors import InputError, Interrupted, WorkError, quote
from raytune_yesno.files.remote import delete_tree, list_siblings
from raytune_yesno.files.writable import wait_until_writable
from raytune_yesno.metrics import COST, TRAIN_LOSS
from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.space import format_space, parse_space
from raytune_yesno.study import Study, load
from raytune_yesno.study import Trial as StudyTrial
from raytune_yesno.study.load import mark_outside
from raytune_yesno.study.requests import Inbox
from raytune_yesno.study.store import Event, StudyStore
from raytune_yesno.tasks.task import Data, describe_data
from raytune_yesno.text import last_line
from raytune_yesno.tuning.control import BY_REQUEST, RequestHandler, list_pending
from raytune_yesno.tuning.controller import our_controller
from raytune_yesno.tuning.final_round import ask_final_round
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.ranks import Payload, seal
from raytune_yesno.tuning.recorder import Recorder, stop_on_signals
from raytune_yesno.tuning.searcher import StudySearcher
from raytune_yesno.tuning.stop_conditions import (
    OrderedStopMonitor,
    StopConditions,
    StopMonitor,
)
from raytune_yesno.tuning.trial import Trial

TRIALS, REFIT = "trials", "refit"
MAX_FAILURES = 3
"""The most restarts of a trial whose process was lost, each from its last checkpoint."""
MAX_REFITS = 3
"""The most seeds tried for a refit that falls short of its trial."""
_UNLIMITED = 2**31
_MAX_REASONS = 5
_MAX_SHORTFALL = 0.1  # fraction of the decrease of the trial's training loss


def run_search(
    plan: Plan,
    data: Data | None,
    out: Path,
    *,
    storage: str | None = None,
    source: str = "",
    resume: bool = False,
    add_trials: int = 0,
    retry: Collection[int] = (),
    extend: Collection[int] = (),
    checkpoint_every_s: float = 10.0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda line: None,
    listen: Callable[[Event], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Study:
    """Run the search of a study on the initialised Ray cluster.

    SIGINT or SIGTERM stops the search after the epochs in flight and raises :class:`Interrupted`.
    With ``resume``, finished trials are kept, unfinished ones resume from their last checkpoints,
    and the search algorithm receives all recorded results.

    Args:
        plan: what to search, how, and when to stop.
        data: the task's data; None for a task without data.
        out: the study's folder. Only this process writes there.
        storage: folder or URI for checkpoints. Every node must reach it. Defaults to ``out``.
        source: the name by which the user gave the data. It is recorded; resuming uses it.
        resume: whether to resume the study in ``out``.
        add_trials: the number of trials to add to a resumed study.
        retry: numbers of ended trials of a resumed study to train again, from their beginning.
        extend: numbers of finished trials of a resumed study to train on, to the plan's epochs.
        checkpoint_every_s: seconds between checkpoints of a trial: the most work lost in a crash.
        on_progress: called after every change of the search's progress.
        note: called with a line on each unusable checkpoint.
        listen: called with every event written to the store.
        check: called before each write. It raises if another process writes to the study.

    Returns:
        The study with its finished search.

    Raises:
        InputError: the plan is invalid or does not fit the cluster, or the study to resume was
            made with other data.
        Interrupted: a signal asked to stop.
        WorkError: Ray Tune failed.
    """
    out = out.absolute()
    before = load_resumable(out, data) if resume else None
    if before and add_trials:
        plan = plan.extend(before, add_trials)
    elif before and before.searched and (retry or extend):
        plan = replace(plan, trials=len(before.trial_list) - len(before.enqueued))
    plan.check()
    if not resume:
        plan.check_all_points()
    slots = min(count_fitting(plan.config), plan.num_trials, plan.max_concurrent or plan.num_trials)
    if plan.ordered:
        slots = min(slots, plan.window)
    store = StudyStore(out, listen, storage, check=check)
    code = TASKS.pack(plan.config.task)
    earlier = before.trial_list if before else []
    if before is None:
        store.append(
            "study",
            format=1,
            slots=slots,
            data=source,
            corpus=describe_data(data),
            versions=library_versions(),
            **({"code": code.digest} if code else {}),
            **plan.as_dict(),
        )
    else:
        if code and before and before.asked.get("code") != code.digest:
            note(
                f"{plan.config.task}: the code has changed since the study began; trials from now "
                "on run the new code, and are compared with the earlier ones"
            )
        is_changed = plan.space != parse_space(before.asked["space"])
        changes: dict[str, Any] = {"space": format_space(plan.space)} if is_changed else {}
        if extend:
            changes["epochs"] = plan.config.epochs
        if plan.final_round:
            changes["final_round"] = dict(plan.final_round)
        store.append("resumed", slots=slots, trials=plan.num_trials, **vars(plan.stop), **changes)
        end_complete(earlier, plan.config.epochs, store)
        end_requested(before, store)
        if is_changed:
            end_outside(earlier, plan, store, note)
        restart(earlier, retry, plan.config.epochs, store)
        prolong(earlier, extend, plan.config.epochs, store)
    finished = [trial for trial in earlier if trial.status != "running"]
    unfinished = [trial for trial in earlier if trial.status == "running"]
    objective = plan.config.objective
    num_before = sum(trial.final for trial in earlier)  # of earlier final rounds or this one
    expected = plan.num_trials + max(num_before, plan.num_final)
    expected += len(before.enqueued) if before else 0
    progress = Progress(objective, expected, slots, plan.config.epochs, on_progress)
    for trial in earlier:
        for epoch in trial.epochs:
            progress.take(trial.number, epoch)
        if trial.status != "running":
            progress.ended[trial.status] += 1
    monitor = (OrderedStopMonitor if plan.ordered else StopMonitor)(plan.stop, objective, earlier)
    store.listeners += [progress.listen, monitor.listen]
    recorder = Recorder(store, progress, monitor, note, plan.keep_checkpoints)
    recorder.attempts = {trial.number: trial.attempts for trial in earlier}
    # Trials that the user has chosen to extend are not stopped early.
    is_extension = any(len(trial.planned) > 1 for trial in unfinished)
    scheduler = (replace(plan, scheduler="fifo") if is_extension else plan).build_scheduler()
    scheduler.prepare(
        earlier,
        num_trials=plan.num_trials + num_before,
        slots=slots,
        store=store,
        on_wait=recorder.waits,
    )
    enqueued = list_pending(before) if before else []
    searcher = StudySearcher(plan, store, finished, unfinished, monitor, scheduler, enqueued)
    keep_last = plan.keep_checkpoints > 0
    payload = Payload(seal(plan.config), ray.put(data), checkpoint_every_s, keep_last)
    # A search that a stop condition ended continues only if trials were added.
    more = add_trials or retry or extend
    over = before and (before.searched or before.finalists is not None) and not more
    if before and before.is_stop_requested:  # and its command was killed before it stopped
        monitor.found = BY_REQUEST
        recorder.cut_off(trial.number for trial in unfinished)
    elif searcher.num_left > 0 and not over:
        seen = [event["request"] for event in before.requests] if before else []
        with Inbox(store.storage, seen) as inbox:
            handler = RequestHandler(inbox, plan, searcher, recorder)
            tune_trials(plan, payload, searcher, scheduler, recorder, slots, handler)
            handler.refuse_rest()
    if monitor.found:
        recorder.cut_off(searcher.in_flight)
    reason = {"reason": monitor.found} if monitor.found else {}
    store.listeners.remove(monitor.listen)
    if plan.num_final:
        ask_final_round(load(out), plan, store, **reason)
        trials = load(out).trial_list
        unfinished = [trial for trial in trials if trial.status == "running"]
        finished = [trial for trial in trials if trial.status != "running"]
        recorder.monitor = monitor = StopMonitor(StopConditions(), objective)
        scheduler = build_scheduler("fifo", plan.config.epochs)
        count = len(unfinished)
        searcher = StudySearcher(
            plan, store, finished, unfinished, monitor, scheduler, num_left=count
        )
        if count:
            tune_trials(plan, payload, searcher, scheduler, recorder, min(slots, count))
    store.append("searched", **reason)
    study = load(out)
    delete_checkpoints(study, f"{store.storage}/{TRIALS}", plan.keep_checkpoints)
    return study


def delete_checkpoints(study: Study, folder: str, keep: int) -> None:
    """Delete the folders of all trials except those of the best finished ones."""
    finished = [trial for trial in study.ranking if trial.status == "done" and trial.checkpoint]
    kept = {trial.checkpoint[0].rpartition("/")[0] for trial in finished[:keep] if trial.checkpoint}
    if not kept:
        delete_tree(folder)
        return
    for each in list_siblings(f"{folder}/-"):
        if each not in kept:
            delete_tree(each)


def end_complete(trials: Iterable[StudyTrial], epochs: int, store: StudyStore) -> None:
    """Record the end of trials that finished their last epoch before the study was killed."""
    for trial in trials:
        if trial.status == "running" and trial.epochs:
            last = trial.epochs[-1]
            if last.get("diverged") or last["epoch"] >= epochs:
                trial.status = "diverged" if last.get("diverged") else "done"
                store.append("ended", trial=trial.number, status=trial.status)


def end_requested(study: Study, store: StudyStore) -> None:
    """Record the end of trials whose stop was requested before the study was killed."""
    for trial in study.trial_list:
        if trial.status == "running" and trial.is_stop_requested:
            trial.status = "stopped"
            store.append("ended", trial=trial.number, status=trial.status)


def end_outside(
    trials: Sequence[StudyTrial], plan: Plan, store: StudyStore, note: Callable[[str], None]
) -> None:
    """Mark the trials that do not count in a changed space, and end those that are unfinished."""
    mark_outside(trials, plan.space, plan.config.as_dict())
    outside = [trial for trial in trials if trial.outside]
    for trial in outside:
        if trial.status == "running":
            trial.status = "stopped"
            store.append("ended", trial=trial.number, status=trial.status, reason=trial.outside)
    note(f"space changed: {len(trials) - len(outside)} of {len(trials)} earlier trials count")
    reasons = Counter(str(trial.outside) for trial in outside)
    for reason, count in reasons.most_common(_MAX_REASONS):
        note(f"  {count} outside: {reason}")
    if len(reasons) > _MAX_REASONS:
        note(f"  and {len(reasons) - _MAX_REASONS} more reasons")


def restart(
    trials: Sequence[StudyTrial], numbers: Collection[int], epochs: int, store: StudyStore
) -> None:
    """Record that ended trials are trained again."""
    for trial in trials:
        if trial.number in numbers:
            store.append("retried", trial=trial.number)
            trial.status, trial.error, trial.checkpoint, trial.epochs = "running", None, None, []
            trial.planned = [(0, epochs)]


def has_last_checkpoint(trial: StudyTrial) -> bool:
    """Return whether the checkpoint of a trial's last epoch was kept."""
    if trial.checkpoint is None or trial.checkpoint[1] != trial.last_epoch:
        return False
    folder = trial.checkpoint[0]
    return folder in list_siblings(f"{folder.rpartition('/')[0]}/-")


def prolong(
    trials: Sequence[StudyTrial], numbers: Collection[int], epochs: int, store: StudyStore
) -> None:
    """Record that finished trials are trained on: from the beginning without a checkpoint."""
    for trial in trials:
        if trial.number in numbers:
            after = trial.last_epoch if has_last_checkpoint(trial) else 0
            if not after:
                trial.epochs, trial.checkpoint, trial.planned = [], None, []
            store.append("extended", trial=trial.number, after=after, epochs=epochs)
            trial.status = "running"
            trial.planned.append((after, epochs))


def load_resumable(out: Path, data: Data | None) -> Study:
    """Return the study in a folder, to be resumed.

    Raises:
        InputError: there is none, or its trials were trained on other data.
    """
    study = load(out)
    check_data(study, data)
    return study


def check_data(study: Study, data: Data | None) -> None:
    """Check that a study's trials were trained on these data.

    Raises:
        InputError: they were trained on other data.
    """
    trained_on = study.asked.get("corpus", {})
    if data and data.fingerprint != trained_on.get("fingerprint"):
        raise InputError(
            f"{study.path}: this study was trained on {trained_on.get('source')} "
            f"({trained_on.get('fingerprint')}), not on {data.source} ({data.fingerprint}); "
            "give the same --data"
        )


def tune_trials(
    plan: Plan,
    payload: Payload,
    searcher: "StudySearcher",
    scheduler: Any,
    recorder: "Recorder",
    slots: int,
    on_step: Callable[[Any], None] | None = None,
) -> None:
    """Run the trials proposed by ``searcher`` with Ray Tune.

    Raises:
        Interrupted: a signal asked to stop.
        WorkError: Ray Tune failed.
    """
    # The store replaces Ray's loggers, and the recorder handles SIGINT.
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
            num_samples=_UNLIMITED,  # the searcher says when the search has finished
            max_concurrent_trials=None if waits else slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=recorder.store.storage,
            stop=recorder,
            callbacks=[recorder.callback],
            # A checkpoint at the end of a trial would be deleted at once.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            verbose=0,
        ),
    )
    try:
        with stop_on_signals(recorder), our_controller(on_step):
            tuner.fit()
    except tune.TuneError as error:
        raise WorkError(f"the search failed: {last_line(str(error))}") from error
    if recorder.stopped_by or recorder.fatal:
        recorder.store.append("paused")
    if recorder.stopped_by:
        raise Interrupted(recorder.stopped_by)
    if recorder.fatal:
        raise WorkError(f"{recorder.fatal}; every trial would fail in this way")


def run_refit(
    study: Study,
    data: Data | None,
    *,
    storage: str | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
    note: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Train the best config on the training and validation parts, then evaluate the test part once.

    Training runs on the TorchTrainer up to the best epoch of the best trial or, if its point was
    trained several times, of their mean curve (:attr:`Candidate.epochs`). A refit that learns
    much less than its trial is repeated with the next seed, at most :data:`MAX_REFITS` times in
    all.

    Args:
        study: the study with the finished search.
        data: the task's data; None for a task without data.
        storage: folder or URI of the study and for the workers' checkpoints. Every node must reach
            it. Defaults to the study's folder.
        on_epoch: called with the metrics at the end of every epoch.
        note: called with a line on each unusable checkpoint and each repeated refit.
        check: called before the result is written, as in :func:`run_search`.

    Returns:
        ``checkpoint`` (folder or URI), ``epochs``, ``trial`` and ``seed``. If the task has a test,
        also ``test`` (metrics on the test part) and ``test_says`` (a line describing them). A task
        that is not refitted, such as a function, has no ``checkpoint``.

    Raises:
        WorkError: no trial has a result to refit, or the refit diverged.
    """
    from raytune_yesno.training.resume import find_resumable
    from raytune_yesno.training.run import run_training

    best = study.best
    if best is None or best.best_epoch is None:
        raise WorkError(f"{study.path}: no trial has a result; see `report {study.path}`")
    config = best_config(study, best)
    epochs = study.candidates[0].epochs
    task = find_task(config.task)

    def record(refit: dict[str, Any]) -> dict[str, Any]:
        def wait(error: OSError) -> None:
            if not wait_until_writable(study.path, 1 << 16, note):
                raise error

        StudyStore(study.path, wait=wait, check=check).append("refitted", **refit)
        return refit

    if not getattr(task, "refits", True):
        return record({"epochs": epochs, "trial": best.number, "seed": config.seed})
    folder = study.path / REFIT
    checkpoint, damage = find_resumable(folder)
    if damage and checkpoint is None and folder.exists():
        note(f"{damage}; the refit restarts from the beginning")
    checkpoints = f"{storage or study.path}/{REFIT}"
    configs = [
        build_config(config.as_dict(), {"seed": config.seed + number})
        for number in range(MAX_REFITS)
    ]
    resumed = [checkpoint is not None and is_part(checkpoint, config, epochs) for config in configs]
    for number in range(resumed.index(True) if any(resumed) else 0, MAX_REFITS):
        config, resume = configs[number], resumed[number]
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)  # left from before the study was extended
        run = run_training(
            config,
            data,
            folder,
            storage=checkpoints,
            resume=resume,
            refit=True,
            epochs=epochs,
            on_epoch=on_epoch,
            note=note,
        )
        if run.diverged or not (shortfall := find_shortfall(best, run.history)):
            break
        is_last = number == MAX_REFITS - 1
        action = "it is kept" if is_last else f"training again with seed {config.seed + 1}"
        note(f"the refit learnt less than trial {best.number}: {shortfall}; {action}")
    if run.diverged:
        raise WorkError(
            f"{folder}: the config of trial {best.number} diverged in the refit: its "
            f"loss is not finite after epoch {len(run.history)} of {epochs}; more trials "
            "may find a more stable config: raytune-yesno tune --add-trials 8 --resume "
            f"{quote(storage or str(study.path))}"
        )
    refit = {"checkpoint": f"{checkpoints}/{run.last.name}", "epochs": epochs, "trial": best.number}
    refit["seed"] = config.seed
    if hasattr(task, "test"):
        refit["test"] = task.test(load_checkpoint(run.last), data)
        refit["test_says"] = task.describe_test(refit["test"])
    return record(refit)


def find_shortfall(trial: StudyTrial, history: Sequence[Mapping[str, Any]]) -> str:
    """Return how a refit falls short of its trial by the training loss; empty if it does not.

    A refit has no validation, so its training loss is compared with the trial's at the same epoch.
    It falls short if the difference exceeds a tenth of the decrease of the trial's training loss.
    """
    best = trial.best_epoch or {}
    first, reached = (epoch.get(TRAIN_LOSS.name) for epoch in (trial.epochs[0], best))
    loss = history[-1].get(TRAIN_LOSS.name)
    if first is None or reached is None or loss is None:
        return ""
    if loss - reached <= _MAX_SHORTFALL * max(0.0, first - reached) or first <= reached:
        return ""
    return f"its training loss is {loss:.4g}, the trial's was {reached:.4g}"


def is_part(checkpoint: Checkpoint, config: Config, epochs: int) -> bool:
    """Return whether a checkpoint belongs to a refit of ``config`` of at most ``epochs`` epochs."""
    return checkpoint.refit and checkpoint.config == config and checkpoint.epoch <= epochs


def best_config(study: Study, trial: StudyTrial) -> Config:
    """Return the full config of a study's trial at its best epoch."""
    config = upgrade_config(study.asked["config"])
    if best := trial.best_epoch:
        # The learning rate followed the number of epochs that was planned then.
        epochs = trial.planned_at(best["epoch"], config.get("epochs", Config.epochs))
        config = {**config, "epochs": epochs}
    return build_config(config, trial.best_point, where=str(study.path))
