"""Inject faults into real studies and runs on a cluster of this machine; check what is lost.

    python scripts/reliability chaos --minutes 30 --seed 1            # all faults in turn
    python scripts/reliability chaos --fault "driver killed" --minutes 5
    python scripts/reliability chaos --table                          # of all results so far

In a round a study is hit by a fault at random moments, and continues or is resumed. It is then
compared with an undisturbed study of the same seed: every trial must be recorded once, all metrics
and the refit's weights must be equal bit for bit, earlier records unchanged, and no process left.
Moments are counted in recorded events. Some faults hit a run of `train` instead: with two workers
it must end bit-equal, an elastic one with the metrics of one worker up to rounding. Each injection
adds a line to --out.
"""

import itertools
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shared import add_results, build_parser, read_results

from reliability.chaos.campaign import Campaign
from reliability.chaos.kinds import FAULTS
from reliability.chaos.network import move_into_namespaces
from reliability.chaos.table import format_table

RESULTS = Path("test-artifacts/chaos")


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS)
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no round later [10]")
    parser.add_argument(
        "--fault", choices=FAULTS, action="append", metavar="NAME", help="repeatable [all]"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="of each fault [no limit]")
    options = parser.parse_args(words)
    if options.table:
        print(format_table(read_results(options.out)))
        return 0
    move_into_namespaces()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
    deadline = time.monotonic() + 60 * options.minutes
    results = []
    name = f"seed-{options.seed}"
    with Campaign(options.seed) as campaign, add_results(options.out, name) as add:
        for result in run_rounds(campaign, options.fault or FAULTS, options.rounds, deadline):
            add(result)
            results.append(result)
    print(format_table(results))
    return int(any(result["problems"] or not result["recovered"] for result in results))


def run_rounds(
    campaign: Campaign, faults: Iterable[str], rounds: int | None, deadline: float
) -> Iterator[dict[str, Any]]:
    """Inject the faults in turn and yield a result per injection; begin none after ``deadline``."""
    for number in range(rounds) if rounds else itertools.count():
        for fault in faults:
            if time.monotonic() > deadline:
                return
            if reason := campaign.why_not(fault):
                print(f"{fault}: left out, {reason}", file=sys.stderr)
                continue
            for result in campaign.run(fault, number):
                problems = "; ".join(result["problems"])
                said = f"{result['seconds']:.1f} s" if result["recovered"] else "not recovered"
                print(f"{fault}: {said}  {problems}", file=sys.stderr, flush=True)
                yield result
