"""Measure the speed of the project, of its alternatives, and the limit of the machine.

    python scripts/bench speed                                  # all parts; hours
    python scripts/bench speed --part overhead --case 1s --repeats 3
    python scripts/bench speed --table                          # of the results so far
    python scripts/bench speed --table --commit A --commit B    # before and after

Cases of a part are run in turn, and that is repeated: what else the machine does then meets them
all. Peers, pinned, are installed into an environment of their own, which borrows torch and Ray from
the one that runs this. Ratios come first: they carry over to other machines, seconds do not.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shared import add_results, build_parser, find_commit, read_results

from bench.speed import functions, groups, growth, overhead, parallel, startup, step
from bench.speed.case import Case, describe_machine
from bench.speed.chart import draw_ratios
from bench.speed.table import format_tables

RESULTS = Path(__file__).parent / "results"
PARTS = {
    "overhead": overhead,
    "functions": functions,
    "startup": startup,
    "groups": groups,
    "parallel": parallel,
    "step": step,
    "growth": growth,
}


def main(words: Sequence[str], prog: str) -> int:
    """Measure, or print the tables of what was measured; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS, seeded=False)
    parser.add_argument("--part", choices=PARTS, action="append", help="repeatable [all]")
    parser.add_argument(
        "--case", action="append", metavar="TEXT", help="only cases whose name holds it; repeatable"
    )
    parser.add_argument(
        "--chart", type=Path, metavar="FILE", help="draw the ratios of the results so far, too"
    )
    parser.add_argument("--quick", action="store_true", help="few trials: does all of it work?")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="[3]")
    parser.add_argument(
        "--commit", action="append", help="only results of this one; repeatable [all]"
    )
    options = parser.parse_args(words)
    if not options.table:
        measure(options)
    results = read_results(options.out)
    parts = options.part or PARTS
    results = [
        result
        for result in results
        if result["commit"].startswith(tuple(options.commit or ("",)))
        and result["part"] in parts
        and _is_wanted(result["case"], options.case)
    ]
    print(format_tables(results, {name: part.TITLE for name, part in PARTS.items()}))
    if options.chart:
        draw_ratios(results, options.chart)
    return 0


def measure(options: argparse.Namespace) -> None:
    """Run the requested cases in turn, and add one line per case to the results."""
    machine, commit = describe_machine(), find_commit()
    before = [r for r in read_results(options.out) if r["commit"] == commit]
    for name in options.part or PARTS:
        cases: list[Case] = [
            case
            for case in PARTS[name].list_cases(quick=options.quick)
            if _is_wanted(case.name, options.case)
        ]
        first = 1 + max((r["repeat"] for r in before if r["part"] == name), default=-1)
        with add_results(options.out, name) as add:
            for repeat, case in itertools.product(range(first, first + options.repeats), cases):
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    figures = case.run(Path(folder))
                line = {"part": name, "case": case.name, "repeat": repeat, "figures": figures}
                add({**line, "group": case.group, **machine})
                said = ", ".join(f"{key} {value:.3g}" for key, value in figures.items())
                print(f"{name}: {case.name}: {said}", file=sys.stderr, flush=True)


def _is_wanted(case: str, texts: list[str] | None) -> bool:
    return not texts or any(text in case for text in texts)
