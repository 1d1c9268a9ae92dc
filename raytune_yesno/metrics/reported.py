"""What a task reports after an epoch: read as plain numbers, and checked for what is required."""

import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from raytune_yesno.errors import EveryTrialFails, InputError, MissingMetric, suggest_name
from raytune_yesno.metrics.names import name_metric
from raytune_yesno.metrics.objective import Objective
from raytune_yesno.numerals import MAX_NUMBER, MAX_WHOLE

COST, COSTS, EXCESSES = "cost", "costs", "excesses"
"""Keys in reports to schedulers and searches: the first objective, always minimised; all of them;
and by how much each limit is exceeded."""


def read_metrics(reported: Any, epoch: int) -> dict[str, float]:
    """Return what a task reported after an epoch as plain numbers.

    Tensors and arrays of one element, numpy scalars and booleans become numbers. A key ``epoch``
    that repeats the number of the epoch is left out.

    Raises:
        EveryTrialFails: it is not a mapping, or a name is reserved.
        InputError: a name is not text, or a value is not a number.
    """
    if not isinstance(reported, Mapping):
        kind = type(reported).__name__
        raise EveryTrialFails(
            f"epoch {epoch}: expected a dict of metrics, got {kind} {reported!r:.60}"
        )
    metrics = {}
    for name, value in reported.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"epoch {epoch}: the name of a metric is text, not {name!r:.60}")
        number = as_number(value)
        if number is None:
            raise InputError(
                f"epoch {epoch}: metric {name!r} is {value!r:.60} ({type(value).__name__}); "
                "report a number"
            )
        if name == "epoch" and number == epoch:
            continue
        if name_metric(name) != name:
            raise EveryTrialFails(f"epoch {epoch}: metric {name!r} is a reserved name; rename it")
        metrics[name] = number
    return metrics


def as_number(value: Any) -> float | int | None:
    """Return a number as ``int`` or ``float``, NaN if it is masked; None if it is not one.

    It is infinite above ``MAX_NUMBER``, and a float above ``MAX_WHOLE``: a record holds no others.
    """
    if type(value) is float:
        return value if abs(value) <= MAX_NUMBER else value * math.inf
    if hasattr(value, "item"):  # numpy, torch, and others after them
        if getattr(value, "size", 1) != 1 and not callable(value.size):
            return None
        mask = getattr(value, "mask", False)
        if not callable(mask) and mask:  # of numpy, whose item() returns 0 for it
            return math.nan
        try:
            value = value.item()
        except (ValueError, RuntimeError, TypeError):  # more than one element
            return None
    if isinstance(value, int):  # also a boolean
        if abs(value) <= MAX_WHOLE:
            return int(value)
        return float(value) if abs(value) <= MAX_NUMBER else math.inf * (1 if value > 0 else -1)
    if isinstance(value, Real | Decimal):
        return as_number(float(value))
    return None


def check_reported(objective: Objective, metrics: Mapping[str, Any], epoch: int) -> None:
    """Check that an epoch's metrics contain the objectives and those with a limit.

    Raises:
        MissingMetric: they do not, in the first epoch.
        InputError: they do not, in a later one.
    """
    kind = MissingMetric if epoch == 1 else InputError
    if not metrics:
        raise kind(f"epoch {epoch}: no metrics were reported")
    for metric in objective.required:
        if metric.name not in metrics:
            raise kind(
                f"epoch {epoch}: metric {metric.name!r} was not reported, only "
                f"{', '.join(metrics)}; {suggest_name(metric.name, metrics)}"
            )
