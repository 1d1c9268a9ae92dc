"""A home folder for users without one, such as unknown user ids in containers."""

import os
import stat
import tempfile
from pathlib import Path


def ensure_home() -> None:
    """Set ``HOME`` and ``USER`` if the system has no values for them.

    Libraries read both. The folder is private to the user, because Ray stores its token there.
    """
    user = f"user-{os.getuid()}" if hasattr(os, "getuid") else "user"
    if not any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        os.environ["USER"] = user
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(_make_private(f"raytune-yesno-{user}"))


def _make_private(name: str) -> Path:
    """Return a private temporary folder of this name; of a new name if another user owns it."""
    folder = Path(tempfile.gettempdir(), name)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        status = folder.lstat()
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
        if not is_ours or status.st_mode & 0o077:
            return Path(tempfile.mkdtemp(prefix=f"{name}-"))
    return folder
