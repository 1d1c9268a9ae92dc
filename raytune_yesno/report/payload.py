"""What the page's plots are drawn from, as compact JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from raytune_yesno.files.json_text import dump_json, to_strict_json
from raytune_yesno.report.axes import build_axes
from raytune_yesno.report.best_so_far import Curve, trace_best
from raytune_yesno.report.compare import Group
from raytune_yesno.report.timeline import build_timeline
from raytune_yesno.study import Study, Trial

_MOST_POINTS = 100  # of a trial's curve
_BAND_POINTS = 60
STATUSES = ("done", "stopped", "running", "diverged", "failed")


def build_payload(
    studies: Sequence[Study],
    names: Sequence[str],
    groups: Sequence[Group],
    orders: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """Return all that the plots need; ``orders`` name hyperparameters by importance."""
    traces = [trace_best(study) for study in studies]
    return {
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
                    kind: _band([traces[member][kind] for member in group.members])
                    for kind in ("trials", "seconds", "epochs")
                },
            }
            for group in groups
        ],
    }


def embed(payload: object) -> str:
    """Return JSON that can stand inside a <script> element: nothing in it can end the element."""
    text = dump_json(payload, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _describe(
    study: Study, name: str, trace: dict[str, Curve], order: Sequence[str]
) -> dict[str, Any]:
    axes = build_axes(study)
    trials = study.trial_list
    columns = [[axis.place(trial.best_point.get(axis.name)) for trial in trials] for axis in axes]
    varied = {axis.name for axis in axes}
    fixed = {
        key: value
        for trial in trials
        for key, value in trial.best_point.items()
        if key not in varied
    }
    slots, spans = build_timeline(study)
    index = {trial.number: place for place, trial in enumerate(trials)}
    bests = [trial.best_epoch for trial in trials]
    return {
        "name": name,
        "metric": study.metric,
        "mode": study.mode,
        "ranked": study.ranked,
        "best": index[study.best.number] if study.best else None,
        "axes": [asdict(axis) for axis in axes],
        "important": sorted(range(len(axes)), key=lambda k: _place(axes[k].name, order)),
        "fixed": to_strict_json(fixed, spell=True),
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
            for metric in study.metrics
            if metric.name != study.metric
            and any(best.get(metric.name) is not None for best in bests if best)
        ],
        "seconds": [_round(trial.seconds) for trial in trials],
        "errors": {str(index[trial.number]): trial.error for trial in trials if trial.error},
        "points": columns,
        "choices": _choices(study, [axis.name for axis in axes if axis.kind == "choice"]),
        "curves": [_thin(trial) for trial in trials],
        "best_so_far": {kind: _rounded(curve) for kind, curve in trace.items()},
        "slots": slots,
        "spans": [
            (slot, index[trial], round(began, 2), round(ended, 2), attempt)
            for slot, trial, began, ended, attempt in spans
        ],
    }


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _choices(study: Study, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return each choice's values as they are, in the order of the axis's options: to be copied."""
    axes = {axis.name: axis for axis in build_axes(study)}
    values: dict[str, list[Any]] = {}
    for name in names:
        known: list[Any] = list(axes[name].options)
        for trial in study.trial_list:
            place = axes[name].place(trial.best_point.get(name))
            if place is not None:
                known[int(place)] = to_strict_json(trial.best_point[name], spell=True)
        values[name] = known
    return values


def _thin(trial: Trial) -> list[list[float | None]]:
    """Return a trial's epochs and metrics: of a long curve, points evenly spaced, the best and the
    last."""
    epochs = [epoch for epoch in trial.epochs if epoch.get(trial.metric) is not None]
    if len(epochs) > _MOST_POINTS:
        kept = {round(place) for place in np.linspace(0, len(epochs) - 1, _MOST_POINTS)}
        kept.add(min(range(len(epochs)), key=lambda place: trial.score(epochs[place])))
        epochs = [epochs[place] for place in sorted(kept)]
    places = [epoch["epoch"] for epoch in epochs]
    values: list[float | None] = [_round(epoch[trial.metric]) for epoch in epochs]
    return [values] if places == list(range(1, len(places) + 1)) else [values, places]


def _band(curves: Sequence[Curve]) -> list[list[float]]:
    """Return place, least, median and greatest of several curves, where all of them have begun."""
    curves = [curve for curve in curves if curve]
    if len(curves) < 2:
        return []
    low, high = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    if high <= low:
        return []
    places = np.linspace(low, high, _BAND_POINTS)
    rows = []
    for curve in curves:
        at = np.searchsorted([place for place, _ in curve], places, side="right") - 1
        rows.append(np.array([value for _, value in curve], dtype=float)[at])
    stacked = np.stack([places, np.min(rows, 0), np.median(rows, 0), np.max(rows, 0)], axis=1)
    return [[_round(value) for value in row] for row in stacked.tolist()]


def _rounded(curve: Curve) -> list[tuple[float, float]]:
    return [(round(place, 2), value) for place, value in curve]


def _round(value: float) -> float:
    """Round to five digits: no plot shows more."""
    return float(f"{value:.5g}") if math.isfinite(value) else 0.0
