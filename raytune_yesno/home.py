"""The user's cache, and a home folder for users without one, as in containers."""

import os
import stat
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return this package's folder in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "raytune-yesno"


def expand_home(path: str | Path) -> Path:
    """Return a path with the user's home in place of a leading ``~``; ``~x`` of no user stays."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


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
