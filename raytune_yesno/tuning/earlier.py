"""Resume a study: what becomes of its earlier trials, recorded before the search continues."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.files.remote import list_siblings
from raytune_yesno.space import format_space, parse_space
from raytune_yesno.study import Study, Trial, load
from raytune_yesno.study.load import apply_event, mark_outside
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tasks.task import Data
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.user_code import Code

_MAX_REASONS = 5


def load_resumable(out: Path, data: Data | None) -> Study:
    """Return the study in a folder, to be resumed.

    Raises:
        InputError: there is none, or its trials were trained on other data.
    """
    study = load(out)
    check_data(study, data)
    return study


def check_data(study: Study, data: Data | None) -> None:
    """Check that a study's trials were trained on these data.

    Raises:
        InputError: they were trained on other data.
    """
    trained_on = study.asked.get("corpus", {})
    if data and data.fingerprint != trained_on.get("fingerprint"):
        raise InputError(
            f"{study.path}: this study was trained on {trained_on.get('source')} "
            f"({trained_on.get('fingerprint')}), not on {data.source} ({data.fingerprint}); "
            "give the same --data"
        )


def resume_trials(
    before: Study,
    plan: Plan,
    store: StudyStore,
    slots: int,
    code: Code | None,
    note: Callable[[str], None],
    *,
    retry: Collection[int],
    extend: Collection[int],
) -> None:
    """Record that a study is resumed, and what becomes of its earlier trials.

    Args:
        before: the study; its trials are updated.
        plan: the plan of the resumed study.
        store: the study's record.
        slots: the number of concurrent trials.
        code: the user's code of the task; None for a task of this package.
        note: called with a line on changed code and on trials outside a changed space.
        retry: numbers of ended trials to train again.
        extend: numbers of finished trials to train on.
    """
    if code and before.asked.get("code") != code.digest:
        note(
            f"{plan.config.task}: the code has changed since the study began; trials from now "
            "on run the new code, and are compared with the earlier ones"
        )
    is_changed = plan.space != parse_space(before.asked["space"])
    changes: dict[str, Any] = {"space": format_space(plan.space)} if is_changed else {}
    if extend:
        changes["epochs"] = plan.config.epochs
    changes |= {
        name: getattr(plan, name)
        for name in ("prefer", "refit")
        if getattr(plan, name) != before.asked.get(name)
    }
    if plan.final_round:
        changes["final_round"] = dict(plan.final_round)
    store.append("resumed", slots=slots, trials=plan.num_trials, **vars(plan.stop), **changes)
    trials, epochs = before.trial_list, plan.config.epochs
    end_complete(trials, epochs, store)
    end_requested(before, store)
    if is_changed:
        end_outside(trials, plan, store, note)
    restart(trials, retry, epochs, store)
    prolong(trials, extend, epochs, store)


def end_complete(trials: Iterable[Trial], epochs: int, store: StudyStore) -> None:
    """Record the end of trials that finished their last epoch before the study was killed."""
    for trial in trials:
        if trial.status == "running" and trial.epochs:
            last = trial.epochs[-1]
            if last.get("diverged") or last["epoch"] >= epochs:
                trial.status = "diverged" if last.get("diverged") else "done"
                store.append("ended", trial=trial.number, status=trial.status)


def end_requested(study: Study, store: StudyStore) -> None:
    """Record the end of trials whose stop was requested before the study was killed."""
    for trial in study.trial_list:
        if trial.status == "running" and trial.is_stop_requested:
            trial.status = "stopped"
            store.append("ended", trial=trial.number, status=trial.status)


def end_outside(
    trials: Sequence[Trial], plan: Plan, store: StudyStore, note: Callable[[str], None]
) -> None:
    """Mark the trials that do not count in a changed space, and end those that are unfinished."""
    mark_outside(trials, plan.space, plan.config.as_dict())
    outside = [trial for trial in trials if trial.outside]
    for trial in outside:
        if trial.status == "running":
            trial.status = "stopped"
            store.append("ended", trial=trial.number, status=trial.status, reason=trial.outside)
    note(f"space changed: {len(trials) - len(outside)} of {len(trials)} earlier trials count")
    reasons = Counter(str(trial.outside) for trial in outside)
    for reason, count in reasons.most_common(_MAX_REASONS):
        note(f"  {count} outside: {reason}")
    if len(reasons) > _MAX_REASONS:
        note(f"  and {len(reasons) - _MAX_REASONS} more reasons")


def restart(
    trials: Sequence[Trial], numbers: Collection[int], epochs: int, store: StudyStore
) -> None:
    """Record that ended trials are trained again."""
    for trial in trials:
        if trial.number in numbers:
            apply_event(trial, store.append("retried", trial=trial.number))
            trial.planned = [(0, epochs)]


def prolong(
    trials: Sequence[Trial], numbers: Collection[int], epochs: int, store: StudyStore
) -> None:
    """Record that finished trials are trained on: from the beginning without a checkpoint."""
    for trial in trials:
        if trial.number in numbers:
            after = trial.last_epoch if has_last_checkpoint(trial) else 0
            event = store.append("extended", trial=trial.number, after=after, epochs=epochs)
            apply_event(trial, event)


def has_last_checkpoint(trial: Trial) -> bool:
    """Return whether the checkpoint of a trial's last epoch was kept."""
    if trial.checkpoint is None or trial.checkpoint[1] != trial.last_epoch:
        return False
    folder = trial.checkpoint[0]
    return folder in list_siblings(f"{folder.rpartition('/')[0]}/-")
