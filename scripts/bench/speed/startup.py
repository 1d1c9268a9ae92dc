"""Start-up: the time from the command to the first epoch, by step."""

import time
from functools import partial
from pathlib import Path

from bench.speed.case import SLOTS, Case, ours, run_program
from bench.speed.cluster import TOKEN, running_cluster
from raytune_yesno.study.store import read_events

TITLE = "Start-up: seconds from Enter"
_TUNE = ("tune", "--data", "synthetic:10", "--trials", "1", "--epochs", "1", "--scheduler", "fifo")


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return one case per way to start."""
    return [
        Case("--help", partial(run_help, ())),
        Case("tune --help", partial(run_help, ("tune",))),
        Case("tune, cold", run_cold),
        Case("tune, on a cluster that runs", run_warm),
    ]


def run_help(words: tuple[str, ...], folder: Path) -> dict[str, float]:
    """Ask for help."""
    entered = time.time()
    run_program(ours(*words, "--help"), folder)
    return {"to the first epoch's end, or the end": time.time() - entered}


def run_cold(folder: Path) -> dict[str, float]:
    """Run a study that starts Ray itself."""
    return _run_study(folder, "--num-cpus", str(SLOTS))


def run_warm(folder: Path) -> dict[str, float]:
    """Run a study on a cluster that has run one before."""
    with running_cluster() as address:
        _run_study(folder / "before", "--address", address)
        return _run_study(folder, "--address", address)


def _run_study(folder: Path, *where: str) -> dict[str, float]:
    out = folder / "study"
    folder.mkdir(exist_ok=True)
    entered = time.time()
    run_program(ours(*_TUNE, *where, "--out", str(out)), folder, **TOKEN)
    events = read_events(out)[0]
    moments = {event["event"]: event["time"] for event in reversed(events)}
    (epoch,) = [event for event in events if event["event"] == "epoch"]
    return {
        "to the first epoch's end, or the end": epoch["ended"] - entered,
        "imports, Ray and corpus": moments["study"] - entered,
        "Ray Tune": moments["started"] - moments["study"],
        "a process for the trial": epoch["began"] - moments["started"],
        "the epoch": epoch["ended"] - epoch["began"],
    }
