"""Data-parallel training: this project beside torch's own launcher and two libraries."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from shared import read_lines

from bench.speed.case import PLAIN, Case, run_program
from bench.speed.environment import find_python, peer
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.split import split_corpus
from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

TITLE = "Data-parallel training: milliseconds a recording, one thread a worker"
RECORDINGS, EPOCHS = 2400, 4
_CONFIG = {**PLAIN, "batch_size": 8, "dropout": 0.0, "epochs": EPOCHS}
_PEERS = {
    "with_torchrun": "torchrun (limit)",
    "with_ray_train": "raytune-yesno",
    "with_lightning": "Lightning",
    "with_accelerate": "Accelerate",
}


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return one case per number of workers and program."""
    cases = []
    config = {**_CONFIG, "epochs": 3 if quick else EPOCHS}
    for workers in (1, 2):
        group = f"{workers} workers"
        for name, title in _PEERS.items():
            run = partial(run_peer, name, workers, config)
            cases.append(Case(f"{group}: {title}", run, group))
    return cases


def run_peer(name: str, workers: int, config: dict[str, Any], folder: Path) -> dict[str, float]:
    """Train with a peer."""
    data = write_corpus(synthesize(RECORDINGS), folder / "corpus")
    task = {"data": str(data), "out": str(folder), "config": {**config, "num_workers": workers}}
    (folder / "task.json").write_text(json.dumps(task))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)]
    if name == "with_ray_train":
        launch = []
    run_program([find_python(), *launch, *peer(name)[1:], str(folder / "task.json")], folder)
    return _figures(folder / "epochs.jsonl", {**config, "num_workers": workers})


def _figures(file: Path, config: dict[str, Any]) -> dict[str, float]:
    """Return the time of a recording from the first epoch's end to the last one's, and the loss."""
    epochs = read_lines(file)
    if len(epochs) != config["epochs"]:
        raise RuntimeError(f"{file}: {len(epochs)} epochs, not {config['epochs']}")
    if any(epoch["world_size"] != config["num_workers"] for epoch in epochs):
        raise RuntimeError(
            f"{file}: not every epoch was trained by {config['num_workers']} workers"
        )
    corpus = synthesize(RECORDINGS)
    count = len(split_corpus(corpus, seed=build_config(config).seed).train) * (len(epochs) - 1)
    span = epochs[-1]["ended"] - epochs[0]["ended"]
    return {"ms a recording": 1000 * span / count, "last training loss": epochs[-1]["train_loss"]}
