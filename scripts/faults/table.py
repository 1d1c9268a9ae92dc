"""The table of what was injected, from the result files."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HEAD = ("fault", "injected", "recovered", "lost", "median s", "worst s")


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder's files, a line an injection."""
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]


def format_table(results: Iterable[dict[str, Any]]) -> str:
    """Return a Markdown table: a row a fault, and a sum."""
    by_fault: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_fault[result["fault"]].append(result)
    rows = [_summarize(fault, found) for fault, found in by_fault.items()]
    everything = [result for found in by_fault.values() for result in found]
    if everything:
        rows.append(_summarize("all", everything))
    widths = [max(len(row[column]) for row in [HEAD, *rows]) for column in range(len(HEAD))]
    lines = [_format_row(HEAD, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_format_row(row, widths) for row in rows)])


def _summarize(fault: str, found: list[dict[str, Any]]) -> tuple[str, ...]:
    seconds = [result["seconds"] for result in found if result["recovered"]]
    times = (f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}") if seconds else ("–", "–")
    counts = (len(found), len(seconds), sum(result["lost"] for result in found))
    return (fault, *map(str, counts), *times)


def _format_row(row: Iterable[str], widths: list[int]) -> str:
    cells = [
        text.rjust(width) if column else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "| " + " | ".join(cells) + " |"
