"""Kill a study at random moments while it is begun, steered, retried, changed and extended.

    python scripts/reliability living --kills 40 --seed 1
    python scripts/reliability living --table              # of the results so far

Each step is a command that is killed (SIGKILL) after a random number of events, and run again as a
user would: the same command, or `tune --resume` once trials have been added. After each kill
the record must continue what was there before. At the end every trial, request and epoch must be
recorded as often as it was requested, with the value that it has in an undisturbed study.
"""

import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shared import add_results, align_table, build_parser, read_results

from reliability.chaos.cluster import Cluster
from reliability.living.session import STEPS, Session

RESULTS = Path("test-artifacts/living")
_KILLS = 2 * len(STEPS)
"""Of one study, at most."""


def main(words: Sequence[str], prog: str) -> int:
    """Run the campaign, or print its table; return the exit code."""
    parser = build_parser(prog, __doc__, RESULTS)
    parser.add_argument("--kills", type=int, default=40, metavar="N", help="in all [40]")
    options = parser.parse_args(words)
    if not options.table:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the cluster
        name = f"{options.kills}-kills-seed-{options.seed}"
        with add_results(options.out, name) as add, Cluster(1, 2) as cluster:
            for number, done in enumerate(range(0, options.kills, _KILLS)):
                with tempfile.TemporaryDirectory(prefix="living-") as folder:
                    seed = f"{options.seed} {number}"
                    session = Session(seed, cluster, Path(folder), 1 + number % 2)
                    add(session.run(min(_KILLS, options.kills - done)))
    results = read_results(options.out)
    print(format_table(results))
    problems = [problem for result in results for problem in result["problems"]]
    print(*(problems or ["nothing lost, nothing twice"]), sep="\n")
    return int(bool(problems))


def format_table(results: Iterable[dict[str, Any]]) -> str:
    """Return a Markdown table: one row per step, a sum, and the epochs that were repeated."""
    results = list(results)
    counts = [sum(result["kills"].get(step, 0) for result in results) for step in STEPS]
    rows = [[step, str(count)] for step, count in zip(STEPS, counts, strict=True)]
    repeated = sum(result["repeated"] for result in results)
    heads = ("step", "kills")
    table = align_table(heads, [*rows, ["all", str(sum(counts))]])
    return f"{table}\n\n{len(results)} studies; epochs trained again after a kill: {repeated}"
