"""Hold what a disturbed study came to against one that was left alone."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from faults.runs import read_lines
from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.errors import InputError
from raytune_yesno.store import STORE
from raytune_yesno.study import Study, load

COMPARED = ("epoch", "train_loss", "valid_loss", "valid_wer", "learning_rate")
FILES = {"study.jsonl", "refit"}
REFIT_FILES = {"best", "last", "history.jsonl"}


def find_losses(out: Path, undisturbed: Path, num_trials: int) -> tuple[int, list[str]]:
    """Return how many trials were lost or came out otherwise, and a line on each difference."""
    try:
        study, other = load(out), load(undisturbed)
    except InputError as error:
        return num_trials, [str(error)]
    problems = list(_count_events(out, num_trials))
    lost = 0
    for number in range(num_trials):
        ours, theirs = _describe(study, number), _describe(other, number)
        if ours != theirs:
            lost += 1
            problems.append(f"trial {number}: {_first_difference(ours, theirs)}")
    if study.best and other.best and study.best.number != other.best.number:
        problems.append(f"the best is trial {study.best.number}, not {other.best.number}")
    problems += _compare_refits(out, undisturbed, study, other)
    problems += [f"left in the folder: {name}" for name in sorted(_list_extra(out))]
    return lost, problems


def find_rewritten(out: Path, before: bytes) -> list[str]:
    """Return a line if the records that were there before a fault are no longer."""
    whole = before[: before.rfind(b"\n", 0, before.rfind(b"\n")) + 1]  # but for the last one
    return [] if (out / STORE).read_bytes().startswith(whole) else ["earlier records changed"]


def _count_events(out: Path, num_trials: int) -> list[str]:
    counted = Counter(
        (event["event"], event["trial"])
        for event in read_lines(out / STORE)
        if event.get("event") in ("asked", "ended")
    )
    return [
        f"trial {number}: {counted[kind, number]} times {kind}"
        for number in range(num_trials)
        for kind in ("asked", "ended")
        if counted[kind, number] != 1
    ] + [f"trial {number} was never asked for" for _, number in counted if number >= num_trials]


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
    ours, theirs = (load_checkpoint(place / "refit/last") for place in (out, undisturbed))
    if any(not torch.equal(ours.state_dict[n], v) for n, v in theirs.state_dict.items()):
        return ["the refit's weights differ"]
    return []


def _list_extra(out: Path) -> set[str]:
    extra = {path.name for path in out.iterdir()} - FILES
    if (out / "refit").is_dir():
        extra |= {f"refit/{p.name}" for p in (out / "refit").iterdir() if p.name not in REFIT_FILES}
    return extra
