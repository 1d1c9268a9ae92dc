"""Run a study of thousands of short trials under faults, and measure whether anything grows.

    python scripts/reliability soak                                   # 3,000 trials
    python scripts/reliability soak --table                           # of the results so far

A fault is injected every few seconds. Memory, open files and processes of every role, and the disk,
are measured during the study: none may grow between the second quarter of the trials and the last.
At the end every trial must be recorded once, the first ones with the values of an undisturbed
study, and no process or file may be left.
"""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from shared import add_results, build_parser, read_results

from reliability.chaos.campaign import Campaign
from reliability.chaos.network import move_into_namespaces
from reliability.chaos.table import format_table
from reliability.soak.study import format_growth, soak

RESULTS = Path("test-artifacts/soak")


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS)
    parser.add_argument("--trials", type=int, default=3000, metavar="N", help="[3000]")
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="faults, mean [5]")
    parser.add_argument("--minutes", type=float, default=60.0, help="no fault later [60]")
    options = parser.parse_args(words)
    if not options.table:
        move_into_namespaces()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
        name = f"{options.trials}-trials-seed-{options.seed}"
        with Campaign(options.seed) as campaign, add_results(options.out, name) as add:
            deadline = time.monotonic() + 60 * options.minutes
            for line in soak(campaign, options.trials, options.every, deadline):
                add(line)
    results = read_results(options.out)
    faults = [line for line in results if "fault" in line]
    print(format_table(faults))
    print()
    print(format_growth(results))
    ends = [line for line in results if "problems" in line and "fault" not in line]
    for end in ends:
        print(*end["problems"], sep="\n")
    return int(any(line["problems"] for line in [*faults, *ends]))
