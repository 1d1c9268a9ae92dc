"""Warm start: begin a study with the results of other studies."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from raytune_yesno.config import upgrade_config
from raytune_yesno.errors import InputError
from raytune_yesno.search import Observation
from raytune_yesno.space import Point, Space, express_point
from raytune_yesno.study import Study


def gather(studies: Iterable[Study], space: Space) -> dict[str, Any]:
    """Return the trials of other studies that a search over ``space`` can use.

    A hyperparameter that a study did not search has the value of the study's config.

    Args:
        studies: the other studies.
        space: the domains of the new study.

    Returns:
        ``observations``, the trials whose points lie in the space; ``used``, the number of these by
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
        config = upgrade_config(study.asked.get("config", {}))
        for trial in study.trial_list:
            point: Point = {}
            losses = [cost for _, cost in trial.costs if math.isfinite(cost)]
            reason = "without a result" * (trial.status not in ("done", "stopped") or not losses)
            try:
                point = express_point(space, trial.best_point, config)
            except InputError as error:
                reason = reason or str(error)
            if reason:
                left_out[reason] += 1
                continue
            used[str(study.path)] += 1
            observations.append({"point": point, "status": trial.status, "losses": losses})
    if not observations:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise InputError(f"--warm-start: no trial could be used ({reasons or 'there are none'})")
    return {"observations": observations, "used": dict(used), "left_out": dict(left_out)}


def build_observations(known: Mapping[str, Any] | None) -> list[Observation]:
    """Return the result of :func:`gather` as the first observations of a search."""
    return [
        Observation(
            number=number,
            point=seen["point"],
            loss=min(seen["losses"]),
            epochs=len(seen["losses"]),
            status=seen["status"],
            losses=tuple(seen["losses"]),
        )
        for number, seen in enumerate(known["observations"] if known else ())
    ]


def describe(known: Mapping[str, Any]) -> list[str]:
    """Return lines to print: how many trials are used, and how many are left out and why."""
    lines = [f"{count} trials of {path} are used" for path, count in known["used"].items()]
    return lines + [f"{count} trials left out: {why}" for why, count in known["left_out"].items()]
