"""Early stopping replayed on the recorded trainings: epochs until the best loss of whole trials."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.search.measures import Median, best_after, epochs_to, take_median, write_table
from bench.search.runs import NUM_BEGUN, NUM_EVALUATED, SCHEDULERS, SLOTS, Run
from bench.search.table import Table

HEADS = [
    "search",
    "scheduler",
    "seeds",
    "epochs to fifo's best",
    "share",
    "within a quarter",
    "epochs in all",
    "regret",
]


def tell_stopping(records: Mapping[Run, dict[str, Any]], table: Table) -> list[str]:
    """Return the section on the recorded trainings."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run, record in records.items():
        if run.part == "table":
            found.setdefault((run.search, run.scheduler), []).append(record)
    rows = [
        [search, scheduler, *_tell_saving(found[search, "fifo"], found[search, scheduler], table)]
        for search, kind in found
        if kind == "fifo"
        for scheduler in SCHEDULERS
        if (search, scheduler) in found
    ]
    return [
        f"{len(table.entries)} configurations, best loss {table.least:.4g}; {SLOTS} trials at a "
        f"time, {NUM_BEGUN} trials: epochs until the best loss is that of the same search with "
        f"`fifo` in {NUM_EVALUATED} trials, {NUM_EVALUATED * table.epochs} epochs (its median).",
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
    quarter = sum(value <= all_epochs / 4 for value in epochs)
    spent = take_median([r["epochs"] for r in found])
    regret = take_median([r["bests"][-1] - table.least for r in found])
    return [len(found), median, share, f"{quarter} of {len(found)}", f"{spent.value:.0f}", regret]
