"""The leaderboard: the best trials of a study as a table of 80 columns."""

from collections.abc import Sequence

from raytune_yesno.report.axes import build_axes
from raytune_yesno.report.sentences import describe_objective
from raytune_yesno.study import Study, Trial, name_studies
from raytune_yesno.text import WIDTH, format_seconds, format_value

_MAX_CELL = 14  # characters of a config value
_MAX_OTHER_METRICS = 1  # besides the objective, so that hyperparameters fit


def format_leaderboard(study: Study, top: int = 10, order: Sequence[str] = ()) -> str:
    """Return the best trials as a table.

    Args:
        study: the study.
        top: number of trials.
        order: hyperparameters to show first. The table shows as many as fit.
    """
    lines = [_headline(study)]
    objective = [_cut(line, WIDTH) for line in describe_objective(study)]
    ranking = study.ranking[:top]
    if not ranking:
        return "\n".join([*lines, "no trial has a result yet", *objective])
    names = [axis.name for axis in build_axes(study)]
    names = [*(name for name in order if name in names), *(n for n in names if n not in order)]
    others = [
        metric
        for metric in study.metrics
        if metric.name != study.metric
        and any(trial.metrics.get(metric.name) is not None for trial in ranking)
    ][:_MAX_OTHER_METRICS]
    columns = [
        ["trial", *(str(trial.number) for trial in ranking)],
        [_cut(study.metric), *(_show(study, trial, study.metric) for trial in ranking)],
        *(
            [_cut(metric.label or metric.name), *(_show(study, t, metric.name) for t in ranking)]
            for metric in others
        ),
        ["epochs", *(f"{trial.metrics['epoch']}/{trial.last_epoch}" for trial in ranking)],
    ]
    if any(trial.status not in ("done", "stopped") for trial in ranking):
        columns.insert(1, ["status", *(trial.status for trial in ranking)])
    fixed = len(columns)
    width = sum(max(map(len, column)) + 2 for column in columns) - 2
    for name in names:
        values = [_cut(format_value(trial.best_point.get(name, ""))) for trial in ranking]
        needed = 2 + max(map(len, (_cut(name), *values)))
        if width + needed > WIDTH:
            break
        columns.append([_cut(name), *values])
        width += needed
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = [cell.rjust(size) for cell, size in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    hidden = len(names) - (len(columns) - fixed)
    if hidden:
        lines.append(f"({hidden} more hyperparameters in trials.csv and on the page)")
    return "\n".join([*lines, *objective])


def _show(study: Study, trial: Trial, name: str) -> str:
    return study.find_metric(name).show(trial.metrics.get(name))


def format_leaderboards(
    studies: Sequence[Study], top: int = 10, orders: Sequence[Sequence[str]] = ()
) -> str:
    """Return the tables of several studies, each under its name.

    Args:
        studies: one or more studies.
        top: number of trials of a single study; of several, each shows 5 at most.
        orders: for each study, the hyperparameters to show first.
    """
    if len(studies) == 1:
        return format_leaderboard(studies[0], top, orders[0] if orders else ())
    parts = []
    for index, (study, name) in enumerate(zip(studies, name_studies(studies), strict=True)):
        table = format_leaderboard(study, min(top, 5), orders[index] if orders else ())
        parts.append(f"{_cut(name, WIDTH)}\n{table}")
    return "\n\n".join(parts)


def _headline(study: Study) -> str:
    """Return search, scheduler, number of trials by status, and the duration."""
    counts: dict[str, int] = {}
    for trial in study.trial_list:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    asked = " + ".join(filter(None, (study.asked.get("search"), study.asked.get("scheduler"))))
    seconds = study.end_time - study.asked["time"]
    states = ", ".join(f"{count} {status}" for status, count in counts.items())
    line = f"{asked}: {len(study.trial_list)} trials ({states}) in {format_seconds(seconds)}"
    return _cut(line, WIDTH)


def _cut(text: str, max_length: int = _MAX_CELL) -> str:
    """Shorten text, and replace control characters, which a terminal would obey."""
    text = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return text if len(text) <= max_length else text[: max_length - 1] + "…"
