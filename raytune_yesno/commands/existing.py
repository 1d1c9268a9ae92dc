"""What a command finds in its output folder: nothing, or work that the same command continues."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from raytune_yesno.errors import InputError, one_line, quote
from raytune_yesno.files.remote import LOCK, is_remote


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


def advise_on_others(command: str, storage: str) -> str:
    """Return what to do if ``train`` or ``tune`` finds work with other settings."""
    return (
        f"continue with the recorded ones: raytune-yesno {command} --resume {quote(storage)}, or "
        "begin a new one: --fresh or another --out"
    )
