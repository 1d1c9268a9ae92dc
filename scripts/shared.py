"""Shared by benchmarks and campaigns: the entry point, result files (JSON lines), text tables."""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_command(package: str, usage: str, names: Sequence[str]) -> int:
    """Run the command that the first word of the command line names.

    Args:
        package: folder of ``scripts/``; each of its commands is a module ``NAME/command.py`` there
            with a function ``main(words, prog)``, imported only when it is run.
        usage: printed if the first word names no command.
        names: of the commands.

    Returns:
        The exit code.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in names:
        asked = name in ("-h", "--help")
        print(usage.strip(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    module = importlib.import_module(f"{package}.{name}.command")
    code: int = module.main(sys.argv[2:], f"python scripts/{package} {name}")
    return code


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
