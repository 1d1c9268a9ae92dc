"""What becomes of the study that a command or call finds in its folder.

It continues if its settings are the same, gives way to a new one if it has trained nothing, and
else the command is refused.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE
from raytune_yesno.study_settings import STUDY_SETTINGS
from raytune_yesno.task_registry import is_same_code
from raytune_yesno.text import list_some
from raytune_yesno.tuning.plan import Plan

_MAX_SHOWN = 3
_MISSING = object()


@dataclass(frozen=True)
class Continuation:
    """How a study continues.

    Attributes:
        study: the study as recorded.
        plan: its recorded plan, with changes that a command may ask for.
        add_trials: the number of trials to add.
    """

    study: Study
    plan: Plan
    add_trials: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.study.refit is not None and not self.add_trials


def continue_study(
    asked: Plan,
    folder: Path,
    data: str | None,
    *,
    storage: str,
    advice: str,
    warm_start: bool | None = None,
    extends: bool = False,
    note: Callable[[str], None],
) -> Continuation | None:
    """Return how the study in a folder continues; None if it gives way to a new one.

    A study with other settings gives way if it has trained nothing: its record is renamed.

    Args:
        asked: the plan that a command or call asks for.
        folder: the folder of the study; this process holds its lock.
        data: the data that is asked for, by its name; None for the recorded one.
        storage: the folder or URI of the study, for the error.
        advice: what to do if the settings differ, for the error.
        warm_start: whether the trials of other studies are given; None for as recorded.
        extends: whether more trials than recorded, or another final round, extend the study.
        note: called with a line that says that the study gives way.

    Raises:
        InputError: the study was begun with other settings.
    """
    study = load(folder)
    differences = list(compare_plans(asked, study, data, warm_start=warm_start, extends=extends))
    if not differences or any(trial.epochs for trial in study.trial_list):
        check_same_settings(differences, storage, advice)
        recorded = Plan.from_study(study)
        if not extends:
            return Continuation(study, recorded)
        add_trials = 0
        if asked.num_trials > _count_asked(study, recorded.num_trials):
            begun = study.num_proposed if study.has_search_ended else recorded.num_trials
            add_trials = asked.num_trials - begun
        # The call that began the study may be repeated, whatever has changed since.
        if add_trials or dict(asked.final_round) != (study.begun_with.get("final_round") or {}):
            recorded = replace(recorded, final_round=asked.final_round)
        return Continuation(study, recorded, add_trials)
    kept = folder / f"{STORE}.untrained"
    (folder / STORE).replace(kept)
    found = list_some(differences, _MAX_SHOWN, "; ")
    note(
        one_line(
            f"{storage}: begun with other settings ({found}), but no epoch was trained: the study "
            f"begins again with the new ones; the old record is {kept.name}"
        )
    )
    return None


def check_same_settings(differences: Iterable[str], storage: str, advice: str) -> None:
    """Check that work continues with the settings that it was begun with.

    Args:
        differences: the settings that differ, see :func:`compare`.
        storage: the folder or URI of the work.
        advice: what to do if a setting differs.

    Raises:
        InputError: a setting differs.
    """
    if found := list_some(differences, _MAX_SHOWN, "; "):
        raise InputError(f"{storage}: begun with other settings ({found}); {advice}")


def compare_plans(
    plan: Plan,
    study: Study,
    data: str | None,
    *,
    warm_start: bool | None = None,
    extends: bool = False,
) -> Iterator[str]:
    """Yield the settings of a plan that differ from those of a study.

    Stop conditions may change. The space and the settings that may change on resume may be those
    with which the study was begun, or those of its last resumption.

    Args:
        plan: the plan that is asked for.
        study: the study.
        data: the data that is asked for, by its name; None for the recorded one.
        warm_start: whether the trials of other studies are given; None for as recorded.
        extends: whether the number of trials and the final round may differ. As on the command
            line, a search that has ended gets another final round only with more trials.
    """
    now, before = plan.as_dict(), Plan.from_study(study).as_dict()
    begun = study.begun_with or study.settings
    if now["space"] not in (before["space"], begun["space"]):
        for difference in compare(now["space"], before["space"]):
            yield f"space: {difference}"
    yield from compare(now["config"], {**before["config"], "epochs": begun["config"]["epochs"]})
    before |= {"data": study.settings["data"], "warm_start": bool(before["warm_start"])}
    now |= {"data": before["data"] if data is None else data}
    now |= {"warm_start": before["warm_start"] if warm_start is None else warm_start}
    free = {each.name for each in STUDY_SETTINGS if each.stops}
    if extends:
        num_asked = _count_asked(study, before["trials"])
        gets_more = not study.has_search_ended or now["trials"] > num_asked
        free |= {"trials", "final_round"} if gets_more else {"trials"}
    free |= {
        each.name
        for each in STUDY_SETTINGS
        if (each.changes or each.name == "points")
        and (now[each.name] or None) == (begun.get(each.name) or None)
    }
    names = [each.name for each in STUDY_SETTINGS if each.name not in free]
    names += ["data", "warm_start"]
    yield from compare(*({name: each[name] for name in names} for each in (now, before)))


def _count_asked(study: Study, recorded: int) -> int:
    """Return how many trials a study was asked for, of which a search may leave out some.

    Once a search has ended, a resumption records only those that it proposed.
    """
    return max(recorded, int(study.begun_with.get("trials") or 0))


def compare(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``NAME: BEFORE, now NOW`` for each value of a mapping that differs from another's."""
    for name in {**before, **now}:
        old, new = (_show(values.get(name, _MISSING)) for values in (before, now))
        is_same_task = name == "task" and is_same_code(*map(str, (now[name], before[name])))
        if old != new and not is_same_task:
            yield f"{name}: {old}, now {new}"


def _show(value: Any) -> str:
    return "none" if value is _MISSING else json.dumps(value, default=str)
