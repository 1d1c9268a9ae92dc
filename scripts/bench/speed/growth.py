"""Growth: the cost of more recordings, more trials and more nodes."""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.speed.case import ROOT, SLOTS, Case, peak_mb, run_apart, run_program
from bench.speed.cluster import TOKEN, running_cluster

TITLE = "Growth: of the corpus, of a study, of the cluster"
RECORDINGS = (60, 600, 6000)
TRIALS = (100, 1000, 10_000)
NODES = (1, 2, 4, 8, 16)
_SHORT_S, _LONG_S = 0.05, 1.0
_ROUNDS = 40
"""Trials, one after another, that each slot of a cluster runs."""


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return a case a size."""
    few = 2 if quick else None
    return [
        *(Case(f"{n:,} recordings", partial(_grow_corpus, n)) for n in RECORDINGS[:few]),
        *(Case(f"{n:,} trials of {_SHORT_S} s", partial(_grow_study, n)) for n in TRIALS[:few]),
        *(
            Case(f"{n} nodes, trials of {_LONG_S} s", partial(_grow_cluster, n))
            for n in NODES[:few]
        ),
    ]


def _grow_corpus(recordings: int, folder: Path) -> dict[str, float]:
    run_apart(_write_corpus, recordings, folder)
    return run_apart(measure_corpus, folder / "corpus")


def _write_corpus(recordings: int, folder: Path) -> dict[str, float]:
    from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

    write_corpus(synthesize(recordings), folder / "corpus")
    return {}


def measure_corpus(folder: Path) -> dict[str, float]:
    """Read a corpus and train an epoch on it, on one thread."""
    import torch

    from raytune_yesno.config import build_config
    from raytune_yesno.tasks.speech.load import load_corpus
    from raytune_yesno.tasks.speech.settings import as_speech
    from raytune_yesno.tasks.speech.task import YesNo
    from raytune_yesno.training.loop import fit

    torch.set_num_threads(1)
    config = build_config({"batch_size": 8, "epochs": 1})
    moments, memory = [time.perf_counter()], [peak_mb()]
    corpus = load_corpus(str(folder))
    moments.append(time.perf_counter())
    memory.append(peak_mb())
    YesNo(as_speech(config), corpus, torch.device("cpu"))  # what it makes of the corpus is kept
    moments.append(time.perf_counter())
    memory.append(peak_mb())
    (record,) = fit(config, corpus)
    read, features = moments[1] - moments[0], moments[2] - moments[1]
    return {
        "ms a recording: read": 1000 * read / len(corpus),
        "features": 1000 * features / len(corpus),
        "an epoch": 1000 * record.metrics["seconds"] / len(corpus),
        "MB: samples": corpus.samples[:].nbytes / 1e6,
        "read, more": memory[1] - memory[0],
        "features, more": memory[2] - memory[1],
        "an epoch, more": peak_mb() - memory[2],
    }


def _grow_study(trials: int, folder: Path) -> dict[str, float]:
    return _run_study(folder, trials=trials, seconds=_SHORT_S, num_cpus=SLOTS)


def _grow_cluster(nodes: int, folder: Path) -> dict[str, float]:
    with running_cluster(nodes) as address:
        trials = nodes * SLOTS * _ROUNDS
        return _run_study(folder, trials=trials, seconds=_LONG_S, address=address)


def _run_study(folder: Path, **task: Any) -> dict[str, float]:
    task["out"] = str(folder / "study")
    (folder / "task.json").write_text(json.dumps(task))
    path = os.pathsep.join(filter(None, (str(ROOT / "scripts"), os.environ.get("PYTHONPATH"))))
    program = [sys.executable, "-m", "bench.speed.sleeping", str(folder / "task.json")]
    run_program(program, folder, **TOKEN, PYTHONPATH=path)
    figures: dict[str, float] = json.loads((folder / "study" / "figures.json").read_text())
    return figures
