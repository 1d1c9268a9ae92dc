"""A day squeezed: a study of thousands of short trials, a fault every few seconds, all watched.

    python scripts/reliability soak                                   # 3,000 trials
    python scripts/reliability soak --table                           # of the results so far

Memory, open files and processes of every role, and the disk, are measured as the trials go by; what
has a bound is the same in the second quarter of the trials and in the last. At the end every trial
must be recorded once, the first ones as in a study that was left alone, and nothing be left behind.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from shared import find_commit, read_results

from reliability.chaos.campaign import Campaign
from reliability.chaos.network import move_into_namespaces
from reliability.chaos.table import format_table
from reliability.soak.study import format_growth, soak

RESULTS = Path(__file__).parent / "results"


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=3000, metavar="N", help="[3000]")
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="faults, mean [5]")
    parser.add_argument("--minutes", type=float, default=60.0, help="no fault later [60]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments [0]")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="DIR", help="result files [%(default)s]"
    )
    parser.add_argument("--table", action="store_true", help="run nothing: print the tables")
    options = parser.parse_args(words)
    if not options.table:
        move_into_namespaces()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
        options.out.mkdir(parents=True, exist_ok=True)
        name = f"{time.strftime('%Y-%m-%d')}-{options.trials}-trials-seed-{options.seed}.jsonl"
        commit = find_commit()
        with Campaign(options.seed) as campaign, (options.out / name).open("w") as lines:
            deadline = time.monotonic() + 60 * options.minutes
            for line in soak(campaign, options.trials, options.every, deadline):
                lines.write(json.dumps({**line, "commit": commit}) + "\n")
                lines.flush()
    results = read_results(options.out)
    faults = [line for line in results if "fault" in line]
    print(format_table(faults))
    print()
    print(format_growth(results))
    ends = [line for line in results if "problems" in line and "fault" not in line]
    for end in ends:
        print(*end["problems"], sep="\n")
    return int(any(line["problems"] for line in [*faults, *ends]))
