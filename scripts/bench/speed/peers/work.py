"""The work of all peers: train a trial of the same config, and write a line at its end."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.speed.case import PLAIN
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.training.loop import fit


def read_task() -> dict[str, Any]:
    """Return what the first argument names: ``data``, ``epochs``, ``rates``, ``slots``, ``out``."""
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return task


def load(task: dict[str, Any]) -> Corpus:
    """Return the recordings."""
    torch.set_num_threads(1)
    return load_corpus(task["data"])


def train(task: dict[str, Any], rate: float, corpus: Corpus) -> Iterator[dict[str, Any]]:
    """Yield each epoch's metrics; note when the trial began and ended."""
    torch.set_num_threads(1)
    began, trained = time.time(), 0.0
    settings = {"epochs": task["epochs"], "learning_rate": rate, "num_workers": 0}
    config = build_config({**PLAIN, **settings})
    for record in fit(config, corpus):
        trained += record.metrics["seconds"]
        yield record.metrics
    note(task, began, trained)


def note(task: dict[str, Any], began: float, trained: float) -> None:
    """Note the end of a trial, and the seconds that its epochs took."""
    line = json.dumps({"began": began, "ended": time.time(), "trained": trained}) + "\n"
    descriptor = os.open(Path(task["out"]) / "ends.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)
