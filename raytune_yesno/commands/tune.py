"""The command ``tune``: search, refit and test, or replay one trial of a study."""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from raytune_yesno.commands.changes import (
    change_space,
    extend_epochs,
    select_extended,
    select_retried,
)
from raytune_yesno.commands.closing import suggest_next, write_study_report
from raytune_yesno.commands.common import (
    announce,
    note,
    open_folder,
    read_data,
    remark_on_data,
    say,
    with_resume_hint,
)
from raytune_yesno.commands.display import Display, describe
from raytune_yesno.commands.dry_run import dry_run
from raytune_yesno.commands.existing import (
    check_same_settings,
    compare_plans,
    is_begun,
    set_aside,
)
from raytune_yesno.commands.settings import (
    DEFAULT_DATA,
    build_plan,
    given_stop_conditions,
    read_settings,
    refuse_flags,
)
from raytune_yesno.config import find_task
from raytune_yesno.errors import InputError, WorkError, one_line, quote
from raytune_yesno.files.remote import is_remote
from raytune_yesno.text import format_value

if TYPE_CHECKING:
    from raytune_yesno.study import Study
    from raytune_yesno.tasks.task import Data
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.trackers import Log


def tune(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Search, refit and test, or replay one trial of a study; return the JSON object."""
    announce(options, "loading PyTorch and Ray")
    if options.dry_run:
        return dry_run(options, results)
    if options.replay:
        return _replay(options, results)
    from raytune_yesno.study.mirror import mirror_to_uri
    from raytune_yesno.study.store import STORE

    storage = options.resume or options.out
    if is_remote(storage):
        if options.resume:
            refuse_flags(options, "out", "fresh")
        if options.fresh:
            set_aside(storage, STORE, note)
        with mirror_to_uri(storage, resume=True if options.resume else None, note=note) as out:
            return _tune(options, results, out, storage.rstrip("/"))
    folder = {"resume": options.resume, "record": STORE, "fresh": options.fresh}
    with open_folder(options.out, "studies", **folder) as (out, check):
        return _tune(options, results, out, str(out), check)


def _tune(
    options: Namespace,
    results: TextIO,
    out: Path,
    storage: str,
    check: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Run a study.

    Args:
        options: the parsed options.
        results: the result stream.
        out: the folder that this process writes to.
        storage: the folder or URI where users find the study; ``out``, or a URI that mirrors it.
        check: called before each write, see :meth:`Lock.check`.
    """
    from raytune_yesno.cluster.session import check_utf8, ray_session
    from raytune_yesno.cluster.shared_storage import check_shared
    from raytune_yesno.study.store import STORE
    from raytune_yesno.tuning.trackers import open_logs

    began = time.monotonic()
    check_utf8(storage)
    settings = read_settings(options)
    begun = bool(options.resume) or is_begun(out, STORE)
    if options.resume:
        plan = _plan_resumed(settings, options, out, storage)
    elif begun:
        plan, study = _plan_continued(settings, options, out, storage)
        if study.refit:
            note(f"{storage}: this study is finished; --resume {quote(storage)} extends it")
            return _finish(study, study.refit, storage, options, results, began)
    else:
        plan = _plan_new(settings, options)
    if not options.checkpoint_every >= 0:
        raise InputError(f"--checkpoint-every: {options.checkpoint_every:g} s must be 0 or more")
    plan.check()
    logs = open_logs(options.logs, out)
    data = read_data(settings, options, plan.config)
    announce(options, "connecting to Ray" if options.address else "starting Ray")
    with (
        with_resume_hint("tune", out / STORE, storage, plan.config.task),
        ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus),
    ):
        check_shared(storage)
        remark_on_data(data, plan.config)
        if not plan.ordered and plan.num_trials > 1:
            note("results depend on timing and may differ from run to run; --ordered prevents this")
        if plan.num_final:
            share = plan.num_final / (plan.num_trials + plan.num_final)
            note(
                f"final round: {plan.num_final} trials after the {plan.num_trials} of the search "
                f"({share:.0%} of all), {plan.final_round['seeds']} new seeds for each of the best "
                f"{plan.final_round['points']} points"
            )
        announce(options, "starting the trials' processes")
        study, refit = _search_and_refit(
            plan, data, out, storage, settings, options, logs, check, resume=begun
        )
    if plan.config.use_gpu and "cpu" in set(study.epochs.get("device", ())):
        note("--use-gpu: torch found no GPU; trials were trained on CPUs")
    return _finish(study, refit, storage, options, results, began)


def _finish(
    study: "Study",
    refit: Mapping[str, Any],
    storage: str,
    options: Namespace,
    results: TextIO,
    began: float,
) -> dict[str, Any]:
    """Print the result of a study and return the JSON object."""
    best, efficiency = study.best, study.efficiency
    if not best or not efficiency:
        raise WorkError(_explain_no_result(study, storage))
    for line in _describe_study(study, refit, storage):
        say(options, results, line)
    page = None
    if not options.no_report and not is_remote(storage):
        page = write_study_report(study, note)
        if page:
            say(options, results, one_line(f"report: {page}"))
    say(options, results, "next:")
    for command in suggest_next(study, refit, storage):
        say(options, results, f"  {command}")
    from raytune_yesno.report.luck import measure_luck

    luck = measure_luck(study)
    return {
        "study": storage,
        "trials": len(study.trial_list),
        "final_round": asdict(luck) if luck else None,
        "reason": study.reason,
        "errors": sum(trial.status == "failed" for trial in study.trial_list),
        "best": {
            "trial": best.number,
            "config": {**study.asked["config"], **best.best_point},
            "metrics": best.metrics,
        },
        "refit": {key: refit[key] for key in refit if key not in ("event", "time")},
        "report": page,
        "efficiency": efficiency.efficiency,
        "efficiency_split": vars(efficiency),
        "seconds": time.monotonic() - began,
    }


def _replay(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Train one trial of a study again and compare its metrics with the record."""
    from raytune_yesno.cluster.session import count_fitting, ray_session
    from raytune_yesno.study import load
    from raytune_yesno.tuning.earlier import check_data
    from raytune_yesno.tuning.replay import describe_versions, find_replayable, run_replay

    allowed = {"replay", "out", "data", "skip_bad", "address", "num_cpus", "num_gpus", "json"}
    allowed |= {
        "debug",
        "run",
        "command",
        "checkpoint_every",
        "quiet",
        "no_report",
        "dry_run",
        "fresh",
    }
    given = set(vars(options)) - allowed
    refuse_flags(options, *sorted(given), because="--replay uses the settings of the study")
    folder, text = options.replay
    try:
        number = int(text)
    except ValueError:
        raise InputError(f"--replay: {text!r} is not a trial number; give STUDY TRIAL") from None
    study = load(Path(folder))
    trial, config = find_replayable(study, number)
    data = read_data({"data": options.data or study.asked["data"]}, options, config)
    check_data(study, data)
    display = Display(quiet=options.quiet)
    try:
        with (
            open_folder(options.out, "runs") as (out, _),
            ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus),
        ):
            count_fitting(config)
            replay = run_replay(
                study,
                number,
                data,
                out,
                on_epoch=lambda metrics: display.show_epoch(
                    metrics, len(trial.epochs), config.objective
                ),
            )
    finally:
        display.close()
    if replay.difference:
        versions = describe_versions(study)
        raise WorkError(
            f"trial {number} of {study.path} was not reproduced: {replay.difference}"
            + (f" ({versions})" if versions else "")
            + f"; its checkpoint: {replay.run.best}"
        )
    say(options, results, f"trial {number}: all {len(trial.epochs)} epochs reproduced")
    say(options, results, one_line(f"checkpoint: {replay.run.best}"))
    return {
        "study": str(study.path.absolute()),
        "trial": number,
        "checkpoint": str(replay.run.best),
        "history": replay.run.history,
    }


def _plan_resumed(settings: dict[str, Any], options: Namespace, out: Path, storage: str) -> "Plan":
    """Return the plan of the study to resume.

    Raises:
        InputError: the study is finished, or a flag would change what may not change on resume.
    """
    from raytune_yesno.study import load
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.stop_conditions import StopConditions

    fixed = ("out", "config", "assignments", "seed", "use_gpu", "trials", "search")
    refuse_flags(options, "metric", "mode")
    refuse_flags(options, *fixed, "scheduler", "workers_per_trial", "max_concurrent")
    refuse_flags(options, "warm_start", "ordered", "keep_checkpoints", "point", "fresh")
    study = load(out)
    asked = (options.add_trials, options.retry, options.epochs)
    more = any(each is not None for each in asked)
    if study.refit and not more:
        raise InputError(
            f"{storage}: this study is finished, there is nothing to resume; --add-trials N "
            "adds trials, --epochs N trains finished ones on, --retry failed trains failed ones "
            "again"
        )
    plan = Plan.from_study(study)
    if options.space:
        plan = change_space(plan, study, options)
    if options.epochs is not None:
        plan = extend_epochs(plan, study, options)
    elif options.top is not None:
        raise InputError("--top: also give --epochs N")
    # The condition that ended the search would end the extended one at once.
    kept = vars(plan.stop) if not more else {}
    plan = replace(plan, stop=StopConditions(**{**kept, **given_stop_conditions(options)}))
    if options.add_trials is not None:
        plan.extend(study, options.add_trials)
    settings["data"] = options.data or study.asked["data"]
    return plan


def _plan_continued(
    settings: dict[str, Any], options: Namespace, out: Path, storage: str
) -> "tuple[Plan, Study]":
    """Return the recorded plan of the study in the output folder, and the study.

    Raises:
        InputError: the study was begun with other settings.
    """
    from raytune_yesno.study import load
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.stop_conditions import StopConditions

    study = load(out)
    asked = build_plan(settings, options)
    data = settings.setdefault("data", DEFAULT_DATA)
    check_same_settings(compare_plans(asked, study, options, data), "tune", storage)
    plan = Plan.from_study(study)
    stop = StopConditions(**{**vars(plan.stop), **given_stop_conditions(options)})
    return replace(plan, stop=stop), study


def _plan_new(settings: dict[str, Any], options: Namespace) -> "Plan":
    """Return the plan of a new study.

    Raises:
        InputError: a setting is wrong, or settings do not fit each other.
    """
    from raytune_yesno.study import load_all
    from raytune_yesno.tuning import warm_start

    for flag in ("add_trials", "retry", "top"):
        if getattr(options, flag) is not None:
            raise InputError(f"--{flag.replace('_', '-')}: also give --resume STUDY")
    plan = build_plan(settings, options)
    plan.check()
    plan.check_all_points()
    if plan.trials is not None and plan.num_trials < plan.trials:
        note(f"--trials {plan.trials}: search {plan.search} has only {plan.num_trials} points")
    if options.warm_start:
        known = warm_start.gather(load_all(options.warm_start), plan.space)
        plan = replace(plan, warm_start=known)
        for line in warm_start.describe(known):
            note(f"--warm-start: {line}")
    return plan


def _search_and_refit(
    plan: "Plan",
    data: "Data | None",
    out: Path,
    storage: str,
    settings: Mapping[str, Any],
    options: Namespace,
    logs: "Sequence[Log]",
    check: Callable[[], None] | None,
    *,
    resume: bool,
) -> tuple["Study", dict[str, Any]]:
    from raytune_yesno.tuning.refit import run_refit
    from raytune_yesno.tuning.run import run_search
    from raytune_yesno.tuning.trackers import follow_study

    display = Display(quiet=options.quiet)
    try:
        with follow_study(logs, out, note) as listen:
            study = run_search(
                plan,
                data,
                out,
                storage=storage,
                source=settings.get("data", DEFAULT_DATA),
                resume=resume,
                add_trials=options.add_trials or 0,
                retry=select_retried(options.retry, out) if options.retry else (),
                extend=select_extended(options, plan, out) if options.resume else (),
                checkpoint_every_s=options.checkpoint_every,
                on_progress=display.show_search,
                note=display.remark,
                listen=listen,
                check=check,
            )
    finally:
        display.close()
    if study.reason:
        note(f"search ended: {study.reason}")
    best = study.best
    if best is None:
        raise WorkError(_explain_no_result(study, storage))
    epochs = best.metrics["epoch"]
    if getattr(find_task(plan.config.task), "refits", True):
        note(f"refitting trial {best.number} for {epochs} epochs")
        announce(options, "starting the refit's workers")
    display = Display(quiet=options.quiet)
    try:
        refit = run_refit(
            study,
            data,
            storage=storage,
            on_epoch=lambda metrics: display.show_epoch(metrics, epochs, plan.config.objective),
            note=display.remark,
            check=check,
        )
    finally:
        display.close()
    return study, refit


def _describe_study(study: "Study", refit: Mapping[str, Any], storage: str) -> Iterator[str]:
    """Yield the lines that print a study's result."""
    from raytune_yesno.report.luck import describe_luck

    best, efficiency = study.best, study.efficiency
    assert best
    assert efficiency
    yield f"\nbest config (trial {best.number} of {len(study.trial_list)}):"
    for key, value in best.best_point.items():
        yield f"  {key}: {format_value(value)}"
    yield f"validation: {describe(best.metrics, best.objective)}"
    if luck := describe_luck(study):
        yield luck
    if refit.get("test_says"):
        yield f"test: {refit['test_says']}"
    yield (
        f"slots {efficiency.efficiency:.0%} in training, {efficiency.startup:.0%} starting, "
        f"{efficiency.reporting + efficiency.gaps:.0%} between epochs and trials, "
        f"{efficiency.tail:.0%} idle at the end"
    )
    yield one_line(f"study: {storage}")
    if "checkpoint" in refit:
        yield one_line(f"checkpoint: {refit['checkpoint']}")


def _explain_no_result(study: "Study", storage: str) -> str:
    failed = [trial for trial in study.trial_list if trial.status == "failed"]
    cause = f"; first failure: {failed[0].error}" if failed else ""
    return f"{storage}: no trial has a result{cause}"
