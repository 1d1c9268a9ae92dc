"""A folder for Ray's session whose path is short enough for the sockets in it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from raytune_yesno.errors import InputError

MAX_BYTES = 40
"""Of the folder's path. A socket's has 107 at most, and Ray appends up to 66."""
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a private folder is made there


@contextlib.contextmanager
def short_temp_folder() -> Iterator[str | None]:
    """Give the folder for Ray's files; None where its own choice will do.

    Ray writes to ``RAY_TMPDIR``, else to ``TMPDIR``. If that path is too long, a short link leads
    there, so the files are where the user wants them.

    Raises:
        InputError: there is no folder for the link.
    """
    name = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    wanted = os.path.abspath(os.environ.get(name) or tempfile.gettempdir())
    if len(os.fsencode(wanted)) + len("/ray") <= MAX_BYTES:
        yield None
        return
    for place in _SHORT:
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="ray-", dir=place))
            break
    else:
        raise InputError(
            f"{name}: {wanted} is too long for Ray's sockets ({MAX_BYTES - len('/ray')} bytes at "
            "most); set RAY_TMPDIR to a folder with a shorter path"
        )
    link = folder / "t"
    link.symlink_to(wanted)
    try:
        yield str(link / "ray")
    finally:
        link.unlink()
        folder.rmdir()
