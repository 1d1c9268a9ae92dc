"""Helpers of the commands: printed output, resume hints, data and output folders."""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.display import Display, fit_lines
from raytune_yesno.commands.settings import DEFAULT_DATA, refuse_data, resume_command
from raytune_yesno.commands.terminal import clear_progress
from raytune_yesno.config import Config
from raytune_yesno.errors import (
    Interrupted,
    UnfinishedError,
    WorkError,
    find_interruption,
    one_line,
)

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus
    from raytune_yesno.tasks.task import Data


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
    """Load the data of a config's task and print its notes; return None if the task has no data.

    Raises:
        InputError: the data cannot be read, or an option names some that the task does not read.
    """
    from raytune_yesno.tasks.task import load_data

    refuse_data(options, config.task)
    announce(options, "reading the data")
    display = Display(quiet=options.quiet)
    data = load_data(
        config,
        settings.get("data", DEFAULT_DATA),
        skip_bad=bool(settings.get("skip_bad")),
        progress=display.show_bytes,
    )
    display.close()
    if data is not None:
        for remark in getattr(data, "notes", ()):
            note(one_line(f"{data.source}: {remark}"))
    return data


def remark_on_data(data: "Data | None", config: Config) -> None:
    """Print the task's remarks on its data, such as a warning that there is little of it."""
    remarks = config.declaration.remarks
    for remark in remarks(config, data) if remarks and data is not None else ():
        note(remark)
