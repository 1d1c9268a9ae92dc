"""Kill a study at random moments while it is begun, steered, retried, changed and extended.

    python scripts/reliability living --kills 40 --seed 1
    python scripts/reliability living --pairs 10 --seed 1  # two commands on one study
    python scripts/reliability living --table              # of the results so far

Each step is a command that is killed (SIGKILL) after a random number of events, and run again as a
user would: the same command, or `tune --resume` once trials have been added. After each kill
the record must continue what was there before. At the end every trial, request and epoch must be
recorded as often as it was requested, with the value that it has in an undisturbed study.
"""

import contextlib
import math
import random
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shared import add_results, build_parser, read_results

from reliability.chaos.cluster import Cluster
from reliability.living.pairs import Pairs
from reliability.living.session import STEPS, Session, TimeUp

Add = Callable[[dict[str, Any]], None]
RESULTS = Path(__file__).parent / "results"


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS)
    parser.add_argument("--kills", type=int, default=40, metavar="N", help="in all [40]")
    parser.add_argument(
        "--pairs", type=int, default=0, metavar="N", help="instead: two commands on one study [0]"
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, metavar="S", help="the same command continues"
    )
    options = parser.parse_args(words)
    if not options.table:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
        deadline = time.monotonic() + options.seconds
        name = f"{options.pairs or options.kills}-{'pairs' if options.pairs else 'kills'}"
        with (
            add_results(options.out, f"{name}-seed-{options.seed}") as add,
            Cluster(1, 2) as cluster,
            contextlib.suppress(TimeUp),
        ):
            if options.pairs:
                add_pairs(options, cluster, add, deadline)
            else:
                add_kills(options, cluster, add, deadline)
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


def add_kills(options: Namespace, cluster: Cluster, add: Add, deadline: float) -> None:
    """Run sessions until the folder of results has enough kills.

    Raises:
        TimeUp: the deadline has passed; the next call continues the session.
    """
    while (left := options.kills - count_kills(options.out)) > 0:
        number = len(read_results(options.out))
        folder = options.out.absolute() / "unfinished"
        session = Session(f"{options.seed} {number}", cluster, folder, 1 + number % 2)
        add(session.run(min(left, 2 * len(STEPS)), deadline))


def count_kills(folder: Path) -> int:
    return sum(sum(result.get("kills", {}).values()) for result in read_results(folder))


def add_pairs(options: Namespace, cluster: Cluster, add: Add, deadline: float) -> None:
    """Try pairs of commands until the folder of results has enough.

    Raises:
        TimeUp: the deadline has passed.
    """
    number = sum("codes" in result for result in read_results(options.out))
    with Pairs(random.Random(f"{options.seed} {number}"), cluster) as pairs:
        for each in range(number, options.pairs):
            if time.monotonic() > deadline:
                raise TimeUp
            add(pairs.run(each))
