"""Which study ``tune`` runs: a new one, the one in its output folder, or one to resume."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.changes import change_space, extend_epochs
from raytune_yesno.commands.common import note
from raytune_yesno.commands.existing import (
    check_same_settings,
    compare_plans,
    set_aside_untrained,
)
from raytune_yesno.commands.settings import (
    DEFAULT_DATA,
    build_plan,
    given_stop_conditions,
    read_settings,
    refuse_flags,
)
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError

if TYPE_CHECKING:
    from raytune_yesno.study import Study
    from raytune_yesno.tasks.task import Data
    from raytune_yesno.tuning.plan import Plan


def plan_new(settings: dict[str, Any], options: Namespace) -> "Plan":
    """Return the plan of a new study.

    Raises:
        InputError: a setting is wrong, or settings do not fit each other.
    """
    from raytune_yesno.tuning.plan_checks import check_new_plan

    for flag in ("add_trials", "retry", "top"):
        if getattr(options, flag) is not None:
            raise InputError(f"--{flag.replace('_', '-')}: also give --resume STUDY")
    plan = build_plan(settings, options)
    check_new_plan(plan)
    if options.point and plan.search == "manual" and not options.search:
        note("only the given points are tried; --search or --trials adds others")
    if plan.trials is not None and plan.num_trials < plan.trials:
        note(f"--trials {plan.trials}: search {plan.search} has only {plan.num_trials} points")
    return plan


def add_warm_start(plan: "Plan", studies: list[str], data: "Data | None") -> "Plan":
    """Return a plan that begins with the results of other studies.

    Raises:
        InputError: a study cannot be read, or no trial can be used.
    """
    from raytune_yesno.study import load_all
    from raytune_yesno.training.costs import find_costs
    from raytune_yesno.tuning import warm_start

    config = plan.config.as_dict()
    known = warm_start.gather(
        load_all(studies),
        plan.space,
        plan.config.objective,
        lambda point: find_costs(build_config(config, point), data),
    )
    for line in warm_start.describe(known):
        note(f"--warm-start: {line}")
    return replace(plan, warm_start=known)


def plan_continued(
    settings: dict[str, Any], options: Namespace, out: Path, storage: str
) -> "tuple[Plan, Study | None]":
    """Return the recorded plan of the study in the output folder, and the study.

    A study with other settings that has trained nothing gives way to a new one.

    Raises:
        InputError: the study was begun with other settings.
    """
    from raytune_yesno.study import load
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.stop_conditions import StopConditions

    study = load(out)
    asked = build_plan(settings, options)
    data = settings.setdefault("data", DEFAULT_DATA)
    warm_start = bool(options.warm_start)
    if set_aside_untrained(study, compare_plans(asked, study, data, warm_start=warm_start), note):
        # Reading the study declared the metric of its task; this declares that of the command.
        return plan_new(read_settings(options), options), None
    check_same_settings(compare_plans(asked, study, data, warm_start=warm_start), "tune", storage)
    plan = Plan.from_study(study)
    stop = StopConditions(**{**vars(plan.stop), **given_stop_conditions(options)})
    return replace(plan, stop=stop), study


def plan_resumed(settings: dict[str, Any], options: Namespace, out: Path, storage: str) -> "Plan":
    """Return the plan of the study to resume.

    Raises:
        InputError: the study is finished, or a flag would change what may not change on resume.
    """
    from raytune_yesno.study import load
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.stop_conditions import StopConditions

    fixed = ("out", "config", "assignments", "seed", "use_gpu", "trials", "search")
    refuse_flags(options, "metric", "mode", "objectives", "limits")
    refuse_flags(options, *fixed, "scheduler", "workers_per_trial", "max_concurrent")
    refuse_flags(options, "warm_start", "ordered", "keep_checkpoints", "point", "fresh")
    study = load(out)
    asked = (options.add_trials, options.retry, options.epochs, options.prefer, options.refit)
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
    choice = {"prefer": options.prefer, "refit": options.refit}
    plan = replace(plan, **{name: value for name, value in choice.items() if value is not None})
    if options.add_trials is not None:
        plan.extend(study, options.add_trials)
    settings["data"] = options.data or study.asked["data"]
    return plan
