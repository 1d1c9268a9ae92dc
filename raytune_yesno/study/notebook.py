"""How a study shows itself in a notebook."""

from collections.abc import Sequence
from html import escape
from typing import Any

from raytune_yesno.errors import one_line
from raytune_yesno.study.trial import Trial
from raytune_yesno.text import format_value

MAX_ROWS = 5


def study_to_html(name: str, facts: Sequence[str], ranking: Sequence[Trial]) -> str:
    """Return a study's facts and a table of its best trials as HTML; every text is escaped.

    Args:
        name: the name of the study.
        facts: short texts that describe it.
        ranking: its trials, the best first; the table has the first :data:`MAX_ROWS`.
    """
    trials = ranking[:MAX_ROWS]
    points = [trial.best_point for trial in trials]
    names = list(dict.fromkeys(name for point in points for name in point))
    rows = [
        [trial.number, trial.status, len(trial.epochs), trial.result]
        + [format_value(point[name]) if name in point else "" for name in names]
        for trial, point in zip(trials, points, strict=True)
    ]
    title = f"<p><b>{_safe(name)}</b>: {_safe(' · '.join(facts))}</p>"
    if not rows:
        return title
    heads = ["trial", "status", "epochs", trials[0].objective.metric.name, *names]
    return f"{title}<table>{_row('th', heads)}{''.join(_row('td', row) for row in rows)}</table>"


def _row(cell: str, values: Sequence[Any]) -> str:
    return "<tr>" + "".join(f"<{cell}>{_safe(value)}</{cell}>" for value in values) + "</tr>"


def _safe(value: object) -> str:
    return escape(one_line(str(value)))
