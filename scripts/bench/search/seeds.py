"""The table of real results with several seeds: random configurations of the recogniser.

Its default search space, but 4 epochs of 48 examples, so that a training takes 5 s of a core. A
seed also draws another validation part. The test part is not read.
"""

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from raytune_yesno.config import build_config
from raytune_yesno.search import build_algorithm
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.settings import as_speech, default_space
from raytune_yesno.training.loop import fit

SEEDS_TABLE = Path(__file__).with_name("seeds.csv")
CONFIGURATIONS, SEEDS = 48, 6
_CONFIG = {"task": "yesno", "epochs": 4, "max_examples": 48, "num_workers": 0}
_COLUMNS = ("configuration", "seed", "valid_wer", "valid_loss")


def record_seeds(data: str, path: Path = SEEDS_TABLE) -> None:
    """Train every configuration with every seed, and append to a table what it lacks.

    Half an hour on a free core. Training stays on the threads of ``OMP_NUM_THREADS``.
    """
    corpus = load_corpus(data)
    search = build_algorithm("random", default_space(as_speech(build_config(_CONFIG))), seed=0)
    points = [search.suggest(number, []) for number in range(CONFIGURATIONS)]
    known = set(_read_rows(path)) if path.is_file() else set[tuple[int, int]]()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not known:
            writer.writerow(_COLUMNS)
        for seed in range(SEEDS):
            for number, point in enumerate(points):
                if (number, seed) in known:
                    continue
                config = build_config(_CONFIG, point or {}, {"seed": seed})
                epochs = [record.metrics for record in fit(config, corpus)]
                best = min(epochs, key=config.objective.epoch_score)
                figures = (f"{best[name]:.5g}" for name in _COLUMNS[2:])
                writer.writerow([number, seed, *figures])
                file.flush()


def load_seeds(path: Path = SEEDS_TABLE) -> list[np.ndarray]:
    """Return the validation word error rates of each configuration, one for each complete seed."""
    rows = _read_rows(path)
    counts = Counter(seed for _, seed in rows)
    seeds = [seed for seed in range(SEEDS) if counts[seed] == CONFIGURATIONS]
    return [np.array([rows[number, seed] for seed in seeds]) for number in range(CONFIGURATIONS)]


def _read_rows(path: Path) -> dict[tuple[int, int], float]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (int(row["configuration"]), int(row["seed"])): float(row["valid_wer"])
            for row in csv.DictReader(file)
        }
