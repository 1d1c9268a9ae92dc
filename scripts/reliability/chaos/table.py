"""The table of injected faults, from the result files."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from shared import align_table

HEAD = ("fault", "injected", "recovered", "lost", "median s", "worst s")


def format_table(results: Iterable[dict[str, Any]]) -> str:
    """Return a Markdown table: one row per fault, and a sum."""
    by_fault: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_fault[result["fault"]].append(result)
    rows = [_summarize(fault, found) for fault, found in by_fault.items()]
    everything = [result for found in by_fault.values() for result in found]
    if everything:
        rows.append(_summarize("all", everything))
    return align_table(HEAD, rows)


def _summarize(fault: str, found: list[dict[str, Any]]) -> tuple[str, ...]:
    seconds = [result["seconds"] for result in found if result["recovered"]]
    times = (f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}") if seconds else ("–", "–")
    counts = (len(found), len(seconds), sum(result["lost"] for result in found))
    return (fault, *map(str, counts), *times)
