"""Resume a study: what becomes of its earlier trials, recorded before the search continues."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from raytune_yesno.config import Config
from raytune_yesno.files.remote import list_folders
from raytune_yesno.space import format_space, parse_space
from raytune_yesno.study import Study, Trial, load
from raytune_yesno.study.store import StudyStore, name_command
from raytune_yesno.text import list_some
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.request_handler import refuse_outside
from raytune_yesno.tuning.warm_start import build_observations
from raytune_yesno.user_code import Code

_MAX_REASONS, _MAX_SHOWN = 5, 8


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
) -> Study:
    """Record that a study is resumed, and the end of trials that do not continue.

    What changes is one event: a kill leaves all of it or nothing.

    Args:
        before: the study.
        plan: the plan of the resumed study.
        store: the study's record.
        slots: the number of concurrent trials.
        code: the user's code of the task; None for a task of this package.
        note: called with a line on changed code and on trials outside a changed space.
        retry: numbers of ended trials to train again.
        extend: numbers of finished trials to train on; from the beginning without a checkpoint.

    Returns:
        The study as it is now.
    """
    changes = list_changes(before, plan, code, retry, extend)
    if "code" in changes:
        note(
            f"{plan.config.task}: the code has changed; trials from now on run the new code, and "
            "are compared with the earlier ones"
        )
    store.append("resumed", slots=slots, trials=plan.num_trials, **vars(plan.stop), **changes)
    study = load(before.path)
    if "space" in changes:
        describe_outside(study.trial_list, note)
        if plan.warm_start:
            num_inside = len(build_observations(plan.warm_start, plan.space))
            num_known = len(plan.warm_start["observations"])
            note(f"  of the results of other studies, {num_inside} of {num_known} count")
    refused, ends = refuse_outside(study, plan, store, note), list(find_ended(study))
    for trial, end in ends:
        store.append("ended", trial=trial.number, **end)
    if refused or ends:
        study = load(before.path)
    note(describe_resumption(study, retry, extend))
    return study


def list_changes(
    before: Study,
    plan: Plan,
    code: Code | None,
    retry: Collection[int],
    extend: Collection[int],
) -> dict[str, Any]:
    """Return the fields of the event ``resumed`` that say what a resumption changes in a study."""
    changes: dict[str, Any] = {}
    if plan.space != parse_space(before.settings["space"], exact=True):
        changes["space"] = format_space(plan.space)
    if code and before.settings.get("code") != code.digest:
        changes["code"] = code.digest
    if extend:
        trials = {trial.number: trial for trial in before.trial_list}
        after = {
            str(number): trials[number].last_epoch if has_last_checkpoint(trials[number]) else 0
            for number in sorted(extend)
        }
        changes |= {"epochs": plan.config.epochs, "extend": after}
    if before.has_search_ended and (added := plan.num_trials - max(1, before.num_proposed)) > 0:
        changes["added"] = added
    if retry:
        changes["retry"] = sorted(retry)
    if plan.final_round != (before.settings.get("final_round") or {}):
        changes["final_round"] = dict(plan.final_round)
    return changes | list_choice(before, plan) | name_command()


def describe_resumption(study: Study, retry: Collection[int], extend: Collection[int]) -> str:
    """Return a line on a study that is resumed: which trials have ended, and which continue."""
    numbers = {trial.number for trial in study.trial_list if trial.status == "running"}
    ended = len(study.trial_list) - len(numbers)
    parts = [f"resuming the study; trials that have ended: {ended}"]
    for chosen, action in (
        (numbers - {*retry, *extend}, "continued"),
        (numbers & {*retry}, "trained again"),
        (numbers & {*extend}, f"trained on to epoch {study.config.get('epochs')}"),
    ):
        if chosen:
            parts.append(f"{action}: {list_some(sorted(chosen), _MAX_SHOWN)}")
    return "; ".join(parts)


def list_choice(before: Study, plan: Plan) -> dict[str, str | None]:
    """Return the settings that choose from the front, if they have changed."""
    now = {"prefer": plan.prefer, "refit": plan.refit}
    return {name: value for name, value in now.items() if value != before.settings.get(name)}


def find_ended(study: Study) -> Iterator[tuple[Trial, dict[str, str]]]:
    """Yield unfinished trials that do not continue, and the fields of their ends.

    The study was killed before it could record that they had trained their last epoch, or had been
    stopped by request; or they lie outside a changed space.
    """
    for trial in study.trial_list:
        if trial.status != "running":
            continue
        if trial.epochs and trial.epochs[-1].get("diverged"):
            yield trial, {"status": "diverged"}
        elif trial.last_epoch >= study.config.get("epochs", Config.epochs):
            yield trial, {"status": "done"}
        elif trial.is_stop_requested:
            yield trial, {"status": "stopped"}
        elif trial.outside:
            yield trial, {"status": "stopped", "reason": trial.outside}


def describe_outside(trials: Sequence[Trial], note: Callable[[str], None]) -> None:
    """Say how many trials count in a changed space, and why the others do not."""
    reasons = Counter(trial.outside for trial in trials if trial.outside)
    note(f"space changed: {len(trials) - reasons.total()} of {len(trials)} earlier trials count")
    for reason, count in reasons.most_common(_MAX_REASONS):
        note(f"  {count} outside: {reason}")
    if len(reasons) > _MAX_REASONS:
        note(f"  and {len(reasons) - _MAX_REASONS} more reasons")


def has_last_checkpoint(trial: Trial) -> bool:
    """Return whether the checkpoint of a trial's last epoch was kept."""
    if trial.checkpoint is None or trial.checkpoint[1] != trial.last_epoch:
        return False
    folder = trial.checkpoint[0]
    return folder in list_folders(folder.rpartition("/")[0])
