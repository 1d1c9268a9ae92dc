"""Tables in Markdown, and the figures behind them, from the results of the runs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.search.digits import NUM_EVALUATIONS, PAPER
from bench.search.functions import FUNCTIONS
from bench.search.measures import Median, best_after, epochs_to, evaluations_to, take_median
from bench.search.runs import NUM_BEGUN, NUM_EVALUATED, SLOTS, Run
from bench.search.searches import OURS, PEERS
from bench.search.table import Table

Records = Mapping[Run, dict[str, Any]]
ORDER = (*OURS, *PEERS)


def select(records: Records, part: str, problem: str, search: str, scheduler: str = "fifo") -> Any:
    """Return the records of one search on one problem, by seed."""
    found = [
        (run.seed, record)
        for run, record in records.items()
        if (run.part, run.problem, run.search, run.scheduler) == (part, problem, search, scheduler)
    ]
    return [record for _, record in sorted(found, key=lambda pair: pair[0])]


def list_searches(records: Records, part: str) -> list[str]:
    """Return the searches that a part was run with, those of the tables' order first."""
    found = {run.search for run in records if run.part == part}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def tell_functions(records: Records) -> list[str]:
    """Return the section on test functions."""
    lines = [
        f"Regret after {NUM_EVALUATED} evaluations, one at a time; in brackets, the evaluations "
        f"needed to reach random's median after {NUM_EVALUATED}.",
        "",
    ]
    names = [name for name in FUNCTIONS if select(records, "functions", name, "random")]
    rows = []
    for search in list_searches(records, "functions"):
        cells = []
        for name in names:
            found = select(records, "functions", name, search)
            target = _random_median(records, "functions", name)
            cells.append(_tell_run(found, target, FUNCTIONS[name].least) if found else "–")
        rows.append([search, *cells])
    return lines + write_table(["search", *names], rows)


def _random_median(records: Records, part: str, problem: str) -> float:
    found = select(records, part, problem, "random")
    return take_median([best_after(r["ended"], NUM_EVALUATED) for r in found]).value


def _tell_run(found: Sequence[dict[str, Any]], target: float, least: float) -> str:
    regret = take_median([best_after(r["ended"], NUM_EVALUATED) - least for r in found])
    soon = take_median([evaluations_to(r["ended"], target) for r in found])
    return f"{regret} [{soon}]"


def tell_table(records: Records, table: Table) -> list[str]:
    """Return the section on the recorded table, whole trials and early stopping."""
    target = _random_median(records, "table", "table")
    rows = []
    for search in list_searches(records, "table"):
        if not (found := select(records, "table", "table", search)):
            continue
        soon = [evaluations_to(r["ended"], target) for r in found]
        regret = take_median([best_after(r["ended"], NUM_EVALUATED) - table.least for r in found])
        half = sum(value <= NUM_EVALUATED / 2 for value in soon)
        different = statistics.median(len(set(r["ended"])) for r in found)
        counts = f"{half} of {len(found)}", f"{different:.0f}"
        rows.append([search, len(found), take_median(soon), *counts, regret])
    heads = [
        "search",
        "seeds",
        "evaluations to random's best",
        f"within {NUM_EVALUATED // 2}",
        "different entries",
        f"regret after {NUM_EVALUATED}",
    ]
    lines = [
        f"{len(table.entries)} configurations, best {table.least:.4g}; {SLOTS} trials at a time, "
        f"whole. Random's best after {NUM_EVALUATED}, the median over seeds, is {target:.4g}.",
        "",
        *write_table(heads, rows),
        "",
        f"With a scheduler, {NUM_BEGUN} trials: epochs until the best loss is that of the same "
        f"search with `fifo` in {NUM_EVALUATED} trials, {NUM_EVALUATED * table.epochs} epochs "
        "(its median; `bohb`: random's).",
        "",
    ]
    rows = []
    for search in list_searches(records, "table"):
        for scheduler in ("asha", "hyperband", "median"):
            if found := select(records, "table", "table", search, scheduler):
                rows.append([search, scheduler, *_tell_saving(records, found, search, table)])
    heads = ["search", "scheduler", "epochs to fifo's best", "share", "within a quarter"]
    return lines + write_table([*heads, "epochs in all", "regret"], rows)


def _tell_saving(
    records: Records, found: Sequence[dict[str, Any]], search: str, table: Table
) -> list[object]:
    reference = "random" if search == "bohb" else search
    whole = select(records, "table", "table", reference)
    target = take_median([best_after(r["ended"], NUM_EVALUATED) for r in whole]).value
    all_epochs = NUM_EVALUATED * table.epochs
    epochs = [epochs_to(r["spent"], r["bests"], target) for r in found]
    median = take_median(epochs)
    share = Median(*(value / all_epochs for value in (median.value, median.low, median.high)))
    quarter = sum(value <= all_epochs / 4 for value in epochs)
    spent = take_median([r["epochs"] for r in found])
    regret = take_median([r["bests"][-1] - table.least for r in found])
    return [median, share, f"{quarter} of {len(found)}", f"{spent.value:.0f}", regret]


def tell_digits(records: Records) -> list[str]:
    """Return the section on scikit-learn's digits."""
    rows = []
    for search in list_searches(records, "digits"):
        cells: list[object] = [search]
        for model, num in NUM_EVALUATIONS.items():
            found = select(records, "digits", model, search)
            ours = take_median([100 * (1 - best_after(r["ended"], num)) for r in found] or [0])
            told = f"{ours.value:.2f} ({ours.low:.2f}–{ours.high:.2f})" if found else "–"
            paper = PAPER[model].get(search, math.nan)
            cells += [f"{told}, {len(found)} seeds", "–" if math.isnan(paper) else f"{paper:.2f}"]
        rows.append(cells)
    heads = [cell for m in NUM_EVALUATIONS for cell in (f"{m}, {NUM_EVALUATIONS[m]}", "paper")]
    return [
        "Accuracy in % of the best found, mean of three folds, and the paper's (Yang & Shami, 2020,"
        " tables 4 to 6). Not the same runs: other versions of scikit-learn, and their Hyperband "
        "and BOHB trained on parts of the data; ours is BOHB's model alone.",
        "",
        *write_table(["search", *heads], rows),
    ]


def write_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]
