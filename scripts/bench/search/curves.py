"""Learning curves to replay: recorded trainings of the recogniser, and those of others.

The latter are of scan-bench: small vision-language and language models of different sizes, trained
for different numbers of epochs (or tenths of a training); those with the same number are a set.
SCAN_BENCH is the folder of the unpacked package. Its dependencies are not needed:

    pip download --no-deps scan-bench==0.2.3 && unzip scan_bench-*.whl -d scan
    SCAN_BENCH=scan/scan_bench python scripts/bench search --part table
"""

import csv
import math
import os
from collections import defaultdict
from functools import cache
from itertools import takewhile
from pathlib import Path

from bench.search.table import Entry, Table, load_table
from raytune_yesno.space import Float

RECORDED = "table"
_SCAN = os.environ.get("SCAN_BENCH", "")
_FILES = {
    "vlm": ("vlm/data.csv", "epoch", "val_loss"),
    "llm": ("llm/configs_intermediate_summary.csv", "step_index", "valid_loss"),
}
"""The file of each kind of model, and its columns of the epoch and of the loss."""
_KEYS = {
    "vlm": "global_batch_size beta1 beta2 eps lr wd warmup_fraction text_width vision_width",
    "llm": "micro_batch_size grad_accumulation_steps beta1 beta2 lr weight_decay warmup_steps "
    "d_model n_layers n_tokens",
}
"""Its columns of hyperparameters."""
_SETS = (("vlm", 6), ("vlm", 8), ("vlm", 9), ("vlm", 10), ("llm", 9), ("llm", 10))
_WIDE = 8  # a range whose ends have at least this ratio is searched on a logarithmic scale


def list_curves() -> list[str]:
    """Return the names of the sets that are here."""
    return [RECORDED, *(f"scan-{kind}-{epochs}" for kind, epochs in _SETS if _SCAN)]


@cache
def load_curves(name: str) -> Table:
    """Return a set of curves by its name."""
    if name == RECORDED:
        return load_table()
    _, kind, epochs = name.split("-")
    file, epoch, loss = _FILES[kind]
    by_config = defaultdict(list)
    with Path(_SCAN, file).open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            by_config[row["config_id"]].append(row)
    curves = [
        sorted(rows, key=lambda row: float(row[epoch]))
        for rows in by_config.values()
        if len(rows) == int(epochs)
    ]
    space = dict[str, Float]()
    for key in _KEYS[kind].split():
        values = [float(rows[0][key]) for rows in curves]
        low, high = min(values), max(values)
        if low < high:
            space[key] = Float(low, high, log=0 < low * _WIDE < high)
    entries = []
    for rows in curves:
        losses = (float(row[loss] or math.nan) for row in rows)
        finite = tuple(takewhile(math.isfinite, losses))  # the others diverged
        if finite:
            entries.append(Entry({key: float(rows[0][key]) for key in space}, 1.0, finite))
    return Table(space, entries)
