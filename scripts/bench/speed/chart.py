"""A chart of ratios: how much longer each program takes than the limit of its group."""

import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.speed.table import find_ratios

PARTS = {
    "overhead": "tuning: trials on two slots",
    "parallel": "data-parallel training",
}
_LIMIT = re.compile(r" \(limit\)$")


def draw_ratios(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the medians of the ratios, with the least and the most, a panel a part.

    Args:
        results: the lines of result files.
        path: the picture to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    panels = {title: _list_ratios(results, part) for part, title in PARTS.items()}
    heights = [max(len(rows), 1) for rows in panels.values()]
    figure, axes = plt.subplots(
        len(panels),
        figsize=(8, 0.28 * sum(heights) + 1.6),
        height_ratios=heights,
        sharex=True,
        layout="constrained",
    )
    for panel, (title, rows) in zip(axes, panels.items(), strict=True):
        for at, (case, ratios) in enumerate(reversed(rows.items())):
            middle, is_ours = statistics.median(ratios), "raytune" in case
            error = [[middle - min(ratios)], [max(ratios) - middle]]
            colour = "tab:blue" if is_ours else "0.45"
            panel.errorbar(middle, at, xerr=error, fmt="o", color=colour, capsize=2)
            panel.annotate(f"{middle:.2f}", (max(ratios), at), (6, -3), textcoords="offset points")
        panel.set_yticks(range(len(rows)), list(reversed(rows)))
        panel.axvline(1, color="0.7", linewidth=1, zorder=0)
        panel.set(title=title, xscale="log", xlim=(0.8, 9), ylim=(-0.6, len(rows) - 0.4))
        panel.xaxis.set_major_locator(FixedLocator([1, 1.5, 2, 3, 5, 7]))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(ScalarFormatter())
    axes[-1].set_xlabel("time over that of the same work without a tool (1 is the limit)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _list_ratios(results: list[dict[str, Any]], part: str) -> dict[str, list[float]]:
    """Return the ratios of each case over its group's limit, of all commits together."""
    by_case: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        if result["part"] == part:
            by_case[result["case"]].append(result)
    limits = {found[0]["group"]: found for case, found in by_case.items() if _LIMIT.search(case)}
    ratios = {
        case: find_ratios(found, limits.get(found[0]["group"], []), next(iter(found[0]["figures"])))
        for case, found in sorted(by_case.items(), key=lambda item: _sort_key(item[0]))
        if not _LIMIT.search(case)
    }
    return {case: found for case, found in ratios.items() if found}


def _sort_key(case: str) -> tuple[float, bool, str]:
    size, _, program = case.partition(":")
    number = re.match(r"\d+", size)
    return float(number[0]) if number else 0.0, "raytune" not in program, program
