"""What the commands share: how they speak, and what they read and write."""

import contextlib
import itertools
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from raytune_yesno.commands.display import Display
from raytune_yesno.commands.settings import DEFAULT_DATA, resume_command
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
from raytune_yesno.files.remote import LOCK

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus
    from raytune_yesno.tasks.task import Data


def say(options: Namespace, results: TextIO, *words: object) -> None:
    """Print a result for people, unless JSON was asked for: then it goes to standard error."""
    print(*words, file=sys.stderr if options.json else results, flush=True)


def note(text: str) -> None:
    """Print what is no result but good to know."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def telling_way_on(command: str, file: Path, place: str | None = None) -> Iterator[None]:
    """Let what stops the work say with what to go on; arguments as of :func:`resume_command`.

    Raises:
        Interrupted: a signal stopped it.
        WorkError: a file could not be written or read.
    """
    try:
        yield
    except Exception as error:
        way_on = resume_command(command, file, place)
        if stop := find_interruption(error):
            raise Interrupted(stop.signum, way_on) from None
        if isinstance(error, UnfinishedError) and way_on:
            raise WorkError(f"{error}; once that is mended, resume with: {way_on}") from error
        if isinstance(error, OSError) and error.filename and way_on:
            raise WorkError(
                f"{error.filename}: {error.strerror}; what was reached is saved, and once that is "
                f"mended it goes on with: {way_on}"
            ) from error
        raise


def describe_corpus(corpus: "Corpus", folder: Path | None) -> dict[str, Any]:
    """Return what the JSON object says of a corpus."""
    where = {"folder": str(folder.absolute())} if folder else {}
    return {
        "recordings": len(corpus),
        "words": corpus.num_words,
        "fingerprint": corpus.fingerprint,
        "problems": [],
        **where,
    }


def read_data(settings: Mapping[str, Any], options: Namespace, config: Config) -> "Data | None":
    """Read the data of a config's task, once; None if the task needs none."""
    from raytune_yesno.tasks.task import load_data

    display = Display()
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
    """Print what the task has to say of its data, such as that they are few."""
    remarks = getattr(find_task(config.task), "remarks", None)
    for remark in remarks(config, data) if remarks and data else ():
        note(remark)


@contextlib.contextmanager
def open_folder(
    out: str | None, kind: str, *, resume: str | None = None, record: str = ""
) -> Iterator[tuple[Path, Callable[[], None] | None]]:
    """Give the folder that a command writes, and keep other commands from writing there.

    Args:
        out: the folder of new work; None for one below ``kind`` that is named by the time.
        resume: the folder of the work to resume.
        record: the file in it without which there is nothing to resume.

    Yields:
        The folder, and what to call before a write (see :meth:`Lock.check`).

    Raises:
        InputError: the folder of new work is not empty, another command writes there, or it cannot
            be written to.
    """
    from raytune_yesno.files.lock import hold

    if resume:
        folder = Path(resume).absolute()
        if not (folder / record).is_file():
            yield folder, None  # nothing to resume, as the command will say
            return
        with hold(folder, note) as lock:
            yield folder, lock.check
        return
    asked = Path(out or Path(kind, time.strftime("%Y-%m-%d_%H-%M-%S")))
    with contextlib.ExitStack() as closing:
        for number in itertools.count(1):
            folder = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
            try:
                check_new_folder(str(folder))
                with contextlib.ExitStack() as held:
                    lock = held.enter_context(hold(folder.absolute(), note))
                    check_new_folder(str(folder), is_locked=True)
                    closing.enter_context(held.pop_all())
                break
            except InputError:
                if out or not folder.exists():  # two that were named in the same second
                    raise
        yield folder.absolute(), lock.check


def check_new_folder(out: str, *, is_locked: bool = False) -> None:
    """Raise InputError if a folder is not empty or cannot be written to.

    Args:
        is_locked: this process holds the folder's lock. Otherwise a lock in it is another
            command's, and taking it tells whose.
    """
    if "://" in out:
        raise InputError(
            f"--out {out}: give a folder, one that all machines reach; `tune` alone writes to such "
            "a storage"
        )
    folder = Path(out)
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if LOCK in found and not is_locked:
        return
    if found - {LOCK} or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"--out {folder}: it exists and is not empty; give a new folder, or "
            f"--resume {quote(str(folder))}"
        )
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: {existing} is no folder that can be written to")
