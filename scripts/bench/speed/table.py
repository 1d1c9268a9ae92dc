"""Tables of the results."""

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from shared import align_table

_BASE = re.compile(r"\((limit|as it is)\)$")
"""The end of the name of the case that the others of its group are compared with."""


def format_tables(results: list[dict[str, Any]], titles: Mapping[str, str]) -> str:
    """Return Markdown tables of each part under its title: one per set of figures.

    A table has a row per case and commit; one of few cases and many figures, a column instead.
    """
    blocks = []
    for part, title in titles.items():
        found = [result for result in results if result["part"] == part]
        if found:
            blocks.append("\n\n".join([title, *map(_format_table, _split_by_figures(found))]))
    return "\n\n".join(blocks)


def _split_by_figures(results: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Split the results of a part so that no two lists have a figure in common."""
    lists: list[list[dict[str, Any]]] = []
    for result in results:
        keys = result["figures"].keys()
        same = [found for found in lists if any(keys & one["figures"].keys() for one in found)]
        lists = [found for found in lists if found not in same]
        lists.append([*(one for found in same for one in found), result])
    return lists


def _format_table(results: list[dict[str, Any]]) -> str:
    figures = list(dict.fromkeys(key for result in results for key in result["figures"]))
    commits = list(dict.fromkeys(result["commit"] for result in results))
    by_case: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_case[result["group"], result["case"]].append(result)
    bases = {
        group: (found, mark[1])
        for (group, case), found in by_case.items()
        if (mark := _BASE.search(case))
    }
    rows = []
    for (group, case), every in sorted(by_case.items(), key=lambda item: item[0][0]):
        base, _ = bases.get(group, ([], ""))
        for commit in commits:
            found = [result for result in every if result["commit"] == commit]
            if not found:
                continue
            ratio = _tell(find_ratios(found, base, figures[0]))
            told = (_tell([r["figures"][k] for r in found if k in r["figures"]]) for k in figures)
            named = (case, commit[:7]) if len(commits) > 1 else (case,)
            rows.append((*named, *([ratio] if bases else []), *told, str(len(found))))
    against = dict.fromkeys(f"÷ {mark}" for _, mark in bases.values())
    named = ("case", "commit") if len(commits) > 1 else ("case",)
    table = [(*named, *against, *figures, "times"), *rows]
    if len(figures) > 2 * len(rows):
        table = list(zip(*table, strict=True))
    return align_table(table[0], table[1:])


def find_ratios(found: list[dict[str, Any]], base: list[dict[str, Any]], key: str) -> list[float]:
    """Return a figure over the base's of the same repeat and commit."""
    bases = {(one["repeat"], one["commit"]): one["figures"][key] for one in base}
    return [
        one["figures"][key] / bases[one["repeat"], one["commit"]]
        for one in found
        if (one["repeat"], one["commit"]) in bases
    ]


def _tell(values: list[float]) -> str:
    if not values:
        return "–"
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:.3g}"
    return f"{middle:.3g} ({min(values):.3g} to {max(values):.3g})"
