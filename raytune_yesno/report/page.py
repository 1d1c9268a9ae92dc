"""The web page: one HTML file with its style, scripts, texts and the data of its plots.

The markup is in ``assets/*.html.j2``; ``view.py`` computes the values. Jinja2 escapes every value.
Only the package's own style and scripts, and JSON from :func:`embed`, are inserted unescaped.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

from raytune_yesno.report.comparison import Comparison
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.plot_data import build_payload, embed
from raytune_yesno.report.study_groups import find_best
from raytune_yesno.report.view import view_comparison, view_study
from raytune_yesno.study import Study

MAX_NAMES_IN_TITLE = 3
_SCRIPTS = ("core.js", "plots.js", "front.js", "params.js", "table.js", "start.js")


def build_page(
    studies: Sequence[Study],
    importances: Sequence[Importance],
    comparison: Comparison,
    refresh_s: float | None = None,
) -> str:
    """Return the page's HTML.

    Args:
        studies: one or more studies.
        importances: the importance of the hyperparameters, one per study.
        comparison: how the studies compare.
        refresh_s: seconds after which the browser reloads the page. None for a page that does not
            change.
    """
    names, first = comparison.names, find_best(studies) or 0
    payload = build_payload(
        studies,
        names,
        comparison.groups,
        [found.names for found in importances],
        comparison.attained,
    )
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=(
                ", ".join(names) if len(names) <= MAX_NAMES_IN_TITLE else f"{len(names)} studies"
            ),
            refresh_s=f"{refresh_s:g}" if refresh_s else "",
            style=_read_asset("page.css"),
            script=Markup("\n").join(map(_read_asset, _SCRIPTS)),
            data=Markup(embed({**payload, "first": first})),  # noqa: S704 (embed escapes)
            names=names,
            several=any(study.objective.others for study in studies),
            first=first,
            views=[
                view_study(study, importance)
                for study, importance in zip(studies, importances, strict=True)
            ],
            comparison=view_comparison(studies, comparison) if len(studies) > 1 else None,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read_asset(name: str) -> Markup:
    text = files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 (a file of this package)
