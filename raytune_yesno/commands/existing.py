"""What a command finds in its output folder: nothing, or work that the same command continues."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.errors import InputError, one_line, quote
from raytune_yesno.files.remote import LOCK, is_remote
from raytune_yesno.registry import is_same_code
from raytune_yesno.study.store import STORE
from raytune_yesno.study_settings import STUDY_SETTINGS

if TYPE_CHECKING:
    from raytune_yesno.study import Study
    from raytune_yesno.tuning.plan import Plan

_MAX_SHOWN = 3
_MISSING = object()


def is_begun(folder: Path, record: str) -> bool:
    """Return whether a folder holds the record of begun work.

    A record without a complete first line was being created when its command was killed: the work
    has not begun.
    """
    try:
        with (folder / record).open("rb") as file:
            return file.readline().endswith(b"\n")
    except OSError:
        return False


def refuse_fresh_uri(out: str | None) -> None:
    """Raise InputError for ``--fresh`` with a URI."""
    if is_remote(out):
        raise InputError(
            f"--fresh: work at a URI is not renamed; give a new --out instead of {out}"
        )


def set_aside(out: str, record: str, note: Callable[[str], None]) -> None:
    """Rename the folder of earlier work to ``NAME-1``, ``NAME-2``, …, for ``--fresh``.

    Raises:
        InputError: another command writes to the folder, or it cannot be renamed.
    """
    from raytune_yesno.files.lock import hold

    refuse_fresh_uri(out)
    folder = Path(out).absolute()
    if not is_begun(folder, record):
        return
    number = 1
    while (kept := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    with hold(folder, note):
        try:
            os.rename(folder, kept)
        except OSError as error:
            raise InputError(
                f"--fresh: {folder} cannot be renamed ({error.strerror}); give a new --out"
            ) from None
    shutil.rmtree(kept / LOCK, ignore_errors=True)
    note(one_line(f"--fresh: the earlier work is kept in {kept}"))


def set_aside_untrained(
    study: "Study", differences: Iterator[str], note: Callable[[str], None]
) -> bool:
    """Set the record of a study aside if its settings differ and it has no result to lose.

    Without a finished epoch there is none: the study is begun again, with the settings of the
    command. Its record is kept beside the new one.

    Args:
        study: the study; this process holds the lock of its folder.
        differences: the settings that differ, see :func:`compare`.
        note: prints a line that says what was done.

    Returns:
        Whether the record was set aside.
    """
    if any(trial.epochs for trial in study.trial_list) or not (found := _list_some(differences)):
        return False
    kept = study.path / f"{STORE}.untrained"
    (study.path / STORE).replace(kept)
    note(
        one_line(
            f"{study.path}: begun with other settings ({found}), but no epoch was trained: the "
            f"study begins again with the new ones; the old record is {kept.name}"
        )
    )
    return True


def check_same_settings(differences: Iterator[str], command: str, storage: str) -> None:
    """Check that a command continues work with the settings that it was begun with.

    Args:
        differences: the settings that differ, see :func:`compare`.
        command: ``train`` or ``tune``.
        storage: the folder or URI of the work.

    Raises:
        InputError: a setting differs.
    """
    if found := _list_some(differences):
        raise InputError(
            f"--out {storage}: begun with other settings ({found}); continue with the recorded "
            f"ones: raytune-yesno {command} --resume {quote(storage)}, or begin a new one: --fresh "
            "or another --out"
        )


def _list_some(differences: Iterator[str]) -> str:
    found = list(differences)
    more = f" and {len(found) - _MAX_SHOWN} more" if len(found) > _MAX_SHOWN else ""
    return "; ".join(found[:_MAX_SHOWN]) + more


def compare_plans(
    plan: "Plan", study: "Study", data: str, *, warm_start: bool = False
) -> Iterator[str]:
    """Yield the settings of a command or call that differ from those of the study in its folder.

    Stop conditions may change. The number of trials and the space may be those with which the
    study was begun, or those of its last resumption.

    Args:
        plan: the plan that is asked for.
        study: the study in the folder.
        data: the data that is asked for, by its name.
        warm_start: whether the trials of other studies are given.
    """
    from raytune_yesno.tuning.plan import Plan

    now, before = plan.as_dict(), Plan.from_study(study).as_dict()
    begun = study.begun_with or study.asked
    if now["space"] not in (before["space"], begun["space"]):
        for difference in compare(now["space"], before["space"]):
            yield f"space: {difference}"
    yield from compare(now["config"], {**before["config"], "epochs": begun["config"]["epochs"]})
    if now["trials"] not in (before["trials"], begun["trials"]):
        yield from compare({"trials": now["trials"]}, {"trials": before["trials"]})
    names = [each.name for each in STUDY_SETTINGS if not each.stops and each.name != "trials"]
    yield from compare(*({name: each[name] for name in names} for each in (now, before)))
    if data != study.asked["data"]:
        yield from compare({"data": data}, {"data": study.asked["data"]})
    if warm_start != bool(before["warm_start"]):
        yield "--warm-start is given only once"


def compare(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``NAME: BEFORE, now NOW`` for each value of a mapping that differs from another's."""
    for name in {**before, **now}:
        old, new = (_show(values.get(name, _MISSING)) for values in (before, now))
        is_same_task = name == "task" and is_same_code(*map(str, (now[name], before[name])))
        if old != new and not is_same_task:
            yield f"{name}: {old}, now {new}"


def _show(value: Any) -> str:
    return "none" if value is _MISSING else json.dumps(value, default=str)
