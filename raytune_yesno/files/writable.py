"""Wait for storage that cannot be written to for now: a full disk, or one that is not mounted."""

import errno
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_TRY_AGAIN_S, _SAY_AGAIN_S = 0.5, 60.0


def find_obstacle(folder: Path, size: int) -> OSError | None:
    """Return why ``size`` bytes cannot be written to a folder for now; None if they can.

    A limit on the size of files (``ulimit -f``) is not for now: no wait mends it.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".room-") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return None if error.errno == errno.EFBIG else error
    return None


def wait_until_writable(folder: Path, size: int, note: Callable[[str], None]) -> bool:
    """Wait until ``size`` bytes can be written to a folder.

    Args:
        note: prints why, and again each minute.

    Returns:
        Whether there was anything to wait for.
    """
    said_at = None
    while error := find_obstacle(folder, size):
        if said_at is None or time.monotonic() - said_at > _SAY_AGAIN_S:
            said_at = time.monotonic()
            why = f"cannot be written ({error.strerror})"
            note(f"{folder}: {why}; the training waits until it can be")
        time.sleep(_TRY_AGAIN_S)
    return said_at is not None
