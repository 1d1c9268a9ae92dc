"""Warm start: begin a study with the results of other studies."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from raytune_yesno.config import upgrade_config
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Objective
from raytune_yesno.search import Observation
from raytune_yesno.search.repeats import pool
from raytune_yesno.space import Point, Space, express_point
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.trial import RANKED
from raytune_yesno.text import plural


def gather(
    studies: Iterable[Study],
    space: Space,
    objective: Objective,
    find_costs: Callable[[Point], Mapping[str, Any]] = lambda point: {},
) -> dict[str, Any]:
    """Return the results of other studies that a search over ``space`` can use, one for each point.

    The result of a point that was trained several times is the mean, as for the repeats of the new
    study; it is left out if one of its trainings diverged. A hyperparameter that a study did not
    search has the value of the study's config. A trial is judged by the objectives and limits of
    the new study, so it must have reported their metrics, except costs that are known without
    training.

    Args:
        studies: the other studies.
        space: the domains of the new study.
        objective: the objective of the new study.
        find_costs: returns the costs of a point that are known without training.

    Returns:
        ``observations``, the points that lie in the space; ``used``, the number of their trials by
        study; ``left_out``, the number of the others by reason. The values are recorded in the
        store, so resuming does not need the other studies.

    Raises:
        InputError: no trial could be used.
    """
    observations: list[dict[str, Any]] = []
    used: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for study in studies:
        used[str(study.path)] += 0
        config = upgrade_config(study.config)
        points: dict[int, list[Observation]] = {}
        diverged = {_find_first(t) for t in study.trial_list if t.status == "diverged"}
        for trial in study.trial_list:
            first = _find_first(trial)
            try:
                if trial.status not in RANKED or not trial.epochs or first in diverged:
                    raise InputError("without a result")
                point = express_point(space, trial.best_point, config)
                seen = _observe(_judge(trial, point, objective, find_costs), point)
            except InputError as error:
                left_out[str(error)] += 1
                continue
            used[str(study.path)] += 1
            points.setdefault(first, []).append(seen)
        observations += [_describe(pool(trials, 0)) for trials in points.values()]
    if not observations:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise InputError(f"--warm-start: no trial could be used ({reasons or 'there are none'})")
    return {"observations": observations, "used": dict(used), "left_out": dict(left_out)}


def _judge(
    trial: Trial,
    point: Point,
    objective: Objective,
    find_costs: Callable[[Point], Mapping[str, Any]],
) -> Trial:
    """Return a trial as the new study would judge it.

    Raises:
        InputError: a metric of the objectives or limits is missing.
    """
    names = [metric.name for metric in objective.required]
    reported = {name for name in names if any(name in epoch for epoch in trial.epochs)}
    costs = {} if reported.issuperset(names) else find_costs(point)
    if missing := [name for name in names if name not in reported and name not in costs]:
        raise InputError(f"without {', '.join(dict.fromkeys(missing))}")
    known = {name: costs[name] for name in names if name in costs}
    epochs = [{**known, **epoch} for epoch in trial.epochs]
    return replace(trial, objective=objective, epochs=epochs)


def _find_first(trial: Trial) -> int:
    """Return the number of the first trial of the same point."""
    return trial.number if trial.repeat_of is None else trial.repeat_of


def _observe(trial: Trial, point: Point) -> Observation:
    """Return what a search is told of a trial.

    Raises:
        InputError: it has no finite result in every objective and limit.
    """
    best, objective = trial.best_epoch, trial.objective
    losses = tuple(cost for _, cost in trial.costs if math.isfinite(cost))
    costs = objective.costs(best) if best and objective.others else ()
    excesses = objective.excesses(best) if best and objective.limits else ()
    if not losses or not all(map(math.isfinite, (*costs, *excesses))):
        raise InputError("without a result")
    return Observation(
        number=trial.number,
        point=point,
        loss=min(losses),
        epochs=len(losses),
        status=trial.status,  # type: ignore[arg-type]
        losses=losses,
        costs=tuple(costs),
        excesses=tuple(excesses),
    )


def _describe(seen: Observation) -> dict[str, Any]:
    """Return an observation as it is recorded."""
    told: dict[str, Any] = {"point": seen.point, "status": seen.status, "losses": [*seen.losses]}
    if seen.loss != min(seen.losses):  # of several trainings, the mean of the best of each
        told["loss"] = seen.loss
    told |= {"costs": [*seen.costs]} if seen.costs else {}
    return told | ({"excesses": [*seen.excesses]} if seen.excesses else {})


def build_observations(known: Mapping[str, Any] | None, space: Space) -> list[Observation]:
    """Return the result of :func:`gather` as the first observations of a search.

    Args:
        known: the result of :func:`gather`.
        space: the domains that the study has now. Trials that lie outside are left out, and those
            without a new hyperparameter: what their study had in its place is not recorded.
    """
    return [
        Observation(
            number=number,
            point=point,
            loss=min(seen["losses"]) if seen.get("loss") is None else seen["loss"],
            epochs=len(seen["losses"]),
            status=seen["status"],
            losses=tuple(seen["losses"]),
            costs=tuple(seen.get("costs", ())),
            excesses=tuple(seen.get("excesses", ())),
            elsewhere=True,
        )
        for number, (point, seen) in enumerate(_list_inside(known, space))
    ]


def _list_inside(
    known: Mapping[str, Any] | None, space: Space
) -> Iterator[tuple[Point, Mapping[str, Any]]]:
    for seen in known["observations"] if known else ():
        with contextlib.suppress(InputError):
            yield express_point(space, seen["point"], {}), seen


def describe(known: Mapping[str, Any]) -> list[str]:
    """Return lines to print: how many trials are used, and how many are left out and why."""
    lines = [
        f"{plural(count, 'trial')} of {path} {'is' if count == 1 else 'are'} used"
        for path, count in known["used"].items()
    ]
    return lines + [
        f"{plural(count, 'trial')} left out: {why}" for why, count in known["left_out"].items()
    ]
