"""The end of ``tune``: the report of the study, and the commands to continue with."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.config import Config, find_task
from raytune_yesno.errors import InputError, one_line, quote
from raytune_yesno.files.remote import is_remote
from raytune_yesno.task_registry import name_task

if TYPE_CHECKING:
    from raytune_yesno.study import Study

_MORE_TRIALS = 8


def write_study_report(study: "Study", note: Callable[[str], None]) -> str | None:
    """Write the page and the table of a study into its folder; return the path of the page.

    A report that cannot be written is noted: the study itself is complete.
    """
    from raytune_yesno.report import write_report

    try:
        return str(write_report([study], study.path).html)
    except (OSError, InputError) as error:
        note(one_line(f"the report could not be written ({error}); the study is complete"))
        return None


def suggest_next(study: "Study", refit: Mapping[str, Any], storage: str) -> Iterator[str]:
    """Yield the commands that continue from a finished study, to be pasted into a shell.

    Args:
        study: the study.
        refit: what :func:`run_refit` returned.
        storage: the folder or URI of the study.
    """
    from raytune_yesno.tuning.plan import Plan

    name = study.config.get("task", Config.task)
    if checkpoint := refit.get("checkpoint"):
        yield from suggest_uses(name, checkpoint)
    yield f"raytune-yesno report {quote(shorten(storage))}"
    resume = f"raytune-yesno tune --resume {quote(shorten(storage))}{name_task(name)}"
    plan = Plan.from_study(study)
    failed = any(trial.status == "failed" and not trial.outside for trial in study.trial_list)
    if failed and not plan.changes_points:
        yield f"{resume} --retry failed"
    with contextlib.suppress(InputError):  # a list of points has no more
        plan.extend(study, _MORE_TRIALS)
        yield f"{resume} --add-trials {_MORE_TRIALS}"


def suggest_uses(task: str, checkpoint: str) -> Iterator[str]:
    """Yield the commands that a task offers for a checkpoint, to be pasted into a shell."""
    for command in find_task(task).next_commands:
        yield f"raytune-yesno {command.format(quote(shorten(checkpoint)))}"


def shorten(path: str) -> str:
    """Return a path relative to the working directory, if it lies inside; else unchanged."""
    if is_remote(path):
        return path
    try:
        return str(Path(path).relative_to(os.getcwd()))
    except (ValueError, OSError):
        return path
