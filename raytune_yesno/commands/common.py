"""What the commands share: how they speak, and what they read and write."""

import contextlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from raytune_yesno.commands.display import Display
from raytune_yesno.commands.settings import DEFAULT_DATA, resume_command
from raytune_yesno.config import Config
from raytune_yesno.errors import (
    InputError,
    Interrupted,
    WorkError,
    find_interruption,
    one_line,
    quote,
)

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


def new_folder(out: str | None, kind: str) -> Path:
    """Return the folder to write: what was asked for, or one named by the time."""
    if out and "://" in out:
        raise InputError(
            f"--out {out}: give a folder, one that all machines reach; `tune` alone writes to such "
            "a storage"
        )
    folder = Path(out) if out else Path(kind) / time.strftime("%Y-%m-%d_%H-%M-%S")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"--out {folder}: it exists and is not empty; give a new folder, or "
            f"--resume {quote(str(folder))}"
        )
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: {existing} is no folder that can be written to")
    return folder
