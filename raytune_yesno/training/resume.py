"""Find the checkpoint to resume from, for a training run and for a trial.

The folder of a run holds two checkpoints, ``best`` and ``last``, and ``history.jsonl`` with one
line per epoch. All are written at the end of an epoch, so an interrupted run can always be resumed.
"""

import json
import string
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from raytune_yesno.checkpoint import (
    DESCRIPTION,
    Checkpoint,
    UnusableCheckpoint,
    copy_checkpoint,
    load_checkpoint,
)
from raytune_yesno.errors import InputError
from raytune_yesno.files.atomic import recover_folder
from raytune_yesno.files.remote import list_folders, local_copy
from raytune_yesno.metrics import Objective
from raytune_yesno.tasks.task import Data, check_same_data

BEST, LAST, HISTORY = "best", "last", "history.jsonl"


def count_epochs(checkpoint: Checkpoint | None) -> int:
    """Return the number of epochs trained up to a checkpoint; 0 for None."""
    return checkpoint.epoch if checkpoint else 0


def keep_last(out: Path, objective: Objective) -> None:
    """Extend the history to the last checkpoint and copy that to ``best`` if it is the best."""
    description = json.loads((out / LAST / DESCRIPTION).read_text())
    if find_best(objective, description["history"])["epoch"] == description["epoch"]:
        copy_checkpoint(out / LAST, out / BEST)
    num_written = len((out / HISTORY).read_text().splitlines())
    with (out / HISTORY).open("a") as history:
        for metrics in description["history"][num_written:]:
            history.write(json.dumps(metrics) + "\n")


def find_best(objective: Objective, history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the metrics of a run's best epoch, or of its last one if nothing was validated."""
    usable = [metrics for metrics in history if not objective.has_diverged(metrics)] or history[:1]
    best = objective.find_best(usable)
    return usable[-1 if best is None else best]


def find_resumable(out: Path) -> tuple[Checkpoint | None, str | None]:
    """Return the checkpoint to resume a run from, and a line on a damaged one.

    Either is None if there is none.
    """
    for name in (LAST, BEST):
        recover_folder(out / name)
    damage = None
    for folder in (out / LAST, out / BEST):
        try:
            checkpoint = load_checkpoint(folder)
        except UnusableCheckpoint as error:
            damage = damage or error.what
            continue
        action = f"; resumed from epoch {checkpoint.epoch}, {folder}"
        return checkpoint, damage and damage + action
    return None, damage


def load_resumable(
    out: Path, data: Data | None, note: Callable[[str], None] = lambda line: None
) -> Checkpoint:
    """Return the checkpoint to resume a run from.

    Raises:
        InputError: there is none, or the run was trained on other data.
    """
    checkpoint, damage = find_resumable(out)
    if checkpoint is None:
        raise InputError(
            f"{damage}; no checkpoint can be resumed. Start a new run with --fresh, or with "
            "another --out"
        )
    if damage:
        note(damage)
    check_same_data(data, checkpoint.corpus, f"{out}: this run")
    if damage:
        copy_checkpoint(out / BEST, out / LAST)
    return checkpoint


def find_latest(uris: Iterable[str]) -> tuple[Checkpoint | None, str | None]:
    """Return the checkpoint with the most epochs.

    If a checkpoint is damaged or missing, its siblings are tried: Tune keeps the previous one in
    the same folder.

    Args:
        uris: folders or URIs of checkpoints. The first one wins a tie.

    Returns:
        The checkpoint, or None if none is usable; and a line about the first damaged one, or None.

    Raises:
        InputError: a storage cannot be read, or a checkpoint is from another version.
    """
    found: list[Checkpoint] = []
    damage: list[str] = []
    for uri in uris:
        try:
            found.append(_load(uri))
        except UnusableCheckpoint as error:
            damage.append(error.what)
            found += _load_usable(_list_siblings(uri))
    latest = max(found, key=lambda checkpoint: checkpoint.epoch, default=None)
    if not damage:
        return latest, None
    action = f"resumed from epoch {latest.epoch}" if latest else "restarted from the beginning"
    return latest, f"{damage[0]}; {action}"


def _list_siblings(uri: str) -> list[str]:
    """Return the folders beside a checkpoint whose names differ from its own in the last number.

    Earlier versions kept the copies of all trials in one folder, as ``copied_TRIAL_EPOCH``.
    """
    uri = uri.rstrip("/")
    same, beside = uri.rstrip(string.digits), list_folders(uri.rpartition("/")[0])
    return [each for each in beside if each != uri and each.rstrip(string.digits) == same]


def _load(uri: str) -> Checkpoint:
    with local_copy(uri) as folder:
        return load_checkpoint(folder)


def _load_usable(uris: Iterable[str]) -> Iterable[Checkpoint]:
    for uri in uris:
        try:
            yield _load(uri)
        except UnusableCheckpoint:
            continue
