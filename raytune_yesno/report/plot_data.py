"""The data of the page's plots as compact JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from raytune_yesno.files.json_text import dump_json, to_strict_json
from raytune_yesno.metrics import Metric
from raytune_yesno.report.attainment import Attainment, build_attainment_payload
from raytune_yesno.report.axes import Axis, build_axes
from raytune_yesno.report.best_so_far import Curve, trace_best
from raytune_yesno.report.front import build_front_payload
from raytune_yesno.report.study_groups import Group
from raytune_yesno.report.timeline import build_timeline, list_pauses
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.candidates import rank_trials

_MAX_POINTS = 100  # of a learning curve
_MAX_UNDECLARED = 12  # metrics; an experiment of Ray Tune may report hundreds
STATUSES = ("done", "stopped", "running", "diverged", "failed")


def build_payload(
    studies: Sequence[Study],
    names: Sequence[str],
    groups: Sequence[Group],
    orders: Sequence[Sequence[str]],
    attained: Sequence[Attainment] = (),
) -> dict[str, Any]:
    """Return the data of all plots.

    Args:
        studies: one or more studies.
        names: a name per study.
        groups: studies that are repetitions of each other.
        orders: for each study, the hyperparameters by importance.
        attained: what each group attains in two objectives.
    """
    traces = [trace_best(study) for study in studies]
    fronts = build_front_payload(studies)
    return {
        "attainment": build_attainment_payload(attained, studies[0].objective.objectives),
        "fronts": fronts,
        "statuses": STATUSES,
        "studies": [
            _describe(study, name, trace, order)
            for study, name, trace, order in zip(studies, names, traces, orders, strict=True)
        ],
        "groups": [
            {
                "label": group.label,
                "members": group.members,
                "bands": {
                    kind: band_curves([traces[member][kind] for member in group.members])
                    for kind in ("trials", "seconds", "epochs")
                },
            }
            for group in groups
        ],
    }


def embed(payload: object) -> str:
    """Return JSON for a ``<script>`` element; it contains nothing that could end the element."""
    text = dump_json(payload, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _describe(
    study: Study, name: str, trace: dict[str, Curve], order: Sequence[str]
) -> dict[str, Any]:
    axes = build_axes(study)
    trials = study.trial_list
    columns = [[axis.read(trial.best_point) for trial in trials] for axis in axes]
    varied = {axis.name for axis in axes}
    fixed = {
        key: value
        for trial in trials
        for key, value in trial.best_point.items()
        if key not in varied
    }
    slots, spans = build_timeline(study)
    index = {trial.number: position for position, trial in enumerate(trials)}
    bests = [trial.best_epoch for trial in trials]
    return {
        "name": name,
        "metric": study.metric,
        "percent": [metric.name for metric in study.metrics if metric.format == "percent"],
        "mode": study.mode,
        "ranking": [
            index[trial.number] for trial in rank_trials(trials, study.ranked, repeats=True)
        ],
        "best": index[study.best.number] if study.best else None,
        "axes": [asdict(axis) for axis in axes],
        "important": sorted(range(len(axes)), key=lambda k: _rank(axes[k].name, order)),
        "fixed": to_strict_json(fixed, spell=True),
        "absent": {  # the trials in which a parameter of an option is not active
            key: absent
            for key in fixed
            if (absent := [k for k, trial in enumerate(trials) if key not in trial.best_point])
        },
        "number": [trial.number for trial in trials],
        "status": [STATUSES.index(trial.status) for trial in trials],
        "epochs": [len(trial.epochs) for trial in trials],
        "value": [best[study.metric] if best else None for best in bests],
        "best_epoch": [best["epoch"] if best else None for best in bests],
        "others": [
            {
                "name": metric.name,
                "values": [best.get(metric.name) if best else None for best in bests],
            }
            for metric in (*study.metrics, *_list_undeclared(study))
            if metric.name != study.metric
            and any(best.get(metric.name) is not None for best in bests if best)
        ],
        "seconds": [_round(trial.seconds) for trial in trials],
        "errors": {str(index[trial.number]): trial.error for trial in trials if trial.error},
        "points": columns,
        "choices": {
            axis.name: _list_choices(axis, study) for axis in axes if axis.kind == "choice"
        },
        "curves": [_thin(trial) for trial in trials],
        "best_so_far": {kind: _rounded(curve) for kind, curve in trace.items()},
        "slots": slots,
        "spans": [
            (slot, index[trial], round(began, 2), round(ended, 2), attempt)
            for slot, trial, began, ended, attempt in spans
        ],
        "pauses": [(round(at, 2), round(length, 2)) for at, length in list_pauses(study)],
    }


def _list_undeclared(study: Study) -> list[Metric]:
    """Return the metrics that were reported without being declared, at most a few."""
    declared = {"epoch", "seconds", *(metric.name for metric in study.metrics)}
    names = dict.fromkeys(key for trial in study.trial_list for key in trial.metrics)
    return [Metric(name) for name in names if name not in declared][:_MAX_UNDECLARED]


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _list_choices(axis: Axis, study: Study) -> list[Any]:
    """Return the values of a choice, in the order of the axis's options, for the copy button."""
    values: list[Any] = list(axis.options)
    for trial in study.trial_list:
        option = axis.read(trial.best_point)
        if option is not None:
            values[int(option)] = to_strict_json(trial.best_point[axis.name], spell=True)
    return values


def _thin(trial: Trial) -> list[list[float | None]]:
    """Return a learning curve: its values and, unless they are 1, 2, 3, …, its epochs.

    A long curve is reduced to evenly spaced points, including the last one, and the best point.
    """
    epochs = [epoch for epoch in trial.epochs if epoch.get(trial.metric) is not None]
    if len(epochs) > _MAX_POINTS:
        kept = {round(point) for point in np.linspace(0, len(epochs) - 1, _MAX_POINTS)}
        kept.add(min(range(len(epochs)), key=lambda index: trial.score(epochs[index])))
        epochs = [epochs[index] for index in sorted(kept)]
    numbers = [epoch["epoch"] for epoch in epochs]
    values: list[float | None] = [_round(epoch[trial.metric]) for epoch in epochs]
    return [values] if numbers == list(range(1, len(numbers) + 1)) else [values, numbers]


def band_curves(curves: Sequence[Curve]) -> list[list[float]]:
    """Return x, minimum, median and maximum of several curves, over the range that all cover.

    There is a point wherever one of the curves has a step, so that all of them step together.
    """
    curves = [curve for curve in curves if curve]
    if len(curves) < 2:
        return []
    low, high = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    if high <= low:
        return []
    xs = np.unique([low, high, *(x for curve in curves for x, _ in curve if low < x < high)])
    rows = []
    for curve in curves:
        at = np.searchsorted([x for x, _ in curve], xs, side="right") - 1
        rows.append(np.array([value for _, value in curve], dtype=float)[at])
    stacked = np.stack([xs, np.min(rows, 0), np.median(rows, 0), np.max(rows, 0)], axis=1)
    return [[_round(value) for value in row] for row in stacked.tolist()]


def _rounded(curve: Curve) -> list[tuple[float, float]]:
    return [(round(x, 2), value) for x, value in curve]


def _round(value: float) -> float:
    """Round to five significant digits, more than a plot can show."""
    return float(f"{value:.5g}") if math.isfinite(value) else 0.0
