"""Waiting for storage that is temporarily unwritable: a full disk, or one that is not mounted."""

import errno
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a full disk."""

_TRY_AGAIN_S, _SAY_AGAIN_S = 0.5, 60.0
_ZEROS = bytes(1 << 20)


def find_obstacle(folder: Path, size: int) -> OSError | None:
    """Return why ``size`` bytes temporarily cannot be written to a folder, or None if they can.

    A limit on file sizes (``ulimit -f``) is not temporary: waiting does not help, so return None.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".room-") as file:
            _reserve(file, size)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return None if error.errno == errno.EFBIG else error
    return None


def _reserve(file: IO[bytes], size: int) -> None:
    """Let an empty file occupy ``size`` bytes; write them only where they cannot be reserved."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # not on macOS
        pass
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    else:
        return
    for start in range(0, size, len(_ZEROS)):
        file.write(_ZEROS[: size - start])


def wait_until_writable(folder: Path, size: int, note: Callable[[str], None]) -> bool:
    """Wait until ``size`` bytes can be written to a folder.

    Args:
        folder: the folder.
        size: bytes that must fit.
        note: prints the reason, at first and once a minute.

    Returns:
        Whether it had to wait.
    """
    said_at = None
    while error := find_obstacle(folder, size):
        if said_at is None or time.monotonic() - said_at > _SAY_AGAIN_S:
            said_at = time.monotonic()
            why = f"cannot be written ({error.strerror})"
            note(f"{folder}: {why}; training waits, free some space or mount the disk")
        time.sleep(_TRY_AGAIN_S)
    return said_at is not None
