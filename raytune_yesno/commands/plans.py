"""Which study ``tune`` runs: a new one, the one in its output folder, or one to resume."""

from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.common import note
from raytune_yesno.commands.output_folders import advise_on_others, is_begun, is_repeated
from raytune_yesno.commands.resume_changes import change_space, extend_epochs, omit_changes
from raytune_yesno.commands.settings import (
    DEFAULT_DATA,
    build_plan,
    check_task,
)
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.study.store import STORE
from raytune_yesno.study_settings import STUDY_SETTINGS, read_final_round
from raytune_yesno.text import plural

NOT_ON_RESUME = (
    *("out", "fresh", "config", "assignments", "point", "warm_start", "workers_per_trial"),
    *("seed", "use_gpu", "metric", "mode", "objectives", "limits", "trials"),
    *(setting.name for setting in STUDY_SETTINGS if setting.help and not setting.on_resume),
)
"""Options that set what a study keeps, refused by ``tune --resume``; ``--add-trials`` changes the
number of trials."""

if TYPE_CHECKING:
    from raytune_yesno.study import Study
    from raytune_yesno.tasks.task import Data
    from raytune_yesno.tuning.plan import Plan


def refuse_changes(options: Namespace) -> None:
    """Refuse options that change a study which is resumed.

    Raises:
        InputError: one was given.
    """
    for flag in ("add_trials", "retry", "top"):
        if getattr(options, flag) is not None:
            raise InputError(f"--{flag.replace('_', '-')}: also give --resume STUDY")


def plan_study(
    settings: dict[str, Any], options: Namespace, out: OutputFolder
) -> "tuple[Plan, Study | None, bool]":
    """Return the plan of a study, the study as recorded, and whether nothing is left to do.

    The study is None if it begins now.

    Raises:
        InputError: a setting is wrong, settings do not fit each other, or the study in the output
            folder was begun with others.
    """
    from raytune_yesno.study import load
    from raytune_yesno.tuning.continuation import continue_study
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.plan_checks import check_plan

    if options.resume:
        study = load(out.path)
        if is_repeated(out.path, STORE):
            omit_changes(options)
            if study.refit:
                return Plan.from_study(study), study, True
        plan = plan_resumed(settings, options, study, out.storage)
        check_plan(plan)
        return plan, study, False
    plan = build_plan(settings, options)
    if is_begun(out.path, STORE):
        found = continue_study(
            plan,
            out.path,
            settings.setdefault("data", DEFAULT_DATA),
            storage=f"--out {out.storage}",
            advice=advise_on_others("tune", out.storage, plan.config.task),
            warm_start=bool(options.warm_start),
            note=note,
        )
        if found:
            _recall_bad(settings, found.study)
            plan = replace(found.plan, stop=found.plan.stop.update(vars(plan.stop)))
            check_plan(plan)
            return plan, found.study, found.is_finished
    check_new_study(plan, options)
    return plan, None, False


def check_new_study(plan: "Plan", options: Namespace) -> None:
    """Check the plan of a study that begins now, and print what a user may not expect of it.

    Raises:
        InputError: settings do not fit each other.
    """
    from raytune_yesno.tuning.plan_checks import check_new_plan

    check_new_plan(plan)
    if options.point and plan.search == "manual" and not options.search:
        note("only the given points are tried; --search or --trials adds others")
    if plan.trials is not None and plan.num_trials < plan.trials:
        points = plural(plan.num_trials, "point")
        note(f"--trials {plan.trials}: search {plan.search} has only {points}")


def add_warm_start(plan: "Plan", studies: list[str], data: "Data | None") -> "Plan":
    """Return a plan that begins with the results of other studies.

    Raises:
        InputError: a study cannot be read, or no trial can be used.
    """
    from raytune_yesno.study import load_all
    from raytune_yesno.training.costs import find_costs
    from raytune_yesno.tuning import warm_start

    known = warm_start.gather(
        load_all(studies),
        plan.space,
        plan.config.objective,
        lambda point: find_costs(build_config(plan.config, point), data),
    )
    for line in warm_start.describe(known):
        note(f"--warm-start: {line}")
    return replace(plan, warm_start=known)


def plan_resumed(
    settings: dict[str, Any], options: Namespace, study: "Study", storage: str
) -> "Plan":
    """Return the plan of the study to resume.

    Raises:
        InputError: the study is finished, is of another task, or cannot be changed as asked.
    """
    from raytune_yesno.tuning.plan import Plan

    adding = (options.add_trials, options.retry, options.epochs)
    extends = any(each is not None for each in adding)
    more = extends or options.prefer is not None or options.refit is not None
    if study.refit and not more:
        raise InputError(
            f"{storage}: this study is finished, there is nothing to resume; --add-trials N "
            "adds trials, --epochs N trains finished ones on, --retry failed trains failed ones "
            "again"
        )
    check_task(options.task, str(study.config.get("task", Config.task)), storage)
    plan = Plan.from_study(study)
    if options.space:
        plan = change_space(plan, study, options)
    if options.epochs is not None:
        plan = extend_epochs(plan, study, options)
    elif options.top is not None:
        raise InputError("--top: also give --epochs N")
    given = {name: getattr(options, name) for name in vars(plan.stop)}
    plan = replace(plan, stop=plan.stop.update(given))
    choice = {"prefer": options.prefer, "refit": options.refit}
    if options.final_round is not None:
        choice["final_round"] = read_final_round(options.final_round)
        is_other = choice["final_round"] != study.settings.get("final_round")
        if study.has_search_ended and is_other and not extends:
            raise InputError(
                f"--final-round: the search of {study.path} has ended; also give --add-trials N"
            )
    plan = replace(plan, **{name: value for name, value in choice.items() if value is not None})
    if options.add_trials is not None:
        plan.extend(study, options.add_trials)
    settings["data"] = options.data or study.settings["data"]
    _recall_bad(settings, study)
    return plan


def _recall_bad(settings: dict[str, Any], study: "Study") -> None:
    """Leave out the bad recordings if the study was begun without them."""
    from raytune_yesno.tasks.task import left_out_bad

    if left_out_bad(study.settings.get("corpus")):
        settings["skip_bad"] = True
