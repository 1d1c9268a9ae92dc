"""Functions as objectives: the overhead of a trial, beside two plain processes."""

import multiprocessing
import time
from functools import partial
from pathlib import Path

from bench.speed import objectives
from bench.speed.case import SLOTS, Case, run_apart
from bench.speed.overhead import FEW, pace, run_study

TITLE = "Functions as objectives: seconds from the first trial's end to the last one's"
TRIALS = 60
SPACE = "x: {float: [-1, 1]}\n"


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return one case per function and program, the limit first."""
    trials = FEW if quick else TRIALS
    cases = []
    for name in ("asleep", "computing"):
        limit = partial(run_apart, run_loop, name, trials)
        cases.append(Case(f"{name}: plain loop (limit)", limit, name))
        cases.append(Case(f"{name}: raytune-yesno", partial(run_ours, name, trials), name))
    return cases


def run_ours(name: str, trials: int, folder: Path) -> dict[str, float]:
    """Run a study of the function, and return its figures."""
    (folder / "space.yaml").write_text(SPACE)
    return run_study(
        folder,
        *("--task", f"{objectives.__file__}:{name}", "--space", "space.yaml"),
        *("--metric", "loss", "--search", "random", "--trials", str(trials)),
    )


def run_loop(name: str, trials: int, _folder: Path) -> dict[str, float]:
    """Call the function in two processes, which are started once, and return the figures."""
    with multiprocessing.get_context("fork").Pool(SLOTS) as pool:
        calls = pool.map(partial(_call, name), range(trials), chunksize=1)
    return pace([ended for _, ended in calls], sum(took for took, _ in calls) / trials)


def _call(name: str, number: int) -> tuple[float, float]:
    began = time.time()
    getattr(objectives, name)({"x": number / 100})
    ended = time.time()
    return ended - began, ended
