"""Kill a study at random moments while it is begun, steered, retried, changed and extended.

    python scripts/reliability living --kills 40 --seed 1
    python scripts/reliability living --table              # of the results so far

Each step is a command that is killed (SIGKILL) after a random number of events, and run again as a
user would: the same command, or `tune --resume` once trials have been added. After each kill
the record must continue what was there before. At the end every trial, request and epoch must be
recorded as often as it was requested, with the value that it has in an undisturbed study.
"""

import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from shared import add_results, build_parser, read_results

from reliability.chaos.cluster import Cluster
from reliability.living.session import STEPS, Session

RESULTS = Path(__file__).parent / "results"


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS)
    parser.add_argument("--kills", type=int, default=40, metavar="N", help="in all [40]")
    options = parser.parse_args(words)
    if not options.table:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
        draw = random.Random(options.seed)
        name = f"{options.kills}-kills-seed-{options.seed}"
        with add_results(options.out, name) as add, Cluster(1, 2) as cluster:
            left = options.kills
            while left > 0:
                with Session(draw, cluster) as session:
                    result = session.run(min(left, 2 * len(STEPS)))
                left -= max(1, sum(result["kills"].values()))
                add(result)
    results = read_results(options.out)
    print("| step | kills |")
    print("|---|---|")
    for step in STEPS:
        print(f"| {step} | {sum(result['kills'].get(step, 0) for result in results)} |")
    kills = sum(sum(result["kills"].values()) for result in results)
    repeated = sum(result["repeated"] for result in results)
    problems = [problem for result in results for problem in result["problems"]]
    print(f"| all | {kills} |")
    print(f"\n{len(results)} studies; epochs trained again after a kill: {repeated}")
    print(*(problems or ["nothing lost, nothing twice"]), sep="\n")
    return int(bool(problems))
