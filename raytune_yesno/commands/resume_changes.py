"""What `tune --resume` may change in a study: its space, and which trials are trained again."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from raytune_yesno.commands.common import note
from raytune_yesno.commands.settings import read_yaml
from raytune_yesno.errors import InputError
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.study.store import TRIALS
from raytune_yesno.study.trial import UNSUCCESSFUL

if TYPE_CHECKING:
    from raytune_yesno.study import Study
    from raytune_yesno.tuning.plan import Plan


_CHANGES = ("add_trials", "retry", "epochs", "top", "space", "final_round", "prefer", "refit")


def omit_changes(options: Namespace) -> None:
    """Omit the changes that a command asks for: the study's record has them already.

    A repeated command would else add its trials twice, and be refused by a study that it finished.
    """
    for name in _CHANGES:
        setattr(options, name, None)


def change_space(plan: "Plan", study: "Study", options: Namespace) -> "Plan":
    """Return the plan of a study with the space of ``--space``.

    Raises:
        InputError: the space is invalid, or the study cannot change its space now.
    """
    from raytune_yesno.space import format_space, parse_space
    from raytune_yesno.tuning.plan import Plan

    space = parse_space(read_yaml(Path(options.space), "a YAML file of domains"))
    if space == plan.space:
        return plan
    if plan.entry.is_finite:
        raise InputError(
            f"--space: search {plan.search} has a fixed list of points; begin a new study"
        )
    if plan.changes_points:
        raise InputError(
            f"--space: scheduler {plan.scheduler} has changed the points; begin a new study"
        )
    if study.has_search_ended and options.add_trials is None:
        raise InputError(f"--space: the search of {study.path} has ended; also give --add-trials N")
    proposed = [t for t in study.trial_list if t.request is None and t.repeat_of is None]
    if len(proposed) < len(plan.points):
        raise InputError("--space: resume without it first, until all known points are tried")
    # As the study is read once the change is recorded: a function has the keys of the new space.
    changed = {**study.settings, "space": format_space(space)}
    return replace(Plan.from_study(replace(study, settings=changed)), points=())


def select_retried(asked: str, study: "Study") -> list[int]:
    """Return the numbers of the trials to train again; none if the study already trains them again.

    Args:
        asked: ``failed``, for all trials that failed or diverged, or numbers: ``3,5``.
        study: the study.

    Raises:
        InputError: a trial does not exist, or cannot be trained again.
    """
    from raytune_yesno.schedulers.build import CHANGING

    if (scheduler := study.settings.get("scheduler")) in CHANGING:
        raise InputError(f"--retry: scheduler {scheduler} cannot: its population has trained on")
    if asked == "failed":
        numbers = [
            trial.number
            for trial in study.trial_list
            if trial.status in UNSUCCESSFUL and not trial.outside
        ]
        if not numbers:
            line = f"--retry failed: {study.path} has no failed or diverged trial that counts"
            if study.refit:
                raise InputError(line)
            note(f"{line}; the study continues")
        return numbers
    trials = {trial.number: trial for trial in study.trial_list}
    try:
        numbers = [int(text) for text in asked.split(",")]
    except ValueError:
        raise InputError(
            f"--retry: {asked!r} is neither `failed` nor numbers such as 3,5"
        ) from None
    for number in numbers:
        if number not in trials:
            raise InputError(f"--retry: {study.path} has no trial {number}")
        if outside := trials[number].outside:
            raise InputError(f"--retry: trial {number} lies outside the changed space: {outside}")
        status = trials[number].status
        if status not in (*UNSUCCESSFUL, "stopped", "running"):
            raise InputError(
                f"--retry: trial {number} is {status}; only ended trials without a "
                "complete result are trained again"
            )
    return [number for number in numbers if trials[number].status != "running"]


def extend_epochs(plan: "Plan", study: "Study", options: Namespace) -> "Plan":
    """Return the plan of a study with the number of epochs of ``--epochs``.

    The study may already have it, if it is not finished.

    Raises:
        InputError: the study cannot train its trials on now.
    """
    before = plan.config.epochs
    if options.epochs == before != study.begun_with["config"].get("epochs") and not study.refit:
        return plan  # the command is repeated after a kill
    if options.epochs <= before:
        raise InputError(f"--epochs: {options.epochs} must be more than the study's {before}")
    if options.add_trials is not None or options.retry is not None:
        raise InputError("--epochs: omit --add-trials and --retry; do one after the other")
    if not study.searched:
        raise InputError(f"--epochs: {study.path} is unfinished; resume it without --epochs first")
    if plan.changes_points:
        raise InputError(f"--epochs: scheduler {plan.scheduler} cannot: its population has ended")
    return replace(plan, config=replace(plan.config, epochs=options.epochs))


def select_extended(options: Namespace, study: "Study", out: OutputFolder) -> list[int]:
    """Return the numbers of the trials to train on: the best finished ones, ``--top`` at most.

    None if the study already trains them on.

    Args:
        options: ``epochs`` and ``top``.
        study: the study.
        out: where it is stored.

    Raises:
        InputError: no trial has finished.
    """
    from raytune_yesno.tuning.kept_checkpoints import list_finished, select_stored
    from raytune_yesno.tuning.resume import has_last_checkpoint

    if options.epochs is None:
        return []
    if study.config.get("epochs") == options.epochs:
        return []
    finished = list_finished(study.trial_list)
    stored = filter(has_last_checkpoint, select_stored(finished, (out / TRIALS).storage))
    kept = {trial.number: trial for trial in stored}
    if study.objective.others:
        # Which few trials stand for a front changes with each new one, and the checkpoints of those
        # that stood for it earlier may be the ones that were kept.
        rest = [trial for trial in finished if trial.number not in kept]
        finished = [*list_finished(kept.values()), *rest]
    numbers = [trial.number for trial in finished[: options.top]]
    if not numbers:
        raise InputError(f"--epochs: {study.path} has no finished trial to train on")
    missing = [number for number in numbers if number not in kept]
    if missing:
        told = ", ".join(map(str, missing))
        note(
            f"--epochs: no checkpoint was kept of trial {told}: training restarts from the "
            "beginning; --keep-checkpoints K of a new study keeps those of the best K"
        )
    return numbers
