"""The table of real results: configurations of the `yesno` CNN with their validation curves."""

import csv
import gzip
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from raytune_yesno.space import Choice, Point, Space, decode_point, encode_point, parse_space
from raytune_yesno.study import Study

FOLDER = Path(__file__).parent
RECORDING = FOLDER / "recording.yaml"
TABLE = FOLDER / "table.csv.gz"


@dataclass(frozen=True)
class Entry:
    """One configuration, trained once: an epoch's seconds, and losses and word error rates by
    epoch; fewer than the others have, if it diverged."""

    point: Point
    seconds: float
    losses: tuple[float, ...]
    wers: tuple[float, ...] = ()

    @property
    def best(self) -> float:
        """Return the least validation loss."""
        return min(self.losses)


class Table:
    """Entries over a space; a point stands for the nearest one."""

    def __init__(self, space: Space, entries: Sequence[Entry]) -> None:
        self.space, self.entries = space, list(entries)
        self.epochs = max(len(entry.losses) for entry in self.entries)
        self._is_choice_D = np.array([isinstance(domain, Choice) for domain in space.values()])
        self._rows_ND = np.array([encode_point(space, entry.point) for entry in self.entries])

    @property
    def least(self) -> float:
        """Return the least validation loss of all."""
        return min(entry.best for entry in self.entries)

    def snap(self, point: Point) -> Entry:
        """Return the nearest entry: squared distances in the unit cube, and 1 a choice that
        differs; the first of several that are equally near."""
        gap_ND = np.abs(self._rows_ND - encode_point(self.space, point))
        gap_ND[:, self._is_choice_D] = gap_ND[:, self._is_choice_D] > 1e-9
        return self.entries[int(np.argmin((gap_ND**2).sum(axis=1)))]


def load_space() -> Space:
    """Return the space that was recorded."""
    return parse_space(yaml.safe_load(RECORDING.read_text(encoding="utf-8"))["space"])


def load_table(path: Path = TABLE) -> Table:
    """Read a table; it holds positions in the unit cube, which are exact where values are not."""
    space = load_space()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    num_epochs = sum(name.startswith("loss_") for name in rows[0])

    def read_curve(row: dict[str, str], name: str) -> tuple[float, ...]:
        cells = (row[f"{name}_{epoch}"] for epoch in range(1, num_epochs + 1))
        return tuple(float(cell) for cell in cells if cell)

    return Table(
        space,
        [
            Entry(
                decode_point(space, [float(row[name]) for name in space]),
                float(row["seconds"]),
                read_curve(row, "loss"),
                read_curve(row, "wer"),
            )
            for row in rows
        ],
    )


def save_table(study: Study, path: Path = TABLE) -> int:
    """Write the finished trials of a study as a table, and return how many there are.

    The same study gives the same bytes. Failed trials are left out.
    """
    space = load_space()
    num_epochs = study.settings["config"]["epochs"]
    names = [f"{kind}_{epoch}" for kind in ("loss", "wer") for epoch in range(1, num_epochs + 1)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*space, "seconds", *names])
    trials = [trial for trial in study.trial_list if trial.status in ("done", "diverged")]
    for trial in trials:
        position = encode_point(space, trial.point)
        seconds = sum(epoch["seconds"] for epoch in trial.epochs) / len(trial.epochs)
        curves = [
            _write_curve(trial.epochs, key, num_epochs) for key in ("valid_loss", "valid_wer")
        ]
        cells = [f"{u:.6f}" for u in position]
        writer.writerow([*cells, f"{seconds:.3f}", *curves[0], *curves[1]])
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        packed.write(text.getvalue().encode())
    return len(trials)


def _write_curve(epochs: Sequence[dict[str, Any]], key: str, num_epochs: int) -> list[str]:
    values = [epoch.get(key) for epoch in epochs]
    cells = ["" if v is None or not math.isfinite(v) else f"{v:.5g}" for v in values]
    return cells + [""] * (num_epochs - len(cells))
