"""The leaderboard: the best trials of studies as tables that fit a terminal."""

import textwrap
from collections.abc import Sequence

from raytune_yesno.report.attainment import describe_attainment, tabulate_attainment
from raytune_yesno.report.axes import build_axes
from raytune_yesno.report.comparison import Comparison, compare_studies
from raytune_yesno.report.front import (
    count_members,
    describe_choice,
    describe_limits,
    describe_volume,
)
from raytune_yesno.report.luck import describe_luck
from raytune_yesno.report.range_edges import find_edges
from raytune_yesno.report.sentences import count_statuses, describe_objective
from raytune_yesno.report.summary import describe_studies
from raytune_yesno.report.tables import align, tabulate_studies
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.candidates import Candidate
from raytune_yesno.text import WIDTH, format_seconds, format_value, plural

_MAX_CELL = 14  # characters of a config value
_MAX_NAME = 30  # characters of a study's name in the table of studies


def format_leaderboard(
    study: Study, top: int = 10, order: Sequence[str] = (), width: int = WIDTH
) -> str:
    """Return the best trials as a table, and what its columns mean.

    Args:
        study: the study.
        top: number of trials.
        order: hyperparameters to show first. The table shows as many as fit.
        width: columns of the terminal.
    """
    lines = _wrap(_headline(study), width)
    objective = [part for line in describe_objective(study) for part in _wrap(line, width)]
    candidates = study.candidates[:top]
    ranking = [candidate.trial for candidate in candidates]
    if not ranking:
        return "\n".join([*lines, "no trial has a result yet", *objective])
    names = [axis.name for axis in build_axes(study)]
    names = [*(name for name in order if name in names), *(n for n in names if n not in order)]
    columns = _list_results(study, candidates)
    fixed = len(columns)
    used = sum(max(map(len, column)) + 2 for column in columns) - 2
    for name in names:
        values = [_cut(format_value(trial.best_point.get(name, ""))) for trial in ranking]
        needed = 2 + max(map(len, (_cut(name), *values)))
        if used + needed > width:
            break
        columns.append([_cut(name), *values])
        used += needed
    lines += align(list(zip(*columns, strict=True)))
    hidden = len(names) - (len(columns) - fixed)
    if hidden:
        lines.append(f"({hidden} more hyperparameters in trials.csv and on the page)")
    best = ranking[0]
    epochs = f"{best.metrics['epoch']}/{best.last_epoch}"
    lines.append(f"epochs {epochs}: best at epoch {best.metrics['epoch']} of {best.last_epoch}")
    lines += objective
    if study.objective.others:
        chosen = f"first row: {describe_choice(study)}"
        about = (count_members(study), describe_volume(study), chosen)
        lines += [line for text in about for line in _wrap(text, width)]
    lines += _wrap(describe_limits(study), width)
    lines += textwrap.wrap(describe_luck(study), width)
    for edge in find_edges(study):
        lines += _wrap(str(edge), width)
    return "\n".join(lines)


def _list_results(study: Study, candidates: Sequence[Candidate]) -> list[list[str]]:
    """Return the columns of the table that are not hyperparameters, each with its head."""
    ranking = [candidate.trial for candidate in candidates]
    several, members = study.objective.others, {trial.number for trial in study.front}
    others = [
        metric
        for metric in study.metrics
        if metric.name != study.metric
        and any(trial.metrics.get(metric.name) is not None for trial in ranking)
    ]
    return [
        ["trial", *(str(trial.number) for trial in ranking)],
        ["status", *(trial.status for trial in ranking)],
        [_cut(study.metric), *(_show(study, trial, study.metric) for trial in ranking)],
        *(
            [_cut(metric.label or metric.name), *(_show(study, t, metric.name) for t in ranking)]
            for metric in others[: max(1, len(study.objective.others))]  # so that others fit
        ),
        *([["mean of seeds", *means]] if any(means := _show_means(study, candidates)) else []),
        *([["front", *("yes" if t.number in members else "" for t in ranking)]] if several else []),
        ["epochs", *(f"{trial.metrics['epoch']}/{trial.last_epoch}" for trial in ranking)],
    ]


def format_leaderboards(
    studies: Sequence[Study],
    top: int = 10,
    orders: Sequence[Sequence[str]] = (),
    width: int = WIDTH,
    comparison: Comparison | None = None,
) -> str:
    """Return the table of one study, or a comparison of several and the table of each.

    Args:
        studies: one or more studies.
        top: number of trials of a single study; of several, each shows 5 at most.
        orders: for each study, the hyperparameters to show first.
        width: columns of the terminal.
        comparison: how the studies compare, if it is computed already.
    """
    if len(studies) == 1:
        return format_leaderboard(studies[0], top, orders[0] if orders else (), width)
    comparison = comparison or compare_studies(studies)
    parts = [format_comparison(studies, comparison, width)]
    for index, (study, name) in enumerate(zip(studies, comparison.names, strict=True)):
        table = format_leaderboard(study, min(top, 5), orders[index] if orders else (), width)
        parts.append(f"{_cut(name, width)}\n{table}")
    return "\n\n".join(parts)


def format_comparison(studies: Sequence[Study], comparison: Comparison, width: int = WIDTH) -> str:
    """Return what several studies say together, and a table with a row per study.

    Args:
        studies: the studies.
        comparison: how they compare.
        width: columns of the terminal.
    """
    names = comparison.names
    texts = describe_studies(studies, names, comparison.groups, comparison.differences)
    table = tabulate_studies(studies, names)
    rows = [
        [_cut(str(cell), _MAX_NAME if k == 0 else _MAX_CELL) for k, cell in enumerate(row)]
        for row in (table.heads, *table.rows)
    ]
    # Best and test are on the right; what describes a study gives way to them.
    droppable = [name for name in ("seed", "epochs", "scheduler", "search") if name in rows[0]]
    while droppable and max(map(len, align(rows))) > width:
        gone = rows[0].index(droppable.pop(0))
        rows = [[cell for k, cell in enumerate(row) if k != gone] for row in rows]
    lines = [line for text in texts for line in _wrap(text, width)]
    lines += [_cut(line, width) for line in align(rows, left=1)]
    objectives = studies[0].objective.objectives
    if attained := comparison.attained:
        lines += ["", *_wrap(describe_attainment(attained, objectives), width)]
        attainment = tabulate_attainment(attained, objectives)
        lines += [_cut(line, width) for line in align([attainment.heads, *attainment.rows])]
    return "\n".join(lines)


def _show_means(study: Study, candidates: Sequence[Candidate]) -> list[str]:
    """Return the mean result of each point and its number of seeds; empty for one training."""
    show = study.objective.metric.show
    return [
        f"{show(each.value)} ({len(each.results)})" if len(each.results) > 1 else ""
        for each in candidates
    ]


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(_cut(text, len(text)), width)


def _show(study: Study, trial: Trial, name: str) -> str:
    return study.find_metric(name).show(trial.metrics.get(name))


def _headline(study: Study) -> str:
    """Return search, scheduler, number of trials by status, and the duration."""
    seconds = format_seconds(study.duration)
    count = len(study.trial_list)
    statuses = f" ({count_statuses(study)})" * (count > 0)
    return f"{study.method}: {plural(count, 'trial')}{statuses} in {seconds}"


def _cut(text: str, max_length: int = _MAX_CELL) -> str:
    """Shorten text, and replace control characters, which a terminal would obey."""
    text = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return text if len(text) <= max_length else text[: max_length - 1] + "…"
