"""Helpers of the commands: printed output, resume hints, data and output folders."""

import contextlib
import itertools
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from raytune_yesno.commands.display import Display, fit_lines
from raytune_yesno.commands.existing import is_begun, set_aside
from raytune_yesno.commands.settings import DEFAULT_DATA, resume_command
from raytune_yesno.commands.terminal import clear_progress
from raytune_yesno.config import Config, find_task
from raytune_yesno.errors import (
    InputError,
    Interrupted,
    UnfinishedError,
    WorkError,
    find_interruption,
    one_line,
    quote,
)
from raytune_yesno.files.remote import LOCK, is_remote

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus
    from raytune_yesno.tasks.task import Data


def say(options: Namespace, results: TextIO, *words: object) -> None:
    """Print a result as text; to standard error if ``--json`` was given."""
    clear_progress()
    stream = sys.stderr if options.json else results
    print(fit_lines(" ".join(map(str, words)), stream), file=stream, flush=True)


def note(text: str) -> None:
    """Print a note to standard error."""
    clear_progress()
    print(fit_lines(text, sys.stderr), file=sys.stderr, flush=True)


def announce(options: Namespace, step: str) -> None:
    """Show on a terminal a step that takes a moment; the next output replaces it.

    Elsewhere nothing is printed: an error in the input stays the only line.
    """
    if (display := Display(quiet=options.quiet)).live:
        display.show(step)


@contextlib.contextmanager
def with_resume_hint(
    command: str, file: Path, storage: str | None = None, task: str = Config.task
) -> Iterator[None]:
    """Add the command that resumes the work to any error that stops it.

    Args:
        command: ``train`` or ``tune``.
        file: the record of the work; without it there is nothing to resume.
        storage: the folder or URI to resume from [the folder of ``file``].
        task: the task of the work.

    Raises:
        Interrupted: a signal stopped the work.
        WorkError: a file could not be written or read.
    """
    try:
        yield
    except Exception as error:
        hint = resume_command(command, file, storage, task)
        if stop := find_interruption(error):
            raise Interrupted(stop.signum, hint) from None
        if isinstance(error, UnfinishedError) and hint:
            first, *rest = error.args
            more = f"{first}; fix the cause, then resume with: {hint}"
            raise WorkError(more, *rest) from error
        if isinstance(error, OSError) and error.filename and hint:
            raise WorkError(
                f"{error.filename}: {error.strerror}; progress is saved: fix the cause, then "
                f"resume with: {hint}"
            ) from error
        raise


def describe_corpus(corpus: "Corpus", folder: Path | None) -> dict[str, Any]:
    """Return the entries of the JSON object that describe a corpus."""
    where = {"folder": str(folder.absolute())} if folder else {}
    return {
        "recordings": len(corpus),
        "words": corpus.num_words,
        "fingerprint": corpus.fingerprint,
        "problems": [],
        **where,
    }


def read_data(settings: Mapping[str, Any], options: Namespace, config: Config) -> "Data | None":
    """Load the data of a config's task and print its notes; return None if the task has no data."""
    from raytune_yesno.tasks.task import load_data

    announce(options, "reading the data")
    display = Display(quiet=options.quiet)
    data = load_data(
        config,
        settings.get("data", DEFAULT_DATA),
        skip_bad=options.skip_bad,
        progress=display.show_bytes,
    )
    display.close()
    if data:
        for remark in getattr(data, "notes", ()):
            note(one_line(f"{data.source}: {remark}"))
    return data


def remark_on_data(data: "Data | None", config: Config) -> None:
    """Print the task's remarks on its data, such as a warning that there is little of it."""
    remarks = getattr(find_task(config.task), "remarks", None)
    for remark in remarks(config, data) if remarks and data else ():
        note(remark)


@contextlib.contextmanager
def open_folder(
    out: str | None,
    kind: str,
    *,
    resume: str | None = None,
    record: str = "",
    fresh: bool = False,
) -> Iterator[tuple[Path, Callable[[], None] | None]]:
    """Lock the output folder of a command, so that no other command writes to it.

    Args:
        out: the folder of new work, or of work with a ``record`` to continue; None for a new one
            below ``kind``, named by the time.
        kind: the parent folder of unnamed work, ``runs`` or ``studies``.
        resume: the folder of the work to resume.
        record: the file without which there is nothing to resume or continue.
        fresh: whether work in ``out`` is kept under another name instead of continued.

    Yields:
        The folder, and a function to call before each write (see :meth:`Lock.check`); None if there
        is nothing to resume.

    Raises:
        InputError: the folder of new work is not empty or not writable, or another command writes
            to it.
    """
    from raytune_yesno.files.lock import hold

    _refuse_uri(out)
    if fresh and out:
        set_aside(out, record, note)
    if out and record and is_begun(Path(out), record):
        resume = resume or out
    if resume:
        folder = Path(resume).absolute()
        if not (folder / record).is_file():
            yield folder, None  # the command reports that there is nothing to resume
            return
        with hold(folder, note) as lock:
            yield folder, lock.check
        return
    asked = Path(out or Path(kind, time.strftime("%Y-%m-%d_%H-%M-%S")))
    with contextlib.ExitStack() as closing:
        for number in itertools.count(1):
            folder = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
            try:
                check_new_folder(str(folder), record)
                with contextlib.ExitStack() as held:
                    lock = held.enter_context(hold(folder.absolute(), note))
                    check_new_folder(str(folder), record, is_locked=True)
                    closing.enter_context(held.pop_all())
                break
            except InputError:
                if out or not folder.exists():  # two commands chose the same name within a second
                    raise
        yield folder.absolute(), lock.check


def _refuse_uri(out: str | None) -> None:
    if is_remote(out):
        raise InputError(
            f"--out {out}: give a folder that all nodes reach; only `raytune-yesno tune` writes to "
            "a URI"
        )


def check_new_folder(out: str, record: str = "", *, is_locked: bool = False) -> None:
    """Check that a folder for new work is empty and writable.

    Args:
        out: the folder; it need not exist.
        record: the file of begun work. One without a complete line is deleted, and so is
            ``record.part``: their command was killed in its first write.
        is_locked: this process holds the folder's lock. Otherwise a lock belongs to another
            command: the folder passes, and the attempt to lock it names that command.

    Raises:
        InputError: the folder is not empty, not writable, or a URI.
    """
    _refuse_uri(out)
    folder = Path(out)
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if LOCK in found and not is_locked:
        return
    if record and not is_begun(folder, record):
        for name in {record, f"{record}.part"} & found:
            found.remove(name)
            if is_locked:
                (folder / name).unlink()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: it is a file; give a folder")
    if found - {LOCK}:
        raise InputError(
            f"--out {folder}: it exists and is not empty; give a new folder, or "
            f"--resume {quote(str(folder))}"
        )
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: {existing} is not a writable folder")
