"""Files and folders: replaced as a whole, and opened where strangers may write."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def find_existing(path: Path) -> Path:
    """Return an absolute path, or its nearest parent that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def open_plain(path: Path, flags: int) -> int:
    """Open a file in a folder that may be hostile; return its descriptor.

    Raises:
        OSError: it cannot be opened, or is a link (``ELOOP``), or a pipe, a folder or another thing
            that is no file (``EINVAL``). Such a thing neither leads elsewhere nor blocks.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return descriptor


@contextmanager
def replace_file(file: Path) -> Iterator[Path]:
    """Yield the path of a temporary file to write, and on success rename it to ``file``."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def is_part(name: str, file: str) -> bool:
    """Return whether a name is that of a file which a killed :func:`replace_file` has left."""
    return name.startswith(f".{file}.")


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill, and on success rename it to ``folder``.

    An existing folder is replaced; on failure it is restored.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = scratch.with_name(scratch.name + "-old")
    try:
        yield scratch
        scratch.chmod(0o755)
        if folder.exists():
            folder.rename(old)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if old.exists():
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(folder)


def recover_folder(folder: Path) -> None:
    """Clean up after a killed :func:`replace_folder`; no other process may be writing."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        if left.name.endswith("-old") and not folder.exists():
            left.rename(folder)
        else:
            shutil.rmtree(left, ignore_errors=True)
