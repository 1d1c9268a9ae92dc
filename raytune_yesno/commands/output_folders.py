"""Output folders of commands: new ones, and those with work that the same command continues."""

import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from raytune_yesno.commands.common import note
from raytune_yesno.commands.recorded_run import SETTINGS_FILE
from raytune_yesno.commands.settings import read_yaml, resume_command
from raytune_yesno.errors import InputError, one_line, quote
from raytune_yesno.files.atomic import find_existing, is_part
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.files.remote import LOCK, is_remote
from raytune_yesno.study.store import COMMAND_ID, STORE, read_events
from raytune_yesno.task_registry import name_task

_COMMANDS = {STORE: "tune", SETTINGS_FILE: "train"}
"""Which command continues the work of a folder, by its record."""


@contextlib.contextmanager
def open_folder(
    out: str | None,
    kind: str,
    *,
    resume: str | None = None,
    record: str = "",
    fresh: bool = False,
    name: str = "--out",
) -> Iterator[OutputFolder]:
    """Lock the output folder of a command, so that no other command writes to it.

    Args:
        out: the folder of new work, or of work with a ``record`` to continue; None for a new one
            below ``kind``, named by the time.
        kind: the parent folder of unnamed work, ``runs`` or ``studies``.
        resume: the folder of the work to resume.
        record: the file without which there is nothing to resume or continue.
        fresh: whether work in ``out`` is kept under another name instead of continued.
        name: what the user knows ``out`` by, for errors.

    Yields:
        The folder. It is not locked if there is nothing to resume, which the command reports.

    Raises:
        InputError: the folder of new work is not empty or not writable, or another command writes
            to it.
    """
    from raytune_yesno.files.lock import hold

    _refuse_uri(out, name)
    if fresh and out:
        set_aside(out, record)
    if out and record and is_begun(Path(out), record):
        resume = resume or out
    if resume:
        folder = Path(resume).absolute()
        if not (folder / record).is_file():
            yield OutputFolder.of(folder)
            return
        with hold(folder, note) as lock:
            yield OutputFolder.of(folder, lock.check)
        return
    asked = Path(out or Path(kind, time.strftime("%Y-%m-%d_%H-%M-%S")))
    with contextlib.ExitStack() as closing:
        for number in itertools.count(1):
            folder = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
            try:
                check_new_folder(str(folder), record, name=name)
                with contextlib.ExitStack() as held:
                    lock = held.enter_context(hold(folder.absolute(), note))
                    check_new_folder(str(folder), record, name=name, is_locked=True)
                    closing.enter_context(held.pop_all())
                break
            except InputError:
                if out or not folder.exists():  # two commands chose the same name within a second
                    raise
        yield OutputFolder.of(folder, lock.check)


def _refuse_uri(out: str | None, name: str) -> None:
    if is_remote(out):
        raise InputError(
            f"{name} {out}: give a folder that all nodes reach; only `raytune-yesno tune` writes "
            "to a URI"
        )


def check_new_folder(
    out: str, record: str = "", *, name: str = "--out", is_locked: bool = False
) -> None:
    """Check that a folder for new work is empty and writable.

    Args:
        out: the folder; it need not exist.
        record: the file of begun work. One without a complete line is deleted, and so are the
            parts of it that :func:`replace_file` leaves: their command was killed in its first
            write.
        name: what the user knows the folder by, for errors.
        is_locked: this process holds the folder's lock. Otherwise a lock belongs to another
            command: the folder passes, and the attempt to lock it names that command.

    Raises:
        InputError: the folder is not empty, not writable, or a URI.
    """
    _refuse_uri(out, name)
    folder = Path(out)
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if LOCK in found and not is_locked:
        return
    if record and not is_begun(folder, record):
        parts = (record, f"{record}.part")  # the second is of earlier versions
        for each in {name for name in found if name in parts or is_part(name, record)}:
            found.remove(each)
            if is_locked:
                (folder / each).unlink()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{name} {folder}: it is a file; give a folder")
    if found - {LOCK}:
        begun = [each for each in _COMMANDS if is_begun(folder, each)]
        command = _resume_begun(folder / begun[0]) if begun else ""
        hint = f", or continue its work: {command}" if command else ""
        raise InputError(
            f"{name} {folder}: it exists and is not empty; give a new or empty folder{hint}"
        )
    folder = folder.absolute()
    existing = find_existing(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{name} {folder}: {existing} is not a writable folder")


def _resume_begun(record: Path) -> str:
    """Return the command that continues begun work, with the task if that is the user's own."""
    task: object = None
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # it is damaged
        if record.name == STORE:
            task = read_events(record.parent)[0][0]["config"]["task"]
        else:
            task = read_yaml(record, "a run's folder")["config"]["task"]
    known = {"task": task} if isinstance(task, str) else {}
    return resume_command(_COMMANDS[record.name], record, **known)


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


def is_repeated(folder: Path, record: str) -> bool:
    """Return whether this command has changed a record before: it was lost, and is repeated."""
    command_id = os.environ.get(COMMAND_ID, "")
    try:  # a UUID stands nowhere else in a record
        return bool(command_id) and command_id.encode() in (folder / record).read_bytes()
    except OSError:
        return False


def refuse_fresh_uri(out: str | None) -> None:
    """Raise InputError for ``--fresh`` with a URI."""
    if is_remote(out):
        raise InputError(
            f"--fresh: work at a URI is not renamed; give a new --out instead of {out}"
        )


def set_aside(out: str, record: str) -> None:
    """Rename the folder of earlier work to ``NAME-1``, ``NAME-2``, …, for ``--fresh``.

    Work that this command began itself, before it was lost and repeated, stays.

    Raises:
        InputError: another command writes to the folder, or it cannot be renamed.
    """
    from raytune_yesno.files.lock import hold

    refuse_fresh_uri(out)
    folder = Path(out).absolute()
    if not is_begun(folder, record) or is_repeated(folder, record):
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


def advise_on_others(command: str, storage: str, task: str) -> str:
    """Return what to do if ``train`` or ``tune`` finds work with other settings, for its task."""
    resumed = f"raytune-yesno {command} --resume {quote(storage)}{name_task(task)}"
    return (
        f"continue with the recorded ones: {resumed}, or begin a new one: --fresh or another --out"
    )
