"""Run the search of a study: Ray Tune runs the trials, the store records them.

The folder of a study holds ``study.jsonl`` (see :mod:`raytune_yesno.study.store`), ``refit`` (the
folder of a training run) and, during the search, ``trials`` (Ray's files and checkpoints).
"""

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from raytune_yesno.cluster.environment import environment
from raytune_yesno.cluster.session import count_fitting, worker_bundles
from raytune_yesno.errors import Interrupted, WorkError
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.files.remote import delete_tree, list_folders
from raytune_yesno.metrics import COST
from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.signals import stop_signals
from raytune_yesno.study import Study, load
from raytune_yesno.study.requests import Inbox
from raytune_yesno.study.store import TRIALS, Event, StudyStore, name_command
from raytune_yesno.study_settings import CHECKPOINT_EVERY_S
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.task import Data, check_same_data, describe_data
from raytune_yesno.text import last_line
from raytune_yesno.training.serialization import put_shared
from raytune_yesno.tuning.controller import our_controller
from raytune_yesno.tuning.final_round import ask_final_round
from raytune_yesno.tuning.kept_checkpoints import KeptTrials, list_kept, select_stored
from raytune_yesno.tuning.limits import build_limited
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_all_points, check_plan, remark_on_points
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.ranks import StudyPayload, seal
from raytune_yesno.tuning.recorder import Recorder
from raytune_yesno.tuning.request_handler import BY_REQUEST, RequestHandler, list_pending
from raytune_yesno.tuning.resume import list_choice, resume_trials
from raytune_yesno.tuning.searcher import StudySearcher
from raytune_yesno.tuning.stop_conditions import OrderedStopMonitor, StopConditions, StopMonitor
from raytune_yesno.tuning.trial import TrialActor
from raytune_yesno.user_code import Code
from raytune_yesno.versions import library_versions

MAX_TRIAL_RESTARTS = 3
"""The most restarts of a trial for one cause, each from its last checkpoint."""
_UNLIMITED = 2**31
_TUNE_VARIABLES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the store replaces Ray's loggers
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the recorder handles it
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


def run_search(
    plan: Plan,
    data: Data | None,
    out: Path | OutputFolder,
    *,
    source: str = "",
    resume: bool | Study = False,
    add_trials: int = 0,
    retry: Collection[int] = (),
    extend: Collection[int] = (),
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda line: None,
    listen: Callable[[Event], None] | None = None,
) -> Study:
    """Run the search of a study on the initialised Ray cluster.

    SIGINT or SIGTERM stops the search after the epochs in flight and raises :class:`Interrupted`.
    With ``resume``, finished trials are kept, unfinished ones resume from their last checkpoints,
    and the search algorithm receives all recorded results.

    Args:
        plan: what to search, how, and when to stop.
        data: the task's data; None for a task without data.
        out: the study's folder. Only this process writes there; every node must reach it, or the
            storage of an :class:`OutputFolder`.
        source: the name by which the user gave the data. It is recorded; resuming uses it.
        resume: whether to resume the study in ``out``; or this study, if it was loaded under the
            lock that is still held.
        add_trials: the number of trials to add to a resumed study.
        retry: numbers of ended trials of a resumed study to train again, from their beginning.
        extend: numbers of finished trials of a resumed study to train on, to the plan's epochs.
        checkpoint_every_s: seconds between checkpoints of a trial: the most work lost in a crash.
        on_progress: called after every change of the search's progress.
        note: called with a line on what the user should know, such as an unusable checkpoint.
        listen: called with every event written to the store.

    Returns:
        The study with its finished search.

    Raises:
        InputError: the plan is invalid or does not fit the cluster, or the study to resume was
            made with other data.
        Interrupted: a signal asked to stop.
        WorkError: Ray Tune failed.
    """
    out = OutputFolder.of(out)
    before = resume if isinstance(resume, Study) else load(out.path) if resume else None
    if before:
        check_same_data(data, before.settings.get("corpus", {}), f"{before.path}: this study")
    if before and add_trials:
        plan = plan.extend(before, add_trials)
    elif before and before.has_search_ended:
        plan = replace(plan, trials=max(1, before.num_proposed))
    check_plan(plan)
    if before is None:
        check_all_points(plan)
        if remark := remark_on_points(plan):
            note(remark)
    # A search that a stop condition ended continues only if there are more trials to train.
    elif before.searched and not (add_trials or retry or extend):
        if choice := list_choice(before, plan):
            changes = {**choice, **name_command()}
            StudyStore(out, listen).append("resumed", searched=True, **changes)
        return end_search(out, plan)
    algorithm = build_limited(plan, data)
    slots = plan.limit_slots(count_fitting(plan.config))
    sealed, shared = seal(plan.config), put_shared(plan.config.task, data)
    payload = StudyPayload(sealed, shared, checkpoint_every_s, plan.keep_checkpoints > 0)
    store = StudyStore(out, listen)
    code = TASKS.pack(plan.config.task)
    if before is None:
        study = record_settings(plan, store, slots, source, data, code)
    else:
        study = resume_trials(before, plan, store, slots, code, note, retry=retry, extend=extend)
    recorder = build_recorder(plan, study, store, slots, on_progress, note)
    searcher = build_searcher(plan, study, recorder, slots, algorithm)
    reason: dict[str, str] = {}
    with Inbox(out.storage, [event["request"] for event in study.requests]) as inbox:
        handler = RequestHandler(inbox, plan, searcher, recorder)
        if study.finalists is not None:  # the search had ended, and its final round was cut off
            reason = {"reason": study.reason} if study.reason else {}
        else:
            monitor = recorder.monitor
            if study.is_stop_requested:  # and its command was killed before it stopped
                monitor.found = BY_REQUEST
            elif monitor.found is None and searcher.num_left > 0:
                tune_trials(plan, payload, searcher, recorder, slots, handler)
            if monitor.found:
                recorder.cut_off(searcher.live)
                reason = {"reason": monitor.found}
        if plan.num_final:
            run_final_round(plan, payload, recorder, slots, handler.refuse, **reason)
        inbox.close()
        handler.refuse()
    store.append("searched", **reason)
    return end_search(out, plan)


def end_search(out: OutputFolder, plan: Plan) -> Study:
    """Return a study whose search has ended, and delete the checkpoints that it need not keep."""
    study = load(out.path)
    delete_checkpoints(study, (out / TRIALS).storage, plan.keep_checkpoints)
    return study


def record_settings(
    plan: Plan, store: StudyStore, slots: int, source: str, data: Data | None, code: Code | None
) -> Study:
    """Write the first event of a study, all its settings; return the study."""
    store.append(
        "study",
        format=1,
        slots=slots,
        data=source,
        corpus=describe_data(data),
        versions=library_versions(),
        **({"code": code.digest} if code else {}),
        **plan.as_dict(),
        **name_command(),
    )
    return load(store.out.path)


def build_recorder(
    plan: Plan,
    study: Study,
    store: StudyStore,
    slots: int,
    on_progress: Callable[[Progress], None],
    note: Callable[[str], None],
) -> Recorder:
    """Return the recorder of a study; progress and stop conditions listen to its events."""
    objective, earlier = plan.config.objective, study.trial_list
    first = math.inf if study.final_from is None else study.final_from
    num_before = sum(trial.final and trial.number < first for trial in earlier)
    expected = plan.num_trials + len(study.enqueued) + num_before + plan.num_final
    progress = Progress(objective, expected, slots, plan.config.epochs, on_progress)
    progress.recall(earlier)
    kind = OrderedStopMonitor if plan.ordered else StopMonitor
    counting = [trial for trial in earlier if not (trial.final or trial.outside)]
    monitor = kind(plan.stop, objective, counting, since=study.counts_from)
    keep = plan.keep_checkpoints
    stored = select_stored(earlier, (store.out / TRIALS).storage) if keep else []
    kept = KeptTrials(keep, objective, stored)
    store.listeners += [progress.listen, monitor.listen, kept.listen]
    recorder = Recorder(store, progress, monitor, note, kept)
    recorder.attempts = {trial.number: trial.attempts for trial in earlier}
    return recorder


def build_searcher(
    plan: Plan, study: Study, recorder: Recorder, slots: int, algorithm: Any
) -> StudySearcher:
    """Return the searcher of a study, with a scheduler that knows the earlier trials."""
    earlier = study.trial_list
    # Trials that the user has chosen to extend are not stopped early.
    if any(trial.is_extended for trial in earlier if trial.status == "running"):
        scheduler = replace(plan, scheduler="fifo", scheduler_options={}).build_scheduler()
    else:
        scheduler = plan.build_scheduler()
    num_final = sum(trial.final for trial in earlier)  # of earlier final rounds or this one
    scheduler.prepare(
        # A trial outside a changed space cannot win, and one of a final round repeats another, so
        # none is stopped for being worse. Their numbers still count in brackets and in the order.
        [replace(trial, epochs=[]) if trial.outside or trial.final else trial for trial in earlier],
        num_trials=plan.num_trials + num_final + len(study.enqueued),
        slots=slots,
        store=recorder.store,
        on_wait=recorder.waits,
    )
    for trial in earlier:
        if trial.final and trial.status == "running":
            scheduler.end(trial.number)  # the final round trains it on; no other waits for it
        elif trial.number in scheduler.stopped:
            trial.status = "stopped"
            recorder.cut_off([trial.number])
    return StudySearcher(
        plan,
        recorder.store,
        earlier,
        recorder.monitor,
        scheduler,
        list_pending(study, plan),
        algorithm=algorithm,
    )


def run_final_round(
    plan: Plan,
    payload: StudyPayload,
    recorder: Recorder,
    slots: int,
    on_step: Callable[[Any], None],
    **reason: str,
) -> None:
    """Choose the finalists, unless the study has them, and train them without early stopping."""
    store = recorder.store
    study = ask_final_round(load(store.out.path), plan, store, **reason)
    recorder.monitor = StopMonitor(StopConditions(), plan.config.objective)
    scheduler = build_scheduler("fifo", plan.config.epochs)
    searcher = StudySearcher(
        plan, store, study.trial_list, recorder.monitor, scheduler, is_final=True
    )
    if count := searcher.num_left:
        tune_trials(plan, payload, searcher, recorder, min(slots, count), on_step)


def tune_trials(
    plan: Plan,
    payload: StudyPayload,
    searcher: StudySearcher,
    recorder: Recorder,
    slots: int,
    on_step: Callable[[Any], None],
) -> None:
    """Run the trials proposed by ``searcher`` with Ray Tune.

    Raises:
        Interrupted: a signal asked to stop.
        WorkError: Ray Tune failed.
    """
    scheduler = searcher.scheduler
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(TrialActor, payload=payload),
            tune.PlacementGroupFactory(worker_bundles(plan.config)),
        ),
        tune_config=tune.TuneConfig(
            metric=COST,
            mode="min",
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=_UNLIMITED,  # the searcher says when the search has finished
            # A synchronous scheduler limits its trials itself: a waiting one is not running.
            max_concurrent_trials=None if scheduler.synchronous else slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=recorder.store.out.storage,
            stop=recorder,
            callbacks=[recorder.callback],
            # A checkpoint at the end of a trial would be deleted at once.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=MAX_TRIAL_RESTARTS),
            verbose=0,
        ),
    )
    try:
        with (
            environment(_TUNE_VARIABLES | {"TUNE_MAX_PENDING_TRIALS_PG": str(slots)}),
            stop_signals(recorder.stop, second_ends=False),
            our_controller(on_step),
        ):
            tuner.fit()
    except tune.TuneError as error:
        raise WorkError(f"the search failed: {last_line(str(error))}") from error
    if recorder.stopped_by or recorder.fatal:
        recorder.store.append("paused")
    if recorder.stopped_by:
        raise Interrupted(recorder.stopped_by)
    if recorder.fatal:
        raise WorkError(f"{recorder.fatal}; every trial would fail in this way")


def delete_checkpoints(study: Study, folder: str, keep: int) -> None:
    """Delete the folders of all trials except those of the best finished ones."""
    trials = list_kept(select_stored(study.trial_list, folder), keep)
    kept = {Path(trial.checkpoint[0]).parent.name for trial in trials if trial.checkpoint}
    if not kept:
        delete_tree(folder)
        return
    for each in list_folders(folder):
        if Path(each).name not in kept:
            delete_tree(each)
