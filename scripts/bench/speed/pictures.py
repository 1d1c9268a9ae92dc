"""Pictures of the results: the parts of an epoch, and growth.

Needs the extra ``plot``: pip install '.[plot]'.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Results = Sequence[dict[str, Any]]

_NOT_PARTS = {"ms an epoch", "share of a core", "s to compile"}
_CURVES = {
    "recordings": (
        "ms a recording",
        {"ms a recording: read": "read", "features": "", "an epoch": ""},
    ),
    "trials": (
        "CPU ms a trial, driver",
        {"driver: CPU ms a trial": "all", "of the last quarter": ""},
    ),
    "nodes": ("s ÷ ideal", {"s ÷ ideal": "trials of 1 s"}),
}
"""By what grows: the unit, and the figures that are drawn, each with its name if it has another."""
_SIZE = re.compile(r"([\d,]+) (recordings|trials|nodes)")


def draw_pictures(results: Results, folder: Path) -> None:
    """Write ``step.svg`` and ``growth.svg``, as far as there are results for them."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for part, draw in (("step", _draw_step), ("growth", _draw_growth)):
        found = [result for result in results if result["part"] == part]
        if found:
            draw(found).savefig(folder / f"{part}.svg", metadata={"Date": None})


def _draw_step(results: Results) -> Any:
    """Draw the parts of an epoch: one panel per group, one bar per case and commit."""
    from matplotlib import pyplot as plt

    groups = dict.fromkeys(result["group"] for result in results)
    bars = [_take_medians([r for r in results if r["group"] == group]) for group in groups]
    sizes = [len(medians) for medians in bars]
    figure, panels = plt.subplots(
        len(bars),
        figsize=(9, 1.2 + 0.4 * sum(sizes)),
        height_ratios=sizes,
        squeeze=False,
        layout="constrained",
    )
    for axes, group, medians in zip(panels[:, 0], groups, bars, strict=True):
        _draw_bars(axes, group, medians)
        axes.set(title=f"{group} network", xlabel="ms an epoch, on one thread")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _draw_bars(axes: Any, group: str, medians: dict[tuple[str, str], dict[str, float]]) -> None:
    commits = [commit for _, commit in medians]
    medians = dict(sorted(medians.items(), key=lambda item: _first(item[0][0], medians)))
    parts = dict.fromkeys(part for figures in medians.values() for part in figures)
    places = range(len(medians))
    lefts = [0.0] * len(medians)
    for number, part in enumerate(part for part in parts if part not in _NOT_PARTS):
        widths = [figures.get(part, 0.0) for figures in medians.values()]
        axes.barh(places, widths, left=lefts, color=f"C{number}", label=part)
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    whole = [figures["ms an epoch"] for figures in medians.values()]
    rest = [max(0.0, most - left) for most, left in zip(whole, lefts, strict=True)]
    axes.barh(places, rest, left=lefts, color="0.85", label="not told apart")
    cases = [case.removeprefix(f"{group}: ") for case, _ in medians]
    last = commits[-1]
    names = [
        case if commit == last else f"{case}, at {commit[:7]}"
        for case, (_, commit) in zip(cases, medians, strict=True)
    ]
    axes.set_yticks(places, names)
    axes.set_xlim(0, 1.03 * max(whole + lefts))
    axes.invert_yaxis()


def _first(case: str, medians: dict[tuple[str, str], dict[str, float]]) -> int:
    """Return the sort key of a case, so that its commits are adjacent."""
    return [known for known, _ in medians].index(case)


def _draw_growth(results: Results) -> Any:
    """Draw a panel for what grows."""
    from matplotlib import pyplot as plt

    curves: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for (case, _), figures in _take_medians(results).items():
        if size := _SIZE.match(case):
            for key in _CURVES[size[2]][1]:
                curves[size[2], key][int(size[1].replace(",", ""))] = figures[key]
    figure, panels = plt.subplots(1, len(_CURVES), figsize=(12, 3.2), layout="constrained")
    for axes, (kind, (unit, keys)) in zip(panels, _CURVES.items(), strict=True):
        for key, name in keys.items():
            points = sorted(curves[kind, key].items())
            if points:
                axes.plot(*zip(*points, strict=True), "o-", label=name or key)
        axes.set(xlabel=kind, ylabel=unit)
        if kind != "nodes":
            axes.set_xscale("log")
        axes.set_ylim(bottom=0, top=1.15 * axes.get_ylim()[1])
        axes.legend(frameon=False, fontsize="small")
    return figure


def _take_medians(results: Results) -> dict[tuple[str, str], dict[str, float]]:
    """Return the median of each figure, by case and commit."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for key, value in result["figures"].items():
            found[result["case"], result["commit"]][key].append(value)
    return {
        named: {key: statistics.median(values) for key, values in figures.items()}
        for named, figures in found.items()
    }
