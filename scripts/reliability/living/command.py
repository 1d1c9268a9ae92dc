"""Kill a study at random moments while it is begun, steered, retried, changed and extended.

    python scripts/reliability living --kills 40 --seed 1
    python scripts/reliability living --pairs 10 --seed 1  # two commands on one study
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
from reliability.living.pairs import Pairs
from reliability.living.session import STEPS, Session

RESULTS = Path(__file__).parent / "results"


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS)
    parser.add_argument("--kills", type=int, default=40, metavar="N", help="in all [40]")
    parser.add_argument(
        "--pairs", type=int, default=0, metavar="N", help="instead: two commands on one study [0]"
    )
    options = parser.parse_args(words)
    if not options.table:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
        draw = random.Random(options.seed)
        name = f"{options.pairs or options.kills}-{'pairs' if options.pairs else 'kills'}"
        name += f"-seed-{options.seed}"
        with add_results(options.out, name) as add, Cluster(1, 2) as cluster:
            if options.pairs:
                with Pairs(draw, cluster) as pairs:
                    for number in range(options.pairs):
                        add(pairs.run(number))
            left = 0 if options.pairs else options.kills
            while left > 0:
                with Session(draw, cluster) as session:
                    result = session.run(min(left, 2 * len(STEPS)))
                left -= max(1, sum(result["kills"].values()))
                add(result)
    results = read_results(options.out)
    problems = [problem for result in results for problem in result["problems"]]
    num_pairs = sum("codes" in result for result in results)
    results = [result for result in results if "kills" in result]
    print("| step | kills |")
    print("|---|---|")
    for step in STEPS:
        print(f"| {step} | {sum(result['kills'].get(step, 0) for result in results)} |")
    kills = sum(sum(result["kills"].values()) for result in results)
    repeated = sum(result["repeated"] for result in results)
    print(f"| all | {kills} |")
    print(f"\n{len(results)} studies; epochs trained again after a kill: {repeated}")
    print(f"{num_pairs} pairs of commands on one study")
    print(*(problems or ["nothing lost, nothing twice"]), sep="\n")
    return int(bool(problems))
