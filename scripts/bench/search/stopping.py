"""Early stopping replayed on the recorded trainings: epochs until the best loss of whole trials."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.search.curves import list_curves, load_curves
from bench.search.measures import Median, best_after, epochs_to, take_median, write_table
from bench.search.runs import NUM_BEGUN, NUM_EVALUATED, SCHEDULERS, SLOTS, Run
from bench.search.table import Table

HEADS = [
    "curves",
    "number",
    "search",
    "scheduler",
    "seeds",
    "epochs to fifo's best",
    "share",
    "within a third",
    "epochs in all",
    "regret",
]


def tell_stopping(records: Mapping[Run, dict[str, Any]]) -> list[str]:
    """Return the section on recorded trainings."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for run, record in records.items():
        if run.part == "table" and run.problem in list_curves():
            found.setdefault((run.problem, run.search, run.scheduler), []).append(record)
    rows = list[list[object]]()
    for curves, search, kind in found:
        for scheduler in SCHEDULERS if kind == "fifo" else ():
            if (curves, search, scheduler) in found:
                table = load_curves(curves)
                whole, stopped = (found[curves, search, s] for s in ("fifo", scheduler))
                saving = _tell_saving(whole, stopped, table)
                rows.append([curves, len(table.entries), search, scheduler, *saving])
    return [
        f"{SLOTS} trials at a time, {NUM_BEGUN} trials: epochs until the best loss is that of the "
        f"same search with `fifo` in {NUM_EVALUATED} trials (its median), and their share of the "
        "epochs of these.",
        "",
        *write_table(HEADS, rows),
    ]


def _tell_saving(
    whole: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]], table: Table
) -> list[object]:
    target = take_median([best_after(r["ended"], NUM_EVALUATED) for r in whole]).value
    all_epochs = NUM_EVALUATED * table.epochs
    epochs = [epochs_to(r["spent"], r["bests"], target) for r in found]
    median = take_median(epochs)
    share = Median(*(value / all_epochs for value in (median.value, median.low, median.high)))
    third = sum(value <= all_epochs / 3 for value in epochs)
    spent = take_median([r["epochs"] for r in found])
    regret = take_median([r["bests"][-1] - table.least for r in found])
    return [len(found), median, share, f"{third} of {len(found)}", f"{spent.value:.0f}", regret]
