"""The front of a study with several objectives, for the terminal, JSON and the page."""

from collections.abc import Iterator, Mapping
from typing import Any

from raytune_yesno.study import Study, Trial
from raytune_yesno.study.front import describe_choice, list_vectors
from raytune_yesno.text import format_value

_MAX_SHOWN = 20


def describe_front(study: Study) -> Iterator[str]:
    """Yield the lines that print the front: a table, its hypervolume, and the choice from it."""
    objectives = study.objective.objectives
    members, keys = study.front, list_keys(study)
    yield f"\nfront: {len(members)} of {len(list_vectors(study))} trials are not dominated"
    rows = [["trial", *(metric.title for metric in objectives), *keys]]
    for trial in members[:_MAX_SHOWN]:
        mark = "*" if study.best and trial.number == study.best.number else ""
        shown = [metric.show(trial.metrics.get(metric.name)) for metric in objectives]
        values = [format_value(trial.best_point.get(key)) for key in keys]
        rows.append([f"{trial.number}{mark}", *shown, *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  " + "  ".join(text.rjust(width) for text, width in cells).rstrip()
    if len(members) > _MAX_SHOWN:
        yield f"  and {len(members) - _MAX_SHOWN} more; `report` shows them all"
    volume, reference = study.hypervolume
    if reference:
        yield f"hypervolume: {volume:.4g}, up to {describe_reference(study)}"
    if study.best:
        yield f"* chosen: trial {study.best.number} ({describe_choice(study)})"


def list_keys(study: Study, most: int = 3) -> list[str]:
    """Return the hyperparameters in which the members of the front differ, at most a few."""
    points = [trial.best_point for trial in study.front]
    keys = dict.fromkeys(key for point in points for key in point)
    differing = (key for key in keys if len({repr(point.get(key)) for point in points}) > 1)
    return list(differing)[:most]


def describe_reference(study: Study) -> str:
    """Return the reference point of the hypervolume as values of the objectives."""
    _, reference = study.hypervolume
    pairs = zip(study.objective.objectives, reference, strict=True)
    return ", ".join(
        f"{metric.title} {metric.show(cost if metric.mode == 'min' else -cost)}"
        for metric, cost in pairs
    )


def describe_limits(study: Study) -> str:
    """Return whether the best trial keeps the limits; empty without limits."""
    limits, best = study.objective.limits, study.best
    if not limits or best is None:
        return ""
    broken = [
        f"{limit} ({limit.metric.show(best.metrics.get(limit.metric.name))})"
        for limit in limits
        if limit.excess(best.metrics) > 0
    ]
    if broken:
        return f"limits: no trial keeps them; the best one exceeds {'; '.join(broken)}"
    return f"limits: {', '.join(map(str, limits))}: kept"


def summarise_front(study: Study) -> Mapping[str, Any]:
    """Return the front for the JSON object of a command; empty for one objective."""
    found: dict[str, Any] = {}
    if study.objective.others:
        volume, reference = study.hypervolume
        found |= {
            "objectives": [metric.name for metric in study.objective.objectives],
            "front": [_summarise(trial) for trial in study.front],
            "hypervolume": volume,
            "reference": list(reference),
            "choice": describe_choice(study),
            "refits": [
                {key: event[key] for key in event if key not in ("event", "time")}
                for event in study.refits
            ],
        }
    if study.objective.limits and study.best:
        found["feasible"] = study.objective.is_feasible(study.best.metrics)
    return found


def _summarise(trial: Trial) -> dict[str, Any]:
    return {"trial": trial.number, "config": trial.best_point, "metrics": trial.metrics}
