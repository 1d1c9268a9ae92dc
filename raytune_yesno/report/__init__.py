"""Report on studies: a leaderboard, tables and a web page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raytune_yesno.errors import to_utf8
from raytune_yesno.files.atomic import replace_file
from raytune_yesno.report.comparison import Comparison, compare_studies
from raytune_yesno.report.export import collect_trials, list_heads, write_table
from raytune_yesno.report.importance import Importance, measure_importance
from raytune_yesno.report.page import build_page
from raytune_yesno.study.study import Study

TABLE = "trials.csv"
PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """The files of a report.

    Attributes:
        csv: the table of trials.
        html: the page.
        importances: the importance of the hyperparameters, one per study.
        comparison: how the studies compare.
    """

    csv: Path
    html: Path
    importances: list[Importance]
    comparison: Comparison


def write_report(
    studies: Sequence[Study],
    out: Path,
    *,
    refresh_s: float | None = None,
    before: Sequence[Importance] = (),
) -> Report:
    """Write the table of trials and the page to a folder.

    Args:
        studies: one or more studies.
        out: the folder; it is created if it is missing.
        refresh_s: seconds after which the browser reloads the page of a running study.
        before: importances measured earlier. With ``refresh_s`` they are reused until there are
            20 % more results, because measuring takes CPU time from the running study.

    Returns:
        The files, and the importances and the comparison that they show.
    """
    importances = [
        before[index]
        if before and refresh_s and len(study.ranking) < 1.2 * before[index].num_results
        else measure_importance(study)
        for index, study in enumerate(studies)
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_table(collect_trials(studies), out / TABLE, list_heads(studies))
    comparison = compare_studies(studies)
    page = build_page(studies, importances, comparison, refresh_s)
    with replace_file(out / PAGE) as part:  # a browser may be reading it
        part.write_text(to_utf8(page), encoding="utf-8")
    return Report(out / TABLE, out / PAGE, importances, comparison)
