"""The table of what was tried, from the result files."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fuzzing.kind import OUTCOMES

HEAD = ("kind", "tried", "refused", "accepted", "tracebacks", "hangs", "silent defaults")


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder's files, a line a kind and run."""
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]


def format_table(results: Iterable[dict[str, Any]]) -> str:
    """Return a Markdown table: a row a kind, and a sum."""
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        by_kind[result["kind"]].update(result["ends"])
        by_kind["all"].update(result["ends"])
    order = [kind for kind in by_kind if kind != "all"] + ["all"] * bool(by_kind)
    rows = [HEAD]
    for kind in order:
        ends = by_kind[kind]
        counts = (sum(ends.values()), *(ends[outcome] for outcome in OUTCOMES))
        rows.append((kind, *(f"{count:,}" for count in counts)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [_format_row(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _format_row(row: Iterable[str], widths: list[int]) -> str:
    cells = [
        text.rjust(width) if column else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "| " + " | ".join(cells) + " |"
