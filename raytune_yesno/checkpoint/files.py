"""Read and write checkpoints. What is read may be a stranger's: it is verified, never executed."""

import dataclasses
import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raytune_yesno.config import Config, restore_config
from raytune_yesno.errors import EveryTrialFails, InputError, first_line
from raytune_yesno.files.atomic import replace_folder
from raytune_yesno.files.json_text import parse_json
from raytune_yesno.versions import library_versions

STATE_DICT = "state_dict_model.pt"
DESCRIPTION = "checkpoint.json"
_BELOW = ("best", "last", "refit/last")  # where `train` and `tune` write one, below --out
RESUME = "resume.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A model at the end of an epoch.

    Attributes:
        config: the config of the run.
        corpus: ``source``, ``fingerprint`` and other texts of the data of any task; empty without
            data.
        epoch: epochs trained, at least 1.
        history: one record for each epoch so far; the last one is of this epoch.
        refit: whether the model was also trained on the validation part.
        state_dict: parameters, on the CPU.
        optimizer: the optimiser's ``state_dict``, or None if it was not kept.
        versions: versions of the libraries that wrote it.
        calibration: numbers by which the task calibrates the model's confidences, or None.
    """

    config: Config
    corpus: dict[str, str]
    epoch: int
    history: list[dict[str, Any]]
    refit: bool
    state_dict: dict[str, torch.Tensor]
    optimizer: dict[str, Any] | None = None
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    calibration: dict[str, float] | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """The record of the last epoch."""
        return self.history[-1]


class UnusableCheckpoint(InputError):
    """A checkpoint that is missing, damaged, or of another model.

    Attributes:
        what: where and what is wrong, without what to do.
    """

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}; {todo}")
        self.what = what

    def rename(self, old: str, new: str) -> None:
        """Replace a name in the message."""
        super().rename(old, new)
        self.what = self.what.replace(old, new)


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint to ``folder`` atomically; an existing one is replaced.

    The training loop has checked what a task determines, see :func:`check_storable`.
    """
    description = {
        "format": 1,
        "config": checkpoint.config.as_dict(),
        "corpus": checkpoint.corpus,
        "epoch": checkpoint.epoch,
        "metrics": checkpoint.metrics,
        "history": checkpoint.history,
        "refit": checkpoint.refit,
        "versions": checkpoint.versions or library_versions(),
        "calibration": checkpoint.calibration,
    }
    with replace_folder(folder) as new:
        _write_tensors(checkpoint.state_dict, new / STATE_DICT)
        if checkpoint.optimizer is not None:
            _write_tensors(checkpoint.optimizer, new / RESUME)
        describe_checkpoint(description, new)


def check_storable(
    state: Mapping[str, Any], about_data: Mapping[Any, Any], calibration: Any
) -> None:
    """Check the parts of a checkpoint that a task determines.

    Args:
        state: the model's state.
        about_data: the description of the data.
        calibration: the task's attribute ``calibration``.

    Raises:
        EveryTrialFails: one could not be read back; the message names it.
    """
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise EveryTrialFails(
                f"build_model of the task: {name} of the model's state is a "
                f"{type(value).__name__}, not a tensor; register it as a buffer"
            )
    for name, text in about_data.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise EveryTrialFails(f"data of the task: {name!r} is not text ({text!r:.60})")
    if not _is_calibration(calibration):
        raise EveryTrialFails(
            f"calibration of the task is {calibration!r:.60}: it has to be None or a dict of "
            "floats; rename the attribute if it is for something else"
        )


def _write_tensors(tensors: Any, path: Path) -> None:
    """Save tensors to a file.

    Raises:
        OSError: the file cannot be written. It is opened here because torch, given a path, raises
            an error without the reason.
    """
    try:
        with path.open("wb") as file:
            torch.save(tensors, file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def describe_checkpoint(description: dict[str, Any], folder: Path) -> None:
    """Write the description of a checkpoint, with the digests of its files."""
    description = parse_json(json.dumps(description))  # as it will be read: texts may change
    names = (name for name in (STATE_DICT, RESUME) if (folder / name).is_file())
    digests = {name: _digest_file(folder / name) for name in names}
    digests[DESCRIPTION] = _digest({**description, "sha256": digests})
    text = json.dumps({**description, "sha256": digests}, indent=1)
    (folder / DESCRIPTION).write_text(text + "\n")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load the checkpoint in a folder, onto the CPU; nothing in it is executed.

    Raises:
        UnusableCheckpoint: the folder is not a checkpoint, or is damaged.
        InputError: its config is not valid in this version.
    """
    _require_description(folder)
    with _report_damage(folder):
        description = _read_description(folder)
        state_dict = _load_tensors(folder / STATE_DICT)
        if not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
            raise ValueError(f"{STATE_DICT} contains more than tensors")
        optimizer = None
        if RESUME in description["sha256"]:
            optimizer = _load_tensors(folder / RESUME)
        return Checkpoint(
            config=restore_config(description["config"], str(folder / DESCRIPTION)),
            corpus=description["corpus"],
            epoch=description["epoch"],
            history=description["history"],
            refit=description["refit"],
            state_dict=state_dict,
            optimizer=optimizer,
            versions=description["versions"],
            calibration=_read_calibration(description),
        )


def read_task(folder: Path) -> str:
    """Return the name of a checkpoint's task. Its code is not needed.

    Raises:
        UnusableCheckpoint: the folder is not a checkpoint, or is damaged.
    """
    _require_description(folder)
    with _report_damage(folder):
        return str(_read_description(folder)["config"].get("task", Config.task))


def _require_description(folder: Path) -> None:
    """Raise UnusableCheckpoint, with a hint, if a folder is not a checkpoint."""
    if not (folder / DESCRIPTION).is_file():
        hint = "give the folder that `train` or `tune` printed"
        for name in _BELOW:
            if (folder / name / DESCRIPTION).is_file():
                hint = f"did you mean {folder / name}?"
                break
        else:
            if (folder / "study.jsonl").is_file():
                hint = "this study has no refit; only a finished refit leaves a checkpoint"
        raise UnusableCheckpoint(f"{folder}: no checkpoint here (no {DESCRIPTION})", hint)


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint atomically; an existing target is replaced.

    Raises:
        UnusableCheckpoint: the copy is damaged; the target is then unchanged.
    """
    with replace_folder(target) as new:
        for file in source.iterdir():
            shutil.copyfile(file, new / file.name)
        with _report_damage(source):
            _read_description(new)


def _load_tensors(file: Path) -> dict[str, Any]:
    """Read a file of tensors and plain values."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's message explains how to execute the file
        raise ValueError(f"{file.name} is damaged, or contains more than tensors") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} is not a mapping")
    return content


def _read_description(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's description, and verify the files that it names."""
    description = parse_json((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if not isinstance(description, dict):
        raise ValueError(f"{DESCRIPTION} is not a mapping")
    _check_digests(description, folder)
    _check_description(description)
    return description


@contextmanager
def _report_damage(folder: Path) -> Iterator[None]:
    """Convert errors in reading a checkpoint to UnusableCheckpoint with the folder."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # torch and json raise many types for a damaged file
        raise UnusableCheckpoint(
            f"{folder}: the checkpoint is damaged ({first_line(error)})", "use another one"
        ) from error


def _check_description(description: dict[str, Any]) -> None:
    """Raise ValueError if a field is missing or has another type."""
    for key, kind in _FIELDS.items():
        if type(description.get(key)) is not kind:
            raise ValueError(f"{DESCRIPTION}: {key} is missing or has another type")
    for key in ("corpus", "versions"):
        if not all(isinstance(value, str) for value in description[key].values()):
            raise ValueError(f"{DESCRIPTION}: {key} contains more than texts")
    history = description["history"]
    if not all(isinstance(metrics, dict) for metrics in history):
        raise ValueError(f"{DESCRIPTION}: the history is not a list of epochs")
    if not 0 < len(history) == description["epoch"]:
        raise ValueError(f"{DESCRIPTION}: the history does not match the number of epochs")


def _read_calibration(description: dict[str, Any]) -> dict[str, float] | None:
    """Return the calibration, or None; older versions wrote none."""
    found: dict[str, float] | None = description.get("calibration")
    if not _is_calibration(found):
        raise ValueError(f"{DESCRIPTION}: calibration has another type")
    return found


def _is_calibration(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict) and all(isinstance(number, float) for number in value.values())
    )


_FIELDS = {
    "config": dict,
    "corpus": dict,
    "epoch": int,
    "history": list,
    "refit": bool,
    "versions": dict,
}


def _check_digests(description: dict[str, Any], folder: Path) -> None:
    """Raise ValueError if a file was changed after it was saved.

    Digests detect accidents, not attacks: they are stored beside the files. Against attacks,
    nothing in a checkpoint is executed.
    """
    if not isinstance(description.get("sha256"), dict):
        raise ValueError(f"{DESCRIPTION} has no digests")
    digests = dict(description["sha256"])
    if digests.pop(DESCRIPTION, None) != _digest({**description, "sha256": digests}):
        raise ValueError(f"{DESCRIPTION} was changed after it was saved")
    for name in digests.keys() & {STATE_DICT, RESUME}:
        if _digest_file(folder / name) != digests[name]:
            raise ValueError(f"{name} was changed after it was saved")


def _digest_file(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
