"""Compare the search algorithms where the truth is known and nothing is trained.

    python scripts/bench search --out studies/bench                # what needs no other package
    python scripts/bench search --out studies/bench --quick        # a few seeds: minutes
    python scripts/bench search --out studies/bench --part suites --seeds 1 --time-limit 3600
    python scripts/bench search --record studies/table             # train the table again

Five parts. `suites`: benchmarks that others made, tables of trained networks and COCO's functions,
with 1, 4 and 16 trials in flight. `table`: what early stopping saves on recorded trials of the
`yesno` CNN, and with SCAN_BENCH on models of others (curves.py); a suggestion stands for the
nearest of them (`pbt` changes a trial during training: that was not recorded). `branches`: a space
whose parameters depend on choices, and the same parameters in a flat space. `repeats`: what
`--repeats` and `--final-round` bring on tables of `suites` and on a recorded one of the recogniser
with several seeds. `fronts`: several objectives, ZDT1 to 3, DTLZ2, pairs of COCO's functions, error
and latency of the networks of NAS-Bench-201, error and size of small recognisers, which are trained
on the corpora in YESNO_ROOT and FSDD_ROOT.
`suites`, `repeats` and `fronts` run only if named; all but ZDT, DTLZ2, the recorded table and the
recognisers need scripts/bench/search/requirements.txt in an environment of their own.
Peers on the same runs: Optuna's TPE, CMA-ES, Gaussian process and NSGA-II, and SMAC3.

Writes results.md, results.json and pictures to --out, beside runs.jsonl, one line per run. A run
that is in runs.jsonl is not repeated, so an interrupted benchmark resumes. Needs the extras
`search` and `plot`: pip install '.[search,plot]'.
"""

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.search.branches import tell_branches
from bench.search.cost import tell_cost
from bench.search.fronts import tell_fronts
from bench.search.ranking import draw_suites, tell_suites
from bench.search.record import record_table
from bench.search.repeats import tell_repeats
from bench.search.runs import Kept, list_runs
from bench.search.seeds import record_seeds
from bench.search.stopping import tell_stopping
from bench.search.suites import check_installed

PARTS = {
    "suites": "Benchmarks of others",
    "table": "Early stopping on recorded trainings",
    "repeats": "Repeats and the final round",
    "branches": "Parameters of options",
    "fronts": "Several objectives",
}
SEEDS = {
    "suites": 20,
    "table": 30,
    "repeats": 200,
    "branches": 20,
    "fronts": 20,
}
IN_PACKAGE = tuple(part for part in PARTS if part not in ("suites", "repeats", "fronts"))
QUICK_SEEDS = 3


def main(words: Sequence[str], prog: str) -> int:
    """Run the benchmark and print its tables; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("studies/bench"),
        metavar="DIR",
        help="where to write [%(default)s]",
    )
    parser.add_argument(
        "--part",
        choices=PARTS,
        action="append",
        help=f"repeatable [{' and '.join(IN_PACKAGE)}]",
    )
    parser.add_argument("--seeds", type=int, help="[20; table: 30; repeats: 200]")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} seeds")
    parser.add_argument("--search", action="append", default=[], help="these alone; repeatable")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time [%(default)s]")
    parser.add_argument(
        "--time-limit", type=float, default=math.inf, metavar="S", help="begin no run after S s"
    )
    parser.add_argument("--report", action="store_true", help="run nothing: write what is there")
    parser.add_argument("--cost", action="store_true", help="print only what a suggestion costs")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="only train the recorded table again, in a study of its own in DIR",
    )
    parser.add_argument(
        "--record-seeds",
        type=Path,
        metavar="DATA",
        help="only train what the recorded table of several seeds lacks, on YESNO in a folder",
    )
    options = parser.parse_args(words)
    if options.cost:
        print("\n".join(tell_cost()))
        return 0
    if options.record:
        print(record_table(options.record))
        return 0
    if options.record_seeds:
        record_seeds(str(options.record_seeds))
        return 0

    kept = Kept(options.out / "runs.jsonl")
    for part in (options.part or ()) if not options.report else ():
        check_installed(part)
    end = time.monotonic() + options.time_limit
    for part in options.part or IN_PACKAGE if not options.report else ():
        seeds = options.seeds or (QUICK_SEEDS if options.quick else SEEDS[part])
        runs = list_runs(part, seeds, options.search)
        done = sum(run in kept.records for run in runs)
        for run in kept.make(runs, options.jobs, end - time.monotonic()):
            done += 1
            if done % 25 == 0 or done == len(runs):
                print(f"{part}: {done} of {len(runs)} runs, last {run.search}", flush=True)
    print(write_results(kept, options.out))
    return 0


def write_results(kept: Kept, out: Path) -> str:
    """Write results.md, results.json and the pictures, and return the Markdown."""
    records = kept.records
    tell: dict[str, Callable[[], Iterable[str]]] = {
        "suites": lambda: tell_suites(records),
        "table": lambda: tell_stopping(records),
        "repeats": lambda: tell_repeats(records),
        "branches": lambda: tell_branches(records),
        "fronts": lambda: tell_fronts(records),
    }
    parts = {run.part for run in records}
    lines = [
        "# Searches compared",
        "",
        "Written by `python scripts/bench search`. Medians over seeds; in parentheses the interval "
        "that holds the true median with at least 95 % confidence, from order statistics. *never*: "
        "not within the run.",
    ]
    for part, title in PARTS.items():
        if part in parts:
            lines += ["", f"## {title}", "", *tell[part]()]
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures = [
        {**dataclasses.asdict(run), "best": min(r["ended"]), "epochs": r["epochs"]}
        if "ended" in r
        else {**dataclasses.asdict(run), "best": r["score"]}
        if "score" in r
        else {**dataclasses.asdict(run), "cpu": r["cpu"]}
        if "costs" in r
        else {**dataclasses.asdict(run), "best": r["regrets"][-1], "cpu": r["cpu"]}
        for run, r in records.items()
    ]
    (out / "results.json").write_text(json.dumps(figures, indent=0), encoding="utf-8")
    if "suites" in parts:
        draw_suites(records, out / "suites.png")
    return "\n".join(lines)
