"""Regret against evaluations and against epochs spent, medians over seeds with their intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.search.functions import FUNCTIONS
from bench.search.measures import take_median, trace_epochs, trace_evaluations
from bench.search.results import Records, list_searches, select
from bench.search.runs import NUM_EVALUATED
from bench.search.table import Table


def draw_functions(records: Records, path: Path) -> None:
    """Draw one panel per function."""
    names = [name for name in FUNCTIONS if select(records, "functions", name, "random")]
    figure, panels = _build_figure(3, max(1, -(-len(names) // 3)))
    for axes, name in zip(panels, names, strict=False):
        for search in list_searches(records, "functions"):
            found = select(records, "functions", name, search)
            traces = [trace_evaluations(r["ended"], NUM_EVALUATED) for r in found]
            if traces:
                _draw(axes, range(1, NUM_EVALUATED + 1), traces, FUNCTIONS[name].least, search)
        axes.set(title=name, xlabel="evaluations", ylabel="regret", yscale="log")
    _save(figure, panels, path)


def draw_table(records: Records, table: Table, path: Path) -> None:
    """Draw whole trials against evaluations, and one panel per scheduler against epochs."""
    figure, panels = _build_figure(2, 2)
    at = np.unique(np.geomspace(20, NUM_EVALUATED * table.epochs, 80).astype(int))
    for search in list_searches(records, "table"):
        found = select(records, "table", "table", search)
        traces = [trace_evaluations(r["ended"], NUM_EVALUATED) for r in found]
        if traces:
            _draw(panels[0], range(1, NUM_EVALUATED + 1), traces, table.least, search)
    panels[0].set(title="fifo", xlabel="evaluations", yscale="log")
    panels[0].set(ylabel="regret of validation loss")
    for axes, scheduler in zip(panels[1:], ("asha", "hyperband", "median"), strict=True):
        for search, kind in (("random", "fifo"), *((s, scheduler) for s in _ours(records))):
            found = select(records, "table", "table", search, kind)
            traces = [trace_epochs(r["spent"], r["bests"], at.tolist()) for r in found]
            label = "random, fifo" if kind == "fifo" else search
            if traces:
                _draw(axes, at, traces, table.least, label, dashed=kind == "fifo")
        axes.set(title=scheduler, xlabel="epochs spent by all trials", xscale="log")
        axes.set(ylabel="regret of validation loss", yscale="log")
    _save(figure, panels, path)


def _ours(records: Records) -> list[str]:
    return [name for name in list_searches(records, "table") if not name.startswith("optuna")]


_COLOURS: dict[str, Any] = {}


def _draw(
    axes: Any,
    at: Sequence[int] | np.ndarray | range,
    traces: Sequence[np.ndarray],
    least: float,
    label: str,
    *,
    dashed: bool = False,
) -> None:
    columns = np.array(traces).T - least
    medians = [take_median(column.tolist()) for column in columns]
    colour = "0.3" if dashed else _COLOURS.setdefault(label, f"C{len(_COLOURS) % 10}")
    style = "--" if dashed or label.startswith("optuna") else "-"
    axes.plot(at, [m.value for m in medians], style, color=colour, label=label, linewidth=1.4)
    low, high = [m.low for m in medians], [m.high for m in medians]
    axes.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)


def _build_figure(columns: int, rows: int) -> tuple[Any, list[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    _COLOURS.clear()
    figure, grid = plt.subplots(
        rows, columns, figsize=(4.2 * columns, 3.2 * rows), squeeze=False, layout="constrained"
    )
    return figure, list(grid.flat)


def _save(figure: Any, panels: Sequence[Any], path: Path) -> None:
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=110)
