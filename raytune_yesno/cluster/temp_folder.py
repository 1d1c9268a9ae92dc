"""A folder for Ray's session with a path short enough for its sockets."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from raytune_yesno.errors import InputError

MAX_PATH_BYTES = 40
"""Limit of the folder's path. A socket's path has 107 bytes at most; Ray appends up to 66."""
MIN_FREE_BYTES = 2_000_000
"""Free space that Ray needs to start. With less, its processes die with unclear errors."""
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a private folder is made below


@contextlib.contextmanager
def short_temp_folder() -> Iterator[str | None]:
    """Provide the folder for Ray's files.

    Ray writes to ``RAY_TMPDIR``, else to ``TMPDIR``. If that path is too long, this makes a short
    link to it, so that the files are still where the user wants them.

    Yields:
        The folder, or None if Ray's own choice is short enough.

    Raises:
        InputError: the folder cannot be made, its disk is full, or no folder can hold the link.
    """
    name = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    wanted = os.path.abspath(os.environ.get(name) or tempfile.gettempdir())
    try:
        os.makedirs(wanted, exist_ok=True)
        free = shutil.disk_usage(wanted).free
    except OSError as error:
        raise InputError(
            f"{name}: {wanted} cannot be made ({error.strerror}); set it to another folder"
        ) from error
    if free < MIN_FREE_BYTES:
        raise InputError(
            f"{name}: {wanted} has {free / 1e6:.1f} MB free, too few for Ray's files; free some "
            "space, or set RAY_TMPDIR to a folder on another disk"
        )
    if len(os.fsencode(wanted)) + len("/ray") <= MAX_PATH_BYTES:
        yield None
        return
    for parent in _SHORT:
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="ray-", dir=parent))
            break
    else:
        raise InputError(
            f"{name}: {wanted} is too long for Ray's sockets; set RAY_TMPDIR to a folder whose "
            f"path has at most {MAX_PATH_BYTES - len('/ray')} bytes"
        )
    link = folder / "t"
    link.symlink_to(wanted)
    try:
        yield str(link / "ray")
    finally:
        link.unlink()
        folder.rmdir()
