"""Train one trial of a study again and compare the results with the record."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError
from raytune_yesno.files.json_text import to_strict_json
from raytune_yesno.study import Study, Trial
from raytune_yesno.tasks.task import Data
from raytune_yesno.training.run import Run, run_training
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.versions import library_versions

_NOT_COMPARED = ("seconds", "world_size")  # these may differ from run to run


@dataclass(frozen=True)
class Mismatch:
    """The first value that differs from the record."""

    epoch: int
    metric: str
    recorded: float | None
    replayed: float | None

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}: {self.metric} was {self.recorded!r} and is now {self.replayed!r}"
        )


@dataclass(frozen=True)
class Replay:
    """A repeated trial: its run, and the first difference from the record, or None."""

    run: Run
    difference: Mismatch | None


def find_replayable(study: Study, number: int) -> tuple[Trial, Config]:
    """Return a trial of a study and its full config.

    Raises:
        InputError: there is no such trial, it has no finished epoch, it was extended, or a
            scheduler copied another trial over it.
    """
    config = Plan.from_study(study).config
    found = {trial.number: trial for trial in study.trial_list}
    if number not in found:
        others = f"they are {min(found)} to {max(found)}" if found else "it has none yet"
        raise InputError(f"{study.path}: no trial {number}; {others}")
    trial = found[number]
    if not trial.epochs:
        raise InputError(f"{study.path}: trial {number} has no epoch to compare with")
    if trial.mutations:
        source = trial.mutations[-1]["source"]
        raise InputError(
            f"{study.path}: scheduler pbt copied trial {source} over trial {number} at epoch "
            f"{trial.mutations[-1]['epoch']}; it cannot be replayed by itself, choose another trial"
        )
    if len(trial.planned) > 1:
        raise InputError(
            f"{study.path}: trial {number} was extended to more epochs, and its learning rate "
            "followed two plans; choose another trial"
        )
    planned = {"epochs": trial.planned_at(1, config.epochs)}
    return trial, build_config(config, planned, trial.overrides, where=str(study.path))


def run_replay(
    study: Study,
    number: int,
    data: Data | None,
    out: Path,
    *,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> Replay:
    """Train a trial again from its start, for as many epochs as were recorded.

    A trial depends only on its config and the data. With the same library versions on the same
    kind of machine, the results are equal bit for bit.

    Args:
        study: the study with the trial.
        number: the number of the trial.
        data: the task's data; None for a task without data.
        out: the folder of the training run, see :func:`raytune_yesno.training.run.run_training`.
        on_epoch: called with the metrics at the end of every epoch.

    Returns:
        The run, and the first difference from the record.

    Raises:
        InputError: see :func:`find_replayable`.
    """
    trial, config = find_replayable(study, number)
    epochs = trial.epochs[-1]["epoch"]
    run = run_training(config, data, out, epochs=epochs, on_epoch=on_epoch)
    return Replay(run, find_difference(trial, run.history))


def find_difference(trial: Trial, history: list[dict[str, Any]]) -> Mismatch | None:
    """Return the first value of a history that differs from the record, or None."""
    for recorded, replayed in zip(trial.epochs, history, strict=True):
        for metric in sorted((replayed.keys() & recorded.keys()) - {*_NOT_COMPARED}):
            before, now = recorded.get(metric), to_strict_json(replayed.get(metric))
            if before != now:
                return Mismatch(recorded["epoch"], metric, before, now)
    return None


def describe_versions(study: Study) -> str:
    """Return the libraries whose versions differ from the study's; empty if none do."""
    then, now = study.settings.get("versions", {}), library_versions()
    return ", ".join(
        f"{name} {then[name]} then and {now[name]} now"
        for name in then.keys() & now.keys()
        if then[name] != now[name]
    )
