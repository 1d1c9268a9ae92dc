"""Disturb real studies and runs on a cluster of this machine, and see whether anything is lost.

    python scripts/reliability chaos --minutes 30 --seed 1            # all faults in turn
    python scripts/reliability chaos --fault "driver killed" --minutes 5
    python scripts/reliability chaos --table                          # of all results so far

In a round a study runs, is hit by a fault at random moments, continues or is resumed, and is then
held against an undisturbed one of the same seed: every trial recorded once, all figures and the
refit's weights the same bits, earlier records unchanged, nothing left behind. Moments are counted
in events that the study records. Some faults hit a run of `train` instead: one of two workers ends
in the same bits, an elastic one in the figures of one worker to rounding. A line an injection is
added to --out.
"""

import argparse
import itertools
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from shared import find_commit, read_results

from reliability.chaos.campaign import Campaign
from reliability.chaos.kinds import FAULTS
from reliability.chaos.network import move_into_namespaces
from reliability.chaos.table import format_table

RESULTS = Path(__file__).parent / "results"


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no round later [10]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments [0]")
    parser.add_argument(
        "--fault", choices=FAULTS, action="append", metavar="NAME", help="repeatable [all]"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="of each fault [no limit]")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="DIR", help="result files [%(default)s]"
    )
    parser.add_argument("--table", action="store_true", help="disturb nothing: print the table")
    options = parser.parse_args(words)
    if options.table:
        print(format_table(read_results(options.out)))
        return 0
    move_into_namespaces()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"{time.strftime('%Y-%m-%d')}-seed-{options.seed}.jsonl"
    deadline = time.monotonic() + 60 * options.minutes
    results = []
    commit = find_commit()
    rounds = range(options.rounds) if options.rounds else itertools.count()
    with Campaign(options.seed) as campaign, file.open("a") as lines:
        for number in rounds:
            for fault in options.fault or FAULTS:
                if time.monotonic() > deadline:
                    break
                if reason := campaign.why_not(fault):
                    print(f"{fault}: left out, {reason}", file=sys.stderr)
                    continue
                for found in campaign.run(fault, number):
                    result = {**found, "commit": commit}
                    lines.write(json.dumps(result) + "\n")
                    lines.flush()
                    results.append(result)
                    problems = "; ".join(result["problems"])
                    said = f"{result['seconds']:.1f} s" if result["recovered"] else "not recovered"
                    print(f"{fault}: {said}  {problems}", file=sys.stderr, flush=True)
            if time.monotonic() > deadline:
                break
    print(format_table(results))
    return int(any(result["problems"] or not result["recovered"] for result in results))
