"""Distributed trials: the overhead of two workers per trial."""

import itertools
import json
import statistics
import time
from functools import partial
from pathlib import Path

from bench.speed.case import PLAIN, SLOTS, Case, ours, run_program
from bench.speed.overhead import list_rates, run_trials
from raytune_yesno.study.store import read_events

TITLE = "Trials of two workers: seconds beside training"
TRIALS, FEW, EPOCHS = 12, 3, 4
_VARIANTS = {
    "raytune-yesno": ("--scheduler", "fifo"),
    "raytune-yesno, asha": ("--scheduler", "asha"),
    "raytune-yesno, a checkpoint an epoch": ("--scheduler", "fifo", "--checkpoint-every", "0"),
}


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return one case per way to run them."""
    cases = [
        Case(name, partial(run_ours, words, FEW if quick else TRIALS))
        for name, words in _VARIANTS.items()
    ]
    return [*cases, Case("Ray Tune, a TorchTrainer a trial", run_trainer)]


def run_ours(words: tuple[str, ...], trials: int, folder: Path) -> dict[str, float]:
    """Run a study, and return the time between trials."""
    out = folder / "study"
    entered = time.time()
    run_program(
        ours(
            *("tune", "--data", "synthetic", "--search", "random", "--trials", str(trials)),
            *("--epochs", str(EPOCHS), "--workers-per-trial", str(SLOTS), *words),
            *(f"--set={key}={json.dumps(value)}" for key, value in PLAIN.items()),
            *("--num-cpus", str(SLOTS), "--out", str(out)),
        ),
        folder,
    )
    events = read_events(out)[0]
    epochs = [event for event in events if event["event"] == "epoch"]
    spans = [
        (
            min(e["began"] for e in epochs if e["trial"] == number),
            max(e["ended"] for e in epochs if e["trial"] == number),
            sum(e["seconds"] for e in epochs if e["trial"] == number),
        )
        for number in range(trials)
    ]
    beside = [
        ended - before - trained
        for (_, before, _), (_, ended, trained) in itertools.pairwise(spans)
    ]
    began = epochs[0]["ended"] - epochs[0]["seconds"]
    return {
        "a trial": statistics.median(beside),
        "the most": max(beside),
        "the first, from Enter": began - entered,
        "once Ray runs": began - events[0]["time"],
    }


def run_trainer(folder: Path) -> dict[str, float]:
    """Run Ray's own way."""
    rates = list_rates(FEW)
    entered, lines = run_trials("ray_trainer", folder, epochs=EPOCHS, rates=rates, workers=SLOTS)
    ends = [entered, *(line["ended"] for line in lines)]
    trained = statistics.median(line["trained"] for line in lines)
    spans = [after - before - trained for before, after in itertools.pairwise(ends)]
    return {
        "a trial": statistics.median(spans[1:]),
        "the most": max(spans[1:]),
        "the first, from Enter": spans[0],
    }
