"""The command ``tune``: search, refit and test."""

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.common import (
    announce,
    note,
    read_data,
    remark_on_data,
    with_resume_hint,
)
from raytune_yesno.commands.display import Display, Printer, describe
from raytune_yesno.commands.dry_run import dry_run
from raytune_yesno.commands.next_steps import shorten, suggest_next, write_study_report
from raytune_yesno.commands.output_folders import open_folder, refuse_fresh_uri
from raytune_yesno.commands.plans import (
    NOT_ON_RESUME,
    add_warm_start,
    plan_study,
    refuse_changes,
)
from raytune_yesno.commands.replay import replay
from raytune_yesno.commands.resume_changes import select_extended, select_retried
from raytune_yesno.commands.settings import (
    DEFAULT_DATA,
    build_plan,
    read_settings,
    refuse_data,
    refuse_flags,
)
from raytune_yesno.config import find_task
from raytune_yesno.errors import InputError, one_line, quote
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.files.remote import is_remote
from raytune_yesno.study.store import STORE
from raytune_yesno.study_settings import CHECKPOINT_EVERY_S
from raytune_yesno.text import format_value, plural

if TYPE_CHECKING:
    from raytune_yesno.study import Study
    from raytune_yesno.tasks.task import Data
    from raytune_yesno.tuning.plan import Plan


def tune(options: Namespace, say: Printer) -> dict[str, Any]:
    """Search, refit and test, or replay one trial of a study; return the JSON object."""
    announce(options, "loading PyTorch and Ray")
    if options.dry_run:
        return dry_run(options, say)
    if options.replay:
        return replay(options, say)
    from raytune_yesno.cluster.session import check_utf8, ray_session
    from raytune_yesno.cluster.shared_storage import check_shared
    from raytune_yesno.tuning.plan_checks import check_new_plan, check_plan
    from raytune_yesno.tuning.run import run_search
    from raytune_yesno.tuning.trackers import follow_study, open_logs

    if options.resume:
        refuse_flags(options, *NOT_ON_RESUME)
    else:
        refuse_changes(options)
    if options.fresh:  # renames earlier work, which a wrong setting should not
        new = build_plan(read_settings(options), options)
        check_new_plan(new)
        refuse_data(options, new.config.task)
    with _open_study(options) as out:
        began = time.monotonic()
        check_utf8(out.storage)
        settings = read_settings(options)
        given_s = options.checkpoint_every
        every_s = CHECKPOINT_EVERY_S if given_s is None else given_s
        if not every_s >= 0:
            raise InputError(f"--checkpoint-every: {every_s:g} s must be 0 or more")
        plan, before, is_finished = plan_study(settings, options, out)
        if before and is_finished:
            again = f"--resume {quote(out.storage)} extends it"
            note(f"{one_line(out.storage)}: this study is finished; {again}")
            return _finish(before, out.storage, options, say, began)
        logs = open_logs(options.logs, out)
        data = read_data(settings, options, plan.config)
        if options.warm_start and not before:
            plan = add_warm_start(plan, options.warm_start, data)
            check_plan(plan)
        announce(options, "connecting to Ray" if options.address else "starting Ray")
        with (
            with_resume_hint("tune", out.path / STORE, out.storage, plan.config.task),
            ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus),
        ):
            check_shared(out.storage)
            _remark_on_plan(plan, data, out.storage)
            announce(options, "starting the trials' processes")
            with (
                Display(quiet=options.quiet) as display,
                follow_study(logs, out.path, note) as listen,
            ):
                study = run_search(
                    plan,
                    data,
                    out,
                    source=settings.get("data", DEFAULT_DATA),
                    resume=before or False,
                    add_trials=options.add_trials or 0,
                    retry=select_retried(options.retry, before) if before and options.retry else (),
                    extend=select_extended(options, before, out)
                    if before and options.resume
                    else (),
                    checkpoint_every_s=every_s,
                    on_progress=display.show_search,
                    note=display.remark,
                    listen=listen,
                )
            study = _refit(study, data, out, options)
        return _finish(study, out.storage, options, say, began)


def _open_study(options: Namespace) -> AbstractContextManager[OutputFolder]:
    """Return the folder or URI of a study, locked while the context lasts."""
    from raytune_yesno.study.mirror import mirror_to_uri

    storage = options.resume or options.out
    if not is_remote(storage):
        return open_folder(
            options.out, "studies", resume=options.resume, record=STORE, fresh=options.fresh
        )
    if options.fresh:
        refuse_fresh_uri(storage)
    return mirror_to_uri(storage, resume=True if options.resume else None, note=note)


def _remark_on_plan(plan: "Plan", data: "Data | None", storage: str) -> None:
    """Print what a user should know before the search starts."""
    note(one_line(f"to look at the study: raytune-yesno study {quote(shorten(storage))} status"))
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


def _refit(study: "Study", data: "Data | None", out: OutputFolder, options: Namespace) -> "Study":
    """Refit the best config of a study whose search has ended; return the study with it."""
    from raytune_yesno.study import load
    from raytune_yesno.tuning.refit import check_result, list_refits, run_refit

    if study.reason:
        note(f"search ended: {study.reason}")
    check_result(study, out.storage)
    candidates = list_refits(study)
    for index, candidate in enumerate(candidates, start=1):
        best = candidate.trial
        if find_task(study.task).refits:
            which = f", {index} of {len(candidates)}" if len(candidates) > 1 else ""
            note(f"refitting trial {best.number} for {plural(candidate.epochs, 'epoch')}{which}")
            announce(options, "starting the refit's workers")
        with Display(quiet=options.quiet) as display:
            show = partial(display.show_epoch, epochs=candidate.epochs, objective=study.objective)
            run_refit(
                study,
                data,
                candidate=candidate,
                out=out,
                on_epoch=show,
                note=display.remark,
            )
    return load(study.path)


def _finish(
    study: "Study", storage: str, options: Namespace, say: Printer, began: float
) -> dict[str, Any]:
    """Print the result of a refitted study and return the JSON object."""
    from raytune_yesno.report.front import summarise_front
    from raytune_yesno.report.luck import measure_luck
    from raytune_yesno.report.tuning_gain import describe_gain

    best, efficiency, refit = study.best, study.efficiency, study.refit
    assert best
    assert efficiency
    assert refit
    for line in describe_result(study, refit, storage):
        say(line)
    page = None
    if not options.no_report and not is_remote(storage):
        page = write_study_report(study, note)
        if page:
            say(one_line(f"report: {page}"))
    say("next:")
    for command in suggest_next(study, refit, storage):
        say(f"  {command}")
    luck = measure_luck(study)
    return {
        "study": storage,
        "trials": len(study.trial_list),
        "final_round": asdict(luck) if luck else None,
        "reason": study.reason,
        "errors": sum(trial.status == "failed" for trial in study.trial_list),
        "best": {
            "trial": best.number,
            "config": {**study.config, **best.best_point},
            "metrics": best.metrics,
        },
        "untuned": study.untuned.trial.number if study.untuned else None,
        "gain": describe_gain(study) or None,
        **summarise_front(study),
        "refit": {key: refit[key] for key in refit if key not in ("event", "time")},
        "report": page,
        "efficiency": efficiency.efficiency,
        "efficiency_split": vars(efficiency),
        "seconds": time.monotonic() - began,
    }


def describe_result(study: "Study", refit: Mapping[str, Any], storage: str) -> Iterator[str]:
    """Yield the lines that print a study's result."""
    from raytune_yesno.report.front import describe_front, describe_limits
    from raytune_yesno.report.luck import describe_luck
    from raytune_yesno.report.sentences import describe_mean, describe_test, describe_time
    from raytune_yesno.report.tuning_gain import describe_gain

    chosen = study.candidates[0]
    best = chosen.trial
    if study.objective.others:
        yield from describe_front(study)
    yield f"\nbest config (trial {best.number} of {len(study.trial_list)}):"
    for key, value in best.best_point.items():
        yield f"  {key}: {format_value(value)}"
    yield f"validation: {describe(best.metrics, best.objective)}{describe_mean(chosen)}"
    if gain := describe_gain(study):
        yield gain
    if kept := describe_limits(study):
        yield kept
    if luck := describe_luck(study):
        yield luck
    if test := describe_test(refit, study.task, study.metrics):
        yield f"test: {test}"
    yield f"time: {describe_time(study)}"
    yield one_line(f"study: {storage}")
    if "checkpoint" in refit:
        yield one_line(f"checkpoint: {refit['checkpoint']}")
