"""Throw damaged input at every reader, and count what is not refused in one line.

    python scripts/reliability fuzz --minutes 30 --seed 1     # all kinds, in equal shares of time
    python scripts/reliability fuzz --kind "WAV files" --count 5000
    python scripts/reliability fuzz --table                   # of all results so far

Good inputs are damaged in one place or a few, those further that reach new lines of the reader. A
try is refused (an InputError of one line; exit code 2), accepted, or a finding: any other
exception, a longer message, more than 20 s or 1 GiB, a death of the process, or a value that was
taken otherwise than it was given. The same seed throws the same inputs. Findings are kept in
--findings; a line a kind is added to --out. Exit code 1 if there was a finding.
"""

import argparse
import importlib.metadata
import json
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from shared import find_commit, read_results

from reliability.fuzz.kind import Verdict
from reliability.fuzz.kinds import KINDS
from reliability.fuzz.runner import run_kind
from reliability.fuzz.table import format_table

RESULTS = Path(__file__).parent / "results"


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="for all kinds together [5]")
    parser.add_argument("--count", type=int, default=10**9, metavar="N", help="of each kind")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the damage [0]")
    parser.add_argument(
        "--kind", choices=KINDS, action="append", metavar="NAME", help="repeatable [all]"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="DIR", help="result files [%(default)s]"
    )
    parser.add_argument(
        "--findings",
        type=Path,
        default=Path("test-artifacts/fuzz"),
        metavar="DIR",
        help="[%(default)s]",
    )
    parser.add_argument("--table", action="store_true", help="try nothing: print the table")
    options = parser.parse_args(words)
    if options.table:
        print(format_table(read_results(options.out)))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    options.findings.mkdir(parents=True, exist_ok=True)
    libraries = ("torch", "PyYAML", "soundfile", "ray")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    results = []
    commit = find_commit()
    names = options.kind or list(KINDS)
    for name in names:
        began = time.monotonic()
        seen: dict[str, int] = {}

        def keep(
            damaged: object, verdict: Verdict, name: str = name, seen: dict[str, int] = seen
        ) -> None:
            seen[verdict.what] = seen.get(verdict.what, 0) + 1
            if seen[verdict.what] == 1:
                print(f"{name}: {verdict.outcome}: {verdict.what}", file=sys.stderr, flush=True)
                file = options.findings / f"{name.replace(' ', '-')}-{len(seen)}.pickle"
                file.write_bytes(pickle.dumps((verdict, damaged)))

        ends = run_kind(
            KINDS[name],
            options.seed,
            count=options.count,
            deadline=began + 60 * options.minutes / len(names),
            on_finding=keep,
        )
        result = {
            "kind": name,
            "seed": options.seed,
            "date": time.strftime("%Y-%m-%d"),
            "seconds": round(time.monotonic() - began, 1),
            "ends": dict(ends),
            "versions": versions,
            "commit": commit,
        }
        file = options.out / f"{time.strftime('%Y-%m-%d')}-seed-{options.seed}.jsonl"
        with file.open("a") as lines:
            lines.write(json.dumps(result) + "\n")
        results.append(result)
        print(f"{name}: {dict(ends)}", file=sys.stderr, flush=True)
    print(format_table(results))
    found = {"traceback", "hang", "silent default"}
    return int(any(found & result["ends"].keys() for result in results))
