"""Result files of the campaigns, a JSON object a line, and tables that read well as text, too."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def find_commit() -> str:
    """Return the commit that is tried, with ``-dirty`` where the files are not as committed."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    here = Path(__file__).parent
    said = subprocess.run(describe, cwd=here, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder's files, the files by name."""
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]


def align_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned, names left and figures right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([_align(heads, widths), rule, *(_align(row, widths) for row in rows)])


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = row
    cells = [name.ljust(widths[0]), *(t.rjust(w) for t, w in zip(figures, widths[1:], strict=True))]
    return "| " + " | ".join(cells) + " |"
