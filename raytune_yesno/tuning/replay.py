"""Train one trial of a study again, and hold what comes out against what was recorded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.checkpoint import library_versions
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError
from raytune_yesno.files.json_text import to_strict_json
from raytune_yesno.study import Study, Trial
from raytune_yesno.tasks.task import Data
from raytune_yesno.training.run import Run, run_training
from raytune_yesno.tuning.plan import Plan

_TIMES = ("seconds", "world_size")  # which differ from run to run


@dataclass(frozen=True)
class Difference:
    """The first figure that came out otherwise than it was recorded."""

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
    """A trial trained again: the run, and the first figure that differs, None where none does."""

    run: Run
    difference: Difference | None


def find_replayable(study: Study, number: int) -> tuple[Trial, Config]:
    """Return a trial of a study and its whole config.

    Raises:
        InputError: there is no such trial, it never ended an epoch, or its epochs are not its own.
    """
    config = Plan.from_study(study).config
    found = {trial.number: trial for trial in study.trial_list}
    if number not in found:
        raise InputError(f"{study.path}: no trial {number}; they are {min(found)} to {max(found)}")
    trial = found[number]
    if not trial.epochs:
        raise InputError(f"{study.path}: trial {number} has no epoch to compare with")
    if trial.mutations:
        source = trial.mutations[-1]["source"]
        raise InputError(
            f"{study.path}: scheduler pbt copied trial {source} over trial {number} at epoch "
            f"{trial.mutations[-1]['epoch']}; it cannot be trained again by itself"
        )
    return trial, build_config(config.as_dict(), trial.point, where=str(study.path))


def run_replay(
    study: Study,
    number: int,
    data: Data | None,
    out: Path,
    *,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> Replay:
    """Train a trial again from its start, as far as it was recorded.

    The same bits are to be expected with the same versions on the same kind of machine: a trial
    depends on nothing but its config and the data.

    Args:
        out: the folder of the training run, see :func:`raytune_yesno.training.run.run_training`.

    Raises:
        InputError: see :func:`find_replayable`.
    """
    trial, config = find_replayable(study, number)
    epochs = trial.epochs[-1]["epoch"]
    run = run_training(config, data, out, epochs=epochs, on_epoch=on_epoch)
    return Replay(run, find_difference(trial, run.history))


def find_difference(trial: Trial, history: list[dict[str, Any]]) -> Difference | None:
    """Return the first figure of a history that is not the recorded one."""
    for recorded, replayed in zip(trial.epochs, history, strict=True):
        for metric in sorted((replayed.keys() & recorded.keys()) - {*_TIMES}):
            one, other = recorded.get(metric), to_strict_json(replayed.get(metric))
            if one != other:
                return Difference(recorded["epoch"], metric, one, other)
    return None


def describe_versions(study: Study) -> str:
    """Say which libraries have other versions now than the study had; empty if none has."""
    then, now = study.asked.get("versions", {}), library_versions()
    return ", ".join(
        f"{name} {then[name]} then and {now[name]} now"
        for name in then.keys() & now.keys()
        if then[name] != now[name]
    )
