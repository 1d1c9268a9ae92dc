"""The refit: train the best config of a study again, then evaluate the test part once."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from raytune_yesno.checkpoint import Checkpoint, load_checkpoint
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import WorkError, quote
from raytune_yesno.files.full_disk import wait_until_writable
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.metrics import TRAIN_LOSS
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.candidates import Candidate
from raytune_yesno.study.store import REFIT, StudyStore
from raytune_yesno.task_registry import TASKS, name_task
from raytune_yesno.tasks.task import Data
from raytune_yesno.training.evaluate import run_test
from raytune_yesno.training.resume import find_resumable
from raytune_yesno.training.run import Run, run_training
from raytune_yesno.user_code import stopped_by_errors

MAX_REFITS = 3
"""The most seeds tried for a refit that falls short of its trial."""
_CODE = "code"  # the file with the digest of the user's code, beside the checkpoints of a refit
_MAX_SHORTFALL = 0.1  # fraction of the decrease of the trial's training loss


def run_refit(
    study: Study,
    data: Data | None,
    *,
    candidate: Candidate | None = None,
    out: Path | OutputFolder | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train the best config on the training and validation parts, then evaluate the test part once.

    Training ends at the best epoch of the best trial or, if its point was trained several times, of
    their mean curve (:attr:`Candidate.epochs`). Schedules, such as that of the learning rate, end
    there too: with the trial's, of more epochs, training would end at a high learning rate. A
    refit that learns much less than its trial is repeated with the next seed, at most
    :data:`MAX_REFITS` times in all.

    Args:
        study: the study with the finished search.
        data: the task's data; None for a task without data.
        candidate: the point to train. Defaults to the best one; another one has a folder of its
            own, ``refit-`` and the number of its trial.
        out: the study's folder, if it is locked or copied to a URI, as in ``run_search``.
        on_epoch: called with the metrics at the end of every epoch.
        note: called with a line on each unusable checkpoint and each repeated refit.

    Returns:
        ``checkpoint`` (folder or URI), ``epochs``, ``trial`` and ``seed``. If the task has a test,
        also ``test`` (metrics on the test part) and ``test_says`` (a line describing them). A task
        that is not refitted, such as a function, has no ``checkpoint``.

    Raises:
        WorkError: no trial has a result to refit, or the refit diverged.
    """
    out = OutputFolder.of(out or study.path)
    check_result(study, str(study.path))
    chosen = candidate or study.candidates[0]
    best, epochs = chosen.trial, chosen.epochs
    config = build_config(best_config(study, best), {"epochs": epochs})
    task = config.declaration
    refit: dict[str, Any] = {"epochs": epochs, "trial": best.number, "seed": config.seed}
    if task.refits:
        name = REFIT if chosen is study.candidates[0] else f"{REFIT}-{best.number}"
        folder = out / name
        run, seed = _train(best, config, data, folder, on_epoch, note)
        if run.diverged:
            raise WorkError(
                f"{folder.path}: the config of trial {best.number} diverged in the refit: its "
                f"loss is not finite after epoch {len(run.history)} of {epochs}; more trials "
                "may find a more stable config: raytune-yesno tune --add-trials 8 --resume "
                f"{quote(out.storage)}{name_task(config.task)}"
            )
        refit |= {"checkpoint": (folder / run.last.name).storage, "seed": seed}
        if task.test:
            with stopped_by_errors("the refit is done, but its test failed"):
                found = run_test(task, load_checkpoint(run.last), data)
            refit |= {"test": found.figures, "test_says": found.said}

    def wait(error: OSError) -> None:
        if not wait_until_writable(study.path, 1 << 16, note):
            raise error

    StudyStore(out, wait=wait).append("refitted", **refit)
    return refit


def _train(
    trial: Trial,
    config: Config,
    data: Data | None,
    out: OutputFolder,
    on_epoch: Callable[[dict[str, Any]], None],
    note: Callable[[str], None],
) -> tuple[Run, int]:
    """Train with one seed after another, until a refit learns as much as its trial.

    A refit that was interrupted is resumed, if it trained the same code.

    Returns:
        The last run and its seed.
    """
    folder = out.path
    checkpoint, damage = find_resumable(folder)
    if damage and checkpoint is None and folder.exists():
        note(f"{damage}; the refit restarts from the beginning")
    seeds = [(config.seed + number) % 2**31 for number in range(MAX_REFITS)]
    configs = [build_config(config, {"seed": seed}) for seed in seeds]
    code = TASKS.pack(config.task)
    digest = code.digest if code else ""
    if checkpoint is not None and _read_code(folder) != digest:
        checkpoint = None
    begun = [checkpoint is not None and is_part(checkpoint, each) for each in configs]
    for number in range(begun.index(True) if any(begun) else 0, MAX_REFITS):
        if not begun[number]:
            shutil.rmtree(folder, ignore_errors=True)  # left from before the study was extended
            _write_code(folder, digest, note)
        run = run_training(
            configs[number],
            data,
            out,
            resume=begun[number],
            refit=True,
            on_epoch=on_epoch,
            note=note,
        )
        if run.diverged or not (shortfall := find_shortfall(trial, run.history)):
            break
        is_last = number == MAX_REFITS - 1
        action = "it is kept" if is_last else f"training again with seed {seeds[number + 1]}"
        note(f"the refit learnt less than trial {trial.number}: {shortfall}; {action}")
    return run, seeds[number]


def _read_code(folder: Path) -> str:
    """Return the digest of the code that a refit trained; empty for a task of this package."""
    file = folder / _CODE
    return file.read_text() if file.is_file() else ""


def _write_code(folder: Path, digest: str, note: Callable[[str], None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / _CODE).write_text(digest)
    except OSError:
        if not wait_until_writable(folder, 1 << 16, note):
            raise
        (folder / _CODE).write_text(digest)


def check_result(study: Study, where: str) -> None:
    """Check that a trial of a study has a result.

    Args:
        study: the study.
        where: the folder or URI where users find it, for the message.

    Raises:
        WorkError: none has; the message names the first failure.
    """
    if not study.candidates:
        errors = [trial.error for trial in study.trial_list if trial.status == "failed"]
        cause = f"; first failure: {errors[0]}" if errors else ""
        raise WorkError(f"{where}: no trial has a result{cause}")


def list_refits(study: Study) -> list[Candidate]:
    """Return the points that a study is to train again and has not yet, the best one last."""
    if study.settings.get("refit") != "all" or not study.objective.others or not study.front:
        return study.candidates[:1]
    members = {trial.number for trial in study.front}
    done = {
        event.get("trial")
        for event in study.refits
        # The next refit replaces that in the folder of this name.
        if PurePosixPath(str(event.get("checkpoint"))).parent.name != REFIT
    }
    front = [each for each in study.candidates if each.trial.number in members]
    return [each for each in front[1:] if each.trial.number not in done] + front[:1]


def find_shortfall(trial: Trial, history: Sequence[Mapping[str, Any]]) -> str:
    """Return how a refit falls short of its trial by the training loss; empty if it does not.

    A refit has no validation, so its training loss is compared with the trial's at the same epoch,
    if the trial trained as long. It falls short if the difference exceeds a tenth of the decrease
    of the trial's training loss.
    """
    same: Mapping[str, Any] = next((e for e in trial.epochs if e["epoch"] == len(history)), {})
    first, reached = (epoch.get(TRAIN_LOSS.name) for epoch in (trial.epochs[0], same))
    loss = history[-1].get(TRAIN_LOSS.name)
    if first is None or reached is None or loss is None:
        return ""
    if loss - reached <= _MAX_SHORTFALL * max(0.0, first - reached) or first <= reached:
        return ""
    return f"its training loss is {loss:.4g}, the trial's was {reached:.4g}"


def is_part(checkpoint: Checkpoint, config: Config) -> bool:
    """Return whether a checkpoint belongs to a refit of ``config``."""
    return checkpoint.refit and checkpoint.config == config


def best_config(study: Study, trial: Trial) -> Config:
    """Return the full config of a study's trial at its best epoch."""
    return build_config(
        study.config_of(trial),
        trial.best_point,
        declaration=study.declare(),
        where=str(study.path),
    )
