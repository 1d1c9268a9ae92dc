"""Tuning overhead: the same trials, run by a plain loop, by this project and by its peers."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from shared import read_lines

from bench.speed.case import PLAIN, SLOTS, Case, ours, run_program
from bench.speed.environment import peer
from raytune_yesno.study.store import read_events
from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

TITLE = "Tuning overhead: seconds from the first trial's end to the last one's"
EPOCHS = {"1s": 4, "5s": 20, "20s": 80}
"""Epochs of a trial, by its approximate duration on one thread."""
TRIALS = {"1s": 100, "5s": 40, "20s": 12}
"""Trials of each duration: a run takes one to two minutes, so that there is time for repeats."""
FEW = 8
"""Trials of programs that take half a minute to start one."""
PEERS = {
    "with_optuna": "Optuna, processes and journal",
    "with_syne_tune": "Syne Tune, local backend",
    "ray_function": "Ray Tune, a function",
    "ray_trainer": "Ray Tune, a TorchTrainer a trial",
}
_SLOW = {"ray_trainer": FEW}


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return one case per size and program, the limit first."""
    cases = []
    for size, epochs in EPOCHS.items():
        trials = FEW if quick else TRIALS[size]
        limit = partial(run_peer, "plain_loop", epochs, trials)
        cases.append(Case(f"{size}: plain loop (limit)", limit, size))
        cases.append(Case(f"{size}: raytune-yesno", partial(run_ours, epochs, trials), size))
        for name in PEERS:
            run = partial(run_peer, name, epochs, _SLOW.get(name, trials))
            cases.append(Case(f"{size}: {PEERS[name]}", run, size))
    return cases


def list_rates(count: int) -> list[float]:
    """Return the learning rate of each trial; all else is the same."""
    return [float(rate) for rate in np.geomspace(5e-4, 5e-3, count)]


def run_ours(epochs: int, trials: int, folder: Path) -> dict[str, float]:
    """Run a study of this project, and return its figures."""
    data = write_corpus(synthesize(), folder / "corpus")
    settings = folder / "settings.yaml"
    points = [{"learning_rate": rate} for rate in list_rates(trials)]
    settings.write_text(yaml.safe_dump({"config": PLAIN, "search_options": {"points": points}}))
    return run_study(
        folder,
        *("--data", str(data), "--config", str(settings), "--search", "manual"),
        *("--scheduler", "fifo", "--trials", str(trials), "--epochs", str(epochs)),
    )


def run_study(folder: Path, *words: str) -> dict[str, float]:
    """Run ``tune`` with these words, and return the figures of its trials."""
    out = folder / "study"
    run_program(ours("tune", *words, "--num-cpus", str(SLOTS), "--out", str(out)), folder)
    events, _ = read_events(out)
    trained = [event["seconds"] for event in events if event["event"] == "epoch"]
    ended = [event["time"] for event in events if event["event"] == "ended"]
    return pace(ended, sum(trained) / len(ended))


def run_peer(name: str, epochs: int, trials: int, folder: Path) -> dict[str, float]:
    """Run a peer's program, and return its figures."""
    _, lines = run_trials(name, folder, epochs=epochs, rates=list_rates(trials))
    trained = sum(line["trained"] for line in lines) / trials
    return pace([line["ended"] for line in lines], trained)


def run_trials(name: str, folder: Path, **task: Any) -> tuple[float, list[dict[str, float]]]:
    """Run a task by a peer; return when that began, and each trial, in order of their ends."""
    data = write_corpus(synthesize(), folder / "corpus")
    whole = {"data": str(data), "slots": SLOTS, "out": str(folder), **task}
    (folder / "task.json").write_text(json.dumps(whole))
    words = [*peer(name), str(folder / "task.json")]
    entered = time.time()
    run_program(words, folder)
    count = len(task["rates"])
    lines = read_lines(folder / "ends.jsonl")[:count]  # Syne Tune begins some that are too many
    if len(lines) < count:
        raise RuntimeError(f"{name}: {len(lines)} of {count} trials ended")
    return entered, lines


def pace(ended: list[float], trained: float) -> dict[str, float]:
    """Return seconds from the first end to the last, for as many trials as lie between."""
    span = max(ended) - min(ended)
    return {"s a trial and slot": SLOTS * span / (len(ended) - 1), "s of training a trial": trained}
