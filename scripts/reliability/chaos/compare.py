"""Compare the result of a disturbed study or run with an undisturbed one."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.errors import InputError
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE
from reliability.chaos.runs import Lines

COMPARED = ("epoch", "train_loss", "valid_loss", "valid_wer", "learning_rate")
FILES = {"study.jsonl", "refit", "report.html", "trials.csv"}
LAST, HISTORY = "last", "history.jsonl"  # as in `train`, which would import Ray: see Cluster
REFIT_FILES = {"best", LAST, HISTORY}
RUN_FILES = {*REFIT_FILES, "settings.yaml"}


def find_losses(out: Path, undisturbed: Path, num_trials: int) -> tuple[int, list[str]]:
    """Return how many trials were lost or differ, and a line on each difference."""
    try:
        study, other = load(out), load(undisturbed)
    except InputError as error:
        return num_trials, [str(error)]
    lost, problems = find_differing(study, other, num_trials)
    problems += find_miscounted(out, num_trials)
    if study.best and other.best and study.best.number != other.best.number:
        problems.append(f"the best is trial {study.best.number}, not {other.best.number}")
    problems += _compare_refits(out, undisturbed, study, other)
    problems += [f"left in the folder: {name}" for name in sorted(_list_extra(out))]
    return lost, problems


def find_differing(study: Study, other: Study, num_trials: int) -> tuple[int, list[str]]:
    """Return how many of the first trials differ, and a line on each."""
    problems = []
    for number in range(num_trials):
        ours, theirs = _describe(study, number), _describe(other, number)
        if ours != theirs:
            problems.append(f"trial {number}: {_first_difference(ours, theirs)}")
    return len(problems), problems


def find_miscounted(out: Path, num_trials: int) -> list[str]:
    """Return a line on each trial that was not sampled and ended exactly once."""
    counted = Counter(
        (event["event"], event["trial"])
        for event in Lines(out / STORE).read()
        if event.get("event") in ("asked", "ended")
    )
    return [
        f"trial {number}: {counted[kind, number]} times {kind}"
        for number in range(num_trials)
        for kind in ("asked", "ended")
        if counted[kind, number] != 1
    ] + [f"trial {number} was never asked for" for _, number in counted if number >= num_trials]


def find_lost_epochs(
    out: Path, undisturbed: Path, num_epochs: int, rounding: float
) -> tuple[int, list[str]]:
    """Return how many epochs of a run were lost or differ, and a line on the first.

    Args:
        rounding: relative difference to be expected; with 0 the weights are to be the same bits.
    """
    try:
        ours, theirs = (load_checkpoint(place / LAST) for place in (out, undisturbed))
    except InputError as error:
        return num_epochs, [str(error)]
    recorded = Lines(out / HISTORY).read()
    problems = [f"left in the folder: {name}" for name in sorted(_list_names(out) - RUN_FILES)]
    if [epoch["epoch"] for epoch in recorded] != list(range(1, num_epochs + 1)):
        problems.append("history.jsonl: not every epoch once")
    lost = [
        f"epoch {number}: {key} {epoch.get(key)}, not {other[key]}"
        for number, other in enumerate(theirs.history, start=1)
        for epoch in (ours.history[number - 1] if number <= len(ours.history) else {},)
        for key in COMPARED
        if not math.isclose(epoch.get(key, math.nan), other[key], rel_tol=rounding)
    ]
    for name, weights in theirs.state_dict.items():
        if not torch.allclose(ours.state_dict[name], weights, rtol=rounding, atol=rounding):
            problems.append(f"the weights {name} differ")
    return len({line.partition(":")[0] for line in lost}), problems + lost[:1]


def find_rewritten(records: Path, before: bytes) -> list[str]:
    """Return a line if a fault has changed earlier records."""
    whole = before[: before.rfind(b"\n", 0, before.rfind(b"\n")) + 1]  # without the last line
    return [] if records.read_bytes().startswith(whole) else ["earlier records changed"]


def _describe(study: Study, number: int) -> dict[str, Any]:
    trial = next((trial for trial in study.trial_list if trial.number == number), None)
    if trial is None:
        return {}
    curve = [{key: epoch.get(key) for key in COMPARED} for epoch in trial.epochs]
    return {"point": trial.point, "status": trial.status, "curve": curve}


def _first_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    for key in theirs:
        if ours.get(key) != theirs[key]:
            return f"{key} {json.dumps(ours.get(key))[:200]}, not {json.dumps(theirs[key])[:200]}"
    return "it is missing"


def _compare_refits(out: Path, undisturbed: Path, study: Study, other: Study) -> list[str]:
    if not study.refit or not other.refit:
        return ["no refit"]
    if study.refit.get("test") != other.refit.get("test"):
        return [f"on the test part {study.refit.get('test')}, not {other.refit.get('test')}"]
    ours, theirs = (load_checkpoint(place / "refit" / LAST) for place in (out, undisturbed))
    if any(not torch.equal(ours.state_dict[n], v) for n, v in theirs.state_dict.items()):
        return ["the refit's weights differ"]
    return []


def _list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _list_extra(out: Path) -> set[str]:
    extra = _list_names(out) - FILES
    if (out / "refit").is_dir():
        extra |= {f"refit/{name}" for name in _list_names(out / "refit") - REFIT_FILES}
    return extra
