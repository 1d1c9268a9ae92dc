"""Shared by benchmarks and campaigns: commands, result files (JSON lines) and text tables."""

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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


def build_parser(
    prog: str, usage: str | None, results: Path, *, seeded: bool = True
) -> argparse.ArgumentParser:
    """Return a parser with the options that all commands with results have.

    Args:
        prog: how the command is called.
        usage: the docstring of its module.
        results: the default of ``--out``.
        seeded: whether the command has a ``--seed``.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if seeded:
        parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws [0]")
    parser.add_argument(
        "--out", type=Path, default=results, metavar="DIR", help="result files [%(default)s]"
    )
    parser.add_argument("--table", action="store_true", help="run nothing: print the tables so far")
    return parser


@contextlib.contextmanager
def add_results(folder: Path, name: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Add results to today's file of a folder, ``DATE-name.jsonl``.

    Yields:
        A function that writes one result as a line, with the commit that is tried.
    """
    folder.mkdir(parents=True, exist_ok=True)
    commit = find_commit()
    with (folder / f"{time.strftime('%Y-%m-%d')}-{name}.jsonl").open("a") as lines:

        def add(result: dict[str, Any]) -> None:
            lines.write(json.dumps({**result, "commit": commit}) + "\n")
            lines.flush()

        yield add


def find_commit() -> str:
    """Return the commit that is tried, with ``-dirty`` where the files are not as committed."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    here = Path(__file__).parent
    said = subprocess.run(describe, cwd=here, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder's files, the files by name."""
    return [line for file in sorted(folder.glob("*.jsonl")) for line in read_lines(file)]


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def align_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned, names left and figures right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([_align(heads, widths), rule, *(_align(row, widths) for row in rows)])


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = row
    cells = [name.ljust(widths[0]), *(t.rjust(w) for t, w in zip(figures, widths[1:], strict=True))]
    return "| " + " | ".join(cells) + " |"
