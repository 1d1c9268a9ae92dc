"""The table of results, from the result files."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from shared import align_table

from reliability.fuzz.kind import OUTCOMES

HEAD = ("kind", "tried", "refused", "accepted", "tracebacks", "hangs", "silent defaults")


def format_table(results: Iterable[dict[str, Any]]) -> str:
    """Return a Markdown table: one row per kind, and a sum."""
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        by_kind[result["kind"]].update(result["ends"])
        by_kind["all"].update(result["ends"])
    order = [kind for kind in by_kind if kind != "all"] + ["all"] * bool(by_kind)
    rows = []
    for kind in order:
        ends = by_kind[kind]
        counts = (sum(ends.values()), *(ends[outcome] for outcome in OUTCOMES))
        rows.append((kind, *(f"{count:,}" for count in counts)))
    return align_table(HEAD, rows)
