"""The front of a study with several objectives, for the terminal, JSON and the page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raytune_yesno.metrics import Metric
from raytune_yesno.report.sentences import describe_test_briefly
from raytune_yesno.report.study_groups import have_common_front, share_reference
from raytune_yesno.report.tables import Table, align
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.candidates import Candidate
from raytune_yesno.study.front import list_vectors, read_preference, trace_hypervolume
from raytune_yesno.text import format_value, join_names, plural

_MAX_SHOWN, _MAX_KEYS = 20, 3


def describe_front(study: Study) -> Iterator[str]:
    """Yield the lines that print the front: a table, its hypervolume, and the choice from it."""
    yield f"\n{count_members(study)}:"
    table = tabulate_front(study)
    for line in align([table.heads, *table.rows[:_MAX_SHOWN]]):
        yield f"  {line}"
    if len(table.rows) > _MAX_SHOWN:
        yield f"  and {len(table.rows) - _MAX_SHOWN} more; `report` shows them all"
    if volume := describe_volume(study):
        yield volume
    if study.best:
        yield f"* chosen: trial {study.best.number} ({describe_choice(study)})"


def count_members(study: Study) -> str:
    """Return how many trials are on the front, or exceed the limits least if none keeps them."""
    objectives = join_names([metric.title for metric in study.objective.objectives])
    if study.candidates and study.candidates[0].excess:
        least = f"trials that exceed them least: {len(study.front)}"
        return f"front of {objectives}: no trial keeps the limits; {least}"
    compared = sum(all(map(math.isfinite, each)) for each in list_vectors(study.trial_list))
    return (
        f"front of {objectives}: {len(study.front)} of {plural(compared, 'trial')}, which "
        "no other one dominates"
    )


def describe_volume(study: Study) -> str:
    """Return the hypervolume and its reference point; empty without a result."""
    volume, reference = study.hypervolume
    return (
        f"hypervolume: {volume:.4g} (reference point: {describe_reference(study)})"
        if reference
        else ""
    )


def tabulate_front(study: Study) -> Table:
    """Return a row for each member of the front; the chosen one is marked by an asterisk.

    The values of a point that was trained several times are the means, which decide. If several
    members were trained again, their test figures and checkpoints are shown, too.
    """
    front, best = study.front, study.best
    points = {each.trial.number: each for each in study.candidates}
    refits = {event.get("trial"): event for event in study.refits}
    told = [refits.get(trial.number) if len(refits) > 1 else None for trial in front]
    chosen = best.number if best else None
    columns: list[list[str]] = [
        ["trial", *(f"{t.number}{'*' if t.number == chosen else ''}" for t in front)],
        *(
            [metric.title, *(_show_result(points[t.number], metric) for t in front)]
            for metric in study.objective.objectives
        ),
        *(
            [key, *(format_value(t.best_point.get(key, "")) for t in front)]
            for key in list_keys(study)
        ),
        ["test", *(describe_test_briefly(refit, study.metrics) for refit in told)],
        ["checkpoint in the study", *map(_name_checkpoint, told)],
    ]
    heads, *rows = zip(*(each for each in columns if not front or any(each[1:])), strict=True)
    return Table(heads, rows)


def _show_result(candidate: Candidate, metric: Metric) -> str:
    if len(candidate.judged) > 1:
        return metric.show(candidate.mean_of(metric))
    return metric.show(candidate.trial.metrics.get(metric.name))


def _name_checkpoint(refit: Mapping[str, Any] | None) -> str:
    return "/".join(str((refit or {}).get("checkpoint") or "").split("/")[-2:])


def view_front(study: Study) -> dict[str, Any] | None:
    """Return the values of the page's section on the front; None for one objective."""
    if not study.objective.others:
        return None
    if not study.front or not study.best:
        return {"text": "No trial has a result yet.", "table": None}
    text = count_members(study)
    parts = [f"{text[:1].upper()}{text[1:]}."]
    parts.append(f"Trial {study.best.number} was chosen: {describe_choice(study)}.")
    if volume := describe_volume(study):
        parts.append(f"{volume[:1].upper()}{volume[1:]}.")
    if limits := describe_limits(study):
        parts.append(f"{limits[:1].upper()}{limits[1:]}.")
    return {"text": " ".join(parts), "table": tabulate_front(study)}


def build_front_payload(studies: Sequence[Study]) -> list[dict[str, Any] | None]:
    """Return the data of the plots of the front, for each study; None for one objective.

    The hypervolumes have one reference point, so that studies can be compared.
    """
    several = [study for study in studies if study.objective.others]
    shared = share_reference(several) if several and have_common_front(several) else ()
    found: list[dict[str, Any] | None] = []
    for study in studies:
        if not study.objective.others:
            found.append(None)
            continue
        index = {trial.number: position for position, trial in enumerate(study.trial_list)}
        rows = trace_hypervolume(study.trial_list, shared)
        found.append(
            {
                "objectives": [
                    {"name": metric.name, "mode": metric.mode}
                    for metric in study.objective.objectives
                ],
                "members": [index[trial.number] for trial in study.front],
                "feasible": [trial.number in study.feasible for trial in study.trial_list],
                "volume": {
                    "trials": [(count, volume) for count, _, volume in rows],
                    "epochs": [(epochs, volume) for _, epochs, volume in rows],
                },
            }
        )
    return found


def list_keys(study: Study) -> list[str]:
    """Return the hyperparameters in which the members of the front differ, at most a few."""
    points = [trial.best_point for trial in study.front]
    keys = dict.fromkeys(key for point in points for key in point)
    differing = (key for key in keys if len({repr(point.get(key)) for point in points}) > 1)
    return list(differing)[:_MAX_KEYS]


def describe_reference(study: Study) -> str:
    """Return the reference point of the hypervolume as values of the objectives."""
    _, reference = study.hypervolume
    pairs = zip(study.objective.objectives, reference, strict=True)
    return ", ".join(
        f"{metric.title} {metric.show(metric.value_of(cost))}" for metric, cost in pairs
    )


def describe_limits(study: Study) -> str:
    """Return whether the best trial keeps the limits; empty without limits."""
    limits = study.objective.limits
    if not limits or not study.candidates:
        return ""
    best = study.candidates[0]
    count = len(best.judged)
    mean = f", mean of {count} trainings" * (count > 1)
    broken = [
        f"{limit} ({limit.metric.show(best.mean_of(limit.metric))}{mean})"
        for limit, excess in zip(limits, best.excesses, strict=True)
        if excess > 0
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
        found["feasible"] = study.candidates[0].excess == 0
    return found


def _summarise(trial: Trial) -> dict[str, Any]:
    return {"trial": trial.number, "config": trial.best_point, "metrics": trial.metrics}


def describe_choice(study: Study) -> str:
    """Return the rule by which the best trial was chosen from the front, in a few words."""
    objective = study.objective
    if prefer := study.prefer:
        limit = read_preference(prefer, objective)
        kept = any(each.excess_over(limit) <= 0 for each in study.candidates[:1])
        which = f"best {objective.metric.title} with" if kept else "no member keeps it, nearest to"
        return f"{which} {limit}"
    return "knee of the front, nearest to the best value of every objective"
