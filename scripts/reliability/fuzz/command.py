"""Give damaged input to every reader, and count what is not refused in one line.

    python scripts/reliability fuzz --minutes 30 --seed 1     # all kinds, in equal shares of time
    python scripts/reliability fuzz --kind "WAV files" --count 5000
    python scripts/reliability fuzz --table                   # of all results so far

Good inputs are damaged at one or more positions. Inputs that reach new lines of the reader are
damaged further. An input is refused (an InputError of one line; exit code 2), accepted, or a
finding: any other exception, a longer message, more than 20 s or 1 GiB, the death of the process,
or a value read as another one than was given. The same seed gives the same inputs. Findings are
kept in --findings; each kind adds a line to --out. Exit code 1 if there was a finding.
"""

import argparse
import importlib.metadata
import pickle
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared import add_results, build_parser, read_results

from reliability.fuzz.kind import Verdict
from reliability.fuzz.kinds import KINDS
from reliability.fuzz.runner import run_kind
from reliability.fuzz.table import format_table

RESULTS = Path("test-artifacts/fuzz")
LIBRARIES = ("torch", "PyYAML", "soundfile", "ray")


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all kinds together [5]")
    parser.add_argument("--count", type=int, default=10**9, metavar="N", help="of each kind")
    parser.add_argument(
        "--kind", choices=KINDS, action="append", metavar="NAME", help="repeatable [all]"
    )
    parser.add_argument(
        "--findings",
        type=Path,
        default=RESULTS / "findings",
        metavar="DIR",
        help="[%(default)s]",
    )
    options = parser.parse_args(words)
    if options.table:
        print(format_table(read_results(options.out)))
        return 0
    names = options.kind or list(KINDS)
    results = []
    with add_results(options.out, f"seed-{options.seed}") as add:
        for name in names:
            result = try_kind(name, options, 60 * options.minutes / len(names))
            add(result)
            results.append(result)
    print(format_table(results))
    found = {"traceback", "hang", "silent default"}
    return int(any(found & result["ends"].keys() for result in results))


def try_kind(name: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Try a kind of input for some seconds; keep the first finding of each message."""
    options.findings.mkdir(parents=True, exist_ok=True)
    seen: Counter[str] = Counter()

    def keep(damaged: object, verdict: Verdict) -> None:
        seen[verdict.what] += 1
        if seen[verdict.what] == 1:
            print(f"{name}: {verdict.outcome}: {verdict.what}", file=sys.stderr, flush=True)
            file = options.findings / f"{name.replace(' ', '-')}-{len(seen)}.pickle"
            file.write_bytes(pickle.dumps((verdict, damaged)))

    began = time.monotonic()
    ends = run_kind(
        KINDS[name],
        options.seed,
        count=options.count,
        deadline=began + seconds,
        on_finding=keep,
    )
    print(f"{name}: {dict(ends)}", file=sys.stderr, flush=True)
    return {
        "kind": name,
        "seed": options.seed,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began, 1),
        "ends": dict(ends),
        "versions": {library: importlib.metadata.version(library) for library in LIBRARIES},
    }
