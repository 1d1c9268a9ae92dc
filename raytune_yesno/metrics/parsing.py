"""Read objectives and limits from the texts of settings, for the metrics that a task declares."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.metrics.metric import Metric
from raytune_yesno.metrics.objective import Limit, Objective
from raytune_yesno.numerals import read_number


def find_metric(name: str, known: Sequence[Metric], where: str = "metric") -> Metric:
    """Return the metric of a name or label.

    Args:
        name: the name or label.
        known: the metrics to search.
        where: the setting that contains the name, for the error message.

    Raises:
        InputError: the name is unknown; the message suggests the nearest one.
    """
    for metric in known:
        if name in (metric.name, metric.label):
            return metric
    names = [name for metric in known for name in (metric.name, metric.label) if name]
    raise InputError(f"{where}: unknown metric {name!r}; {suggest_name(name, names)}")


def build_objective(
    known: Sequence[Metric],
    name: str = "",
    mode: str = "",
    *,
    objectives: Sequence[str] = (),
    limits: Sequence[str] = (),
    costs: Sequence[Metric] = (),
) -> Objective:
    """Return the objective of a run.

    Args:
        known: the metrics that the task declares; the first is the default objective.
        name: another metric to use as the objective; empty for the first.
        mode: ``min`` or ``max`` to override the metric's own mode; empty to keep it.
        objectives: several metrics in place of ``name``, each ``NAME``, ``NAME:min`` or
            ``NAME:max``.
        limits: bounds, each ``NAME<=VALUE`` or ``NAME>=VALUE``.
        costs: metrics that are no objective, and break no ties, unless they are named.

    Raises:
        InputError: a metric, a mode or a limit is unknown or invalid.
    """
    if objectives and (name or mode):
        raise InputError("objectives: metric and mode are for one objective; omit them")
    everything = (*known, *costs)
    asked = [split_objective(each) for each in objectives] or [(name, mode)]
    found: list[Metric] = []
    for each, direction in asked:
        where = "objectives" if objectives else "metric"
        metric = find_metric(each, everything, where) if each else known[0]
        if direction not in ("", "min", "max"):
            raise InputError(f"mode: {direction!r} is not valid; choose min or max")
        if any(metric.name == other.name for other in found):
            raise InputError(f"objectives: {metric.name} is given twice")
        found.append(replace(metric, mode=direction) if direction else metric)  # type: ignore[arg-type]
    names = {metric.name for metric in found}
    ties = tuple(other for other in known if other.name not in names)
    bounds = tuple(read_limit(each, everything) for each in limits)
    return Objective(found[0], ties, others=tuple(found[1:]), limits=bounds)


def split_objective(text: str) -> tuple[str, str]:
    """Return the name and the mode of an objective, ``NAME`` or ``NAME:MODE``."""
    name, colon, mode = text.rpartition(":")
    return (name, mode) if colon and mode in ("min", "max") else (text, "")


_LIMIT = re.compile(r"\s*(?P<name>[^<>=]+?)\s*(?P<relation><=|>=)\s*(?P<bound>\S+)\s*")


def split_limit(text: str, where: str = "limits") -> tuple[str, str, float]:
    """Return the name, the relation and the bound of a limit.

    Example:
        >>> split_limit("num_parameters<=20000")
        ('num_parameters', '<=', 20000.0)

    Raises:
        InputError: the text is not ``NAME<=VALUE`` or ``NAME>=VALUE``.
    """
    found = _LIMIT.fullmatch(text)
    try:
        bound = float(read_number(found["bound"], float)) if found else math.nan
    except ValueError:
        bound = math.nan
    if not found or not math.isfinite(bound):
        raise InputError(
            f"{where}: {text!r} is not NAME<=VALUE or NAME>=VALUE, as in num_parameters<=20000"
        )
    return found["name"], found["relation"], bound


def read_limit(text: str, known: Sequence[Metric], where: str = "limits") -> Limit:
    """Read a limit on one of the known metrics.

    Raises:
        InputError: the text is no limit, or the metric is unknown.
    """
    name, relation, bound = split_limit(text, where)
    return Limit(find_metric(name, known, where), relation, bound)  # type: ignore[arg-type]
