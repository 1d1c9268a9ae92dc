"""How studies show themselves in a Python session and in a notebook."""

from html import escape
from typing import TYPE_CHECKING, Any

from raytune_yesno.errors import one_line
from raytune_yesno.text import format_seconds, format_value

if TYPE_CHECKING:
    from raytune_yesno.study.study import Study

MAX_ROWS = 5  # trials in a notebook's table


def show_study(study: "Study") -> str:
    """Return a line on a study: its folder, number of trials and best result."""
    return one_line(f"Study({str(study.path)!r}: {', '.join(_facts(study).values())})")


def study_to_html(study: "Study") -> str:
    """Return a study's facts and its best trials as HTML; every text is escaped."""
    ranking = study.ranking[:MAX_ROWS]
    points = [trial.best_point for trial in ranking]
    names = list(dict.fromkeys(name for point in points for name in point))
    heads = ["trial", "status", "epochs", study.metric, *names]
    rows = [
        [trial.number, trial.status, len(trial.epochs), trial.result]
        + [format_value(point[name]) if name in point else "" for name in names]
        for trial, point in zip(ranking, points, strict=True)
    ]
    facts = " · ".join(_facts(study).values())
    table = f"<table>{_row('th', heads)}{''.join(_row('td', row) for row in rows)}</table>"
    return f"<p><b>{_safe(study.name)}</b>: {_safe(facts)}</p>" + table * bool(rows)


def _facts(study: "Study") -> dict[str, str]:
    asked = (study.asked.get("search"), study.asked.get("scheduler"))
    count = len(study.trial_list)
    best = study.best
    result = f"best {study.metric} {best.result} (trial {best.number})" if best else "no result"
    facts = {
        "search": " + ".join(str(name) for name in asked if name),
        "trials": f"{count} trial{'s' * (count != 1)}",
        "state": "" if study.searched else "not finished",
        "best": result,
        "time": format_seconds(study.end_time - study.asked["time"]),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _row(cell: str, values: list[Any]) -> str:
    return "<tr>" + "".join(f"<{cell}>{_safe(value)}</{cell}>" for value in values) + "</tr>"


def _safe(value: object) -> str:
    return escape(one_line(str(value)))
