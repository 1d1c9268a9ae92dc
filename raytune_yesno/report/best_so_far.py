"""The best metric so far, against trials, time and epochs."""

from collections.abc import Iterable

from raytune_yesno.study import Study
from raytune_yesno.study.efficiency import omit_pauses

Curve = list[tuple[float, float]]
"""Points (x, best value so far); the curve is constant between them."""


def trace_best(study: Study) -> dict[str, Curve]:
    """Return the best metric so far as a curve for each x-axis.

    A curve has a point for each improvement and one at its end. Trials that exceed a limit do not
    count, unless all do.

    Returns:
        Curves by x-axis: ``trials`` (by number, counted from 1, without those of a final round),
        ``seconds`` (since the study began, without pauses) and ``epochs`` (of all trials, by the
        time they ended).
    """
    kept = [trial for trial in study.ranking if trial.is_feasible] or study.ranking
    judged = {trial.number for trial in kept}
    epochs = sorted(
        (epoch for trial in study.trial_list for epoch in trial.epochs),
        key=lambda epoch: float(epoch["ended"]),
    )
    values = [epoch.get(study.metric) if epoch["trial"] in judged else None for epoch in epochs]
    start = study.settings["time"]
    seconds = [omit_pauses(epoch["ended"], study.pauses) - start for epoch in epochs]
    bests = [
        trial.best_epoch[study.metric] if trial.number in judged and trial.best_epoch else None
        for trial in study.trial_list
        if not trial.final
    ]
    return {
        "trials": _keep_improvements(range(1, len(bests) + 1), bests, study.mode),
        "seconds": _keep_improvements(seconds, values, study.mode),
        "epochs": _keep_improvements(range(1, len(epochs) + 1), values, study.mode),
    }


def _keep_improvements(xs: Iterable[float], values: Iterable[float | None], mode: str) -> Curve:
    """Return the points that improve on all before them, and the last x with the best value."""
    curve: Curve = []
    x = None
    for x, value in zip(xs, values, strict=True):
        if value is None:
            continue
        better = not curve or (value > curve[-1][1] if mode == "max" else value < curve[-1][1])
        if better:
            curve.append((x, value))
    if curve and x is not None and x > curve[-1][0]:
        curve.append((x, curve[-1][1]))
    return curve
