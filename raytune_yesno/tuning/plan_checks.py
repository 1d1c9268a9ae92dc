"""Whether a plan can be carried out, and what to tell the user before it is."""

import itertools
from typing import Any

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.schedulers.build import WITHOUT_RUNGS
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.uninformed import read_points
from raytune_yesno.space import List, Point, as_tree, check_point, find_extremes, walk
from raytune_yesno.study.front import read_preference
from raytune_yesno.text import plural
from raytune_yesno.tuning.plan import Plan

MAX_IMPLICIT_TRIALS = 10_000  # larger grids must be requested with trials
_CHECKED = 500  # random points, on which constraints are tried


def check_plan(plan: Plan) -> None:
    """Check that every part of the plan can be carried out.

    Raises:
        InputError: a setting is invalid, or settings contradict each other.
    """
    if plan.trials is not None and plan.trials < 1:
        raise InputError(f"trials: {plan.trials} is out of range; it must be at least 1")
    if plan.config.is_elastic:
        raise InputError(
            f"num_workers: {plan.config.min_workers}:{plan.config.max_workers} is a range, "
            "which only `train` supports; give one number of workers per trial"
        )
    if plan.config.min_workers < 1:
        raise InputError("num_workers: a trial needs at least 1 worker; only `train` allows 0")
    if plan.max_concurrent is not None and plan.max_concurrent < 1:
        raise InputError(f"max_concurrent: {plan.max_concurrent} must be at least 1")
    if plan.window < 1:
        raise InputError(f"W: {plan.window} is out of range; it must be at least 1")
    if plan.keep_checkpoints < 0:
        raise InputError(f"keep_checkpoints: {plan.keep_checkpoints} must be at least 0")
    _check_choice(plan)
    plan.stop.check(plan.config.objective.metrics)
    if plan.ordered and plan.stop.time_budget is not None:
        raise InputError(
            "time_budget: the progress of an ordered study within a time differs from run to "
            "run; omit time_budget or ordered"
        )
    if plan.warm_start and not plan.entry.learns:
        raise InputError(f"warm_start: search {plan.search} does not use results")
    _check_points(plan)
    plan.build_scheduler()
    _check_pair(plan)
    plan.build_algorithm()
    if plan.trials is None and plan.num_trials > MAX_IMPLICIT_TRIALS:
        raise InputError(
            f"search {plan.search}: the space has {plan.num_trials:,} points; to try all "
            f"of them, set trials to {plan.num_trials}; else give fewer levels or a smaller space, "
            "or choose search random"
        )
    check_space(plan)


def check_new_plan(plan: Plan) -> None:
    """Check the plan of a new study: :func:`check_plan`, then :func:`check_all_points`."""
    check_plan(plan)
    check_all_points(plan)


def check_all_points(plan: Plan) -> None:
    """Check that a new study tries all known points, and all points of a finite search.

    The first points of a grid cover only one corner of it. Older studies with fewer trials can
    still be resumed.

    Raises:
        InputError: there are fewer trials than points, or the values of a point do not fit each
            other.
    """
    _check_values(plan)
    num_known, num_points = len(plan.known_points), plan.num_points
    if plan.trials is None:
        return
    if plan.trials < num_known:
        raise InputError(
            f"trials: only the first {plan.trials} of the {num_known} known points would be tried; "
            "omit trials, or remove points"
        )
    if num_points is None:
        return
    needed = num_points * plan.racing.least
    if plan.trials < needed:
        fewer = "remove the extra points"
        if not plan.tries_given_points:
            fewer = "give fewer levels or domains, or choose search random"
        raise InputError(
            f"trials: only the first {plan.trials} of the {needed:,} points of search "
            f"{plan.search} would be tried; omit trials, or {fewer}"
        )


def remark_on_points(plan: Plan) -> str:
    """Return what to tell the user if the space has fewer points than there are trials."""
    if plan.num_points is not None or plan.changes_points:
        return ""
    rows = UnitCube(plan.space).list_rows()
    num_points = sum(1 for _ in itertools.islice(rows, plan.num_trials))
    most = plan.racing.most
    if not 0 < num_points * most < plan.num_trials:
        return ""
    if most > 1:
        return (
            f"search space: it has {plural(num_points, 'point')}, each of which is trained {most} "
            f"times at most; the search ends after {num_points * most} of {plan.num_trials} trials"
        )
    return (
        f"search space: it has {plural(num_points, 'point')}; {plan.num_trials} trials will train "
        f"some of them again, from the same seed; trials={num_points} tries each of them once"
    )


def check_space(plan: Plan) -> None:
    """Check that the values of every domain are valid for their config keys.

    Raises:
        InputError: a name is unknown, a value is invalid alone or with others, or no point
            satisfies the constraints.
    """
    tree, config = as_tree(plan.space), plan.config
    if tree.constraints and not plan.entry.is_finite:
        cube = UnitCube(tree)
        # A constraint may not fit the type of a rare option: it must not end the study later.
        cube.satisfies(build_numpy_generator(plan.config.seed).random((_CHECKED, cube.dim)))
        cube.draw(plan.config.seed, 0)
    for key, domain, options in walk(tree):
        if plan.has_trait(key, "shared"):
            raise InputError(
                f"search space: {key!r} is the same for all trials; set it in the config instead"
            )
        for value in find_extremes(domain):
            build_config(config, {**options, key: value}, where=f"search space: {key}")
    # Values of these can be valid alone but invalid in combination.
    coupled: dict[str, list[Any]] = {}
    for key, domain, _ in walk(tree):
        if plan.has_trait(key, "coupled"):
            values = find_extremes(domain) if isinstance(domain, List) else domain.grid(100)
            coupled.setdefault(key, []).extend(values)
    for combination in itertools.product(*coupled.values()):
        point = dict(zip(coupled, combination, strict=True))
        if tree.satisfies(point):
            build_config(config, point, where="search space")


def _check_points(plan: Plan) -> None:
    known_points = plan.known_points
    if not known_points:
        return
    if plan.entry.is_finite:
        raise InputError(
            f"points: search {plan.search} tries exactly its own points; choose another search"
        )
    if as_tree(plan.space).constraints:
        cube = UnitCube(plan.space)
        for number, known in enumerate(known_points):
            cube.complete(known, cube.draw(plan.config.seed, number), number)


def _check_values(plan: Plan) -> None:
    """Check that the values of each given point fit each other and the config."""
    config, points = plan.config, plan.known_points
    if plan.tries_given_points:
        points = read_points(plan.space, plan.search_options.get("points", ()))
    for number, point in enumerate(points):
        if plan.tries_given_points or _is_complete(plan, point):
            build_config(config, point, where=f"point {number}")


def _is_complete(plan: Plan, point: Point) -> bool:
    """Return whether a point leaves nothing to the search."""
    try:
        check_point(plan.space, point)
    except InputError:
        return False
    return True


def _check_choice(plan: Plan) -> None:
    """Check how a point is chosen from the front."""
    if plan.refit not in (None, "best", "all"):
        raise InputError(f"refit: {plan.refit!r} is not valid; choose best or all")
    for name in ("prefer", "refit"):
        if getattr(plan, name) not in (None, "best") and not plan.config.objective.others:
            raise InputError(f"{name}: a study of one objective has no front; omit it")
    if plan.prefer:
        read_preference(plan.prefer, plan.config.objective)


def _check_pair(plan: Plan) -> None:
    """Check that the search and the scheduler fit each other."""
    reason = ""
    if plan.entry.needs_equal_epochs and plan.scheduler in WITHOUT_RUNGS:
        reason = (
            "it learns from the losses of trials that ended after different numbers of "
            "epochs; choose scheduler asha or hyperband"
        )
    elif plan.changes_points and plan.entry.is_finite:
        reason = (
            "the search tries exactly its points, but the scheduler changes them; choose "
            "search random"
        )
    elif plan.changes_points and plan.entry.learns:
        reason = (
            "the scheduler requests all points before the first result and changes them "
            "later, so the search cannot learn anything; choose search random"
        )
    if reason:
        raise InputError(f"search {plan.search} with scheduler {plan.scheduler}: {reason}")
    if plan.racing.most > plan.racing.least and plan.config.objective.others:
        raise InputError(
            "repeats: several objectives have no single best point to train again; give min "
            "and max the same value, or use final_round"
        )
    if plan.changes_points and (plan.racing.most > 1 or plan.num_final):
        raise InputError(
            f"scheduler {plan.scheduler} changes a trial's point during training, so there is "
            "no point to repeat; omit repeats and final_round, or choose another scheduler"
        )
