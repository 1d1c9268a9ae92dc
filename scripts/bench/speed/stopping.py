"""Early stopping on real training: the cost of reaching the best loss of whole trials.

The same configurations, from a random search, under every scheduler. With 30 seeds, on recorded
trainings: ``python scripts/bench search --part table``.
"""

from functools import partial
from pathlib import Path

from bench.speed.case import SLOTS, Case, ours, run_program
from raytune_yesno.study.store import read_events

TITLE = "Early stopping: until the best loss is that of whole trials (fifo), by what fifo takes"
SCHEDULERS = ("asha", "hyperband", "median", "pbt")
SEEDS = 3
_TRIALS, _EPOCHS = 32, 16


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return a case a seed."""
    trials = 4 if quick else _TRIALS
    return [Case(f"seed {n}", partial(_compare, n, trials)) for n in range(1 if quick else SEEDS)]


def _compare(seed: int, trials: int, folder: Path) -> dict[str, float]:
    whole = _run(seed, trials, "fifo", folder)
    goal = min(loss for _, loss in whole)
    epochs, seconds = _find(whole, goal)
    figures = {}
    for scheduler in SCHEDULERS:
        stopped = _run(seed, trials, scheduler, folder)
        figures[f"{scheduler}: loss"] = min(loss for _, loss in stopped) / goal
        figures[f"{scheduler}: epochs in all"] = len(stopped) / len(whole)
        if any(loss <= goal for _, loss in stopped):
            own_epochs, own_seconds = _find(stopped, goal)
            figures[f"{scheduler}: epochs"] = own_epochs / epochs
            figures[f"{scheduler}: s"] = own_seconds / seconds
    return figures


def _run(seed: int, trials: int, scheduler: str, folder: Path) -> list[tuple[float, float]]:
    """Return when each epoch of a study ended, in seconds from the first one's, and its loss."""
    out = folder / scheduler
    run_program(
        ours(
            *("tune", "--data", "synthetic", "--search", "random", "--seed", str(seed)),
            *("--trials", str(trials), "--epochs", str(_EPOCHS), "--scheduler", scheduler),
            *("--num-cpus", str(SLOTS), "--out", str(out)),
        ),
        folder,
    )
    ended = [e for e in read_events(out)[0] if e["event"] == "epoch" and not e["diverged"]]
    began = min(e["began"] for e in ended)
    return sorted((e["ended"] - began, e["valid_loss"]) for e in ended)


def _find(ended: list[tuple[float, float]], goal: float) -> tuple[int, float]:
    """Return the epochs of all trials and the seconds until one reached a loss."""
    for number, (seconds, loss) in enumerate(ended, start=1):
        if loss <= goal:
            return number, seconds
    raise ValueError(f"nothing reached {goal}")
