"""Storage of claims: a local folder with the kernel's lock, or an object store."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Protocol

from raytune_yesno.files.atomic import open_plain
from raytune_yesno.files.remote import LOCK, is_remote, open_filesystem

_MAX_BYTES = 4096  # of a claim; the folder may be hostile
_NO_KERNEL_LOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
_MAX_MISSES = 10
SUFFIX = ".json"
_KERNEL = "kernel"


class Storage(Protocol):
    """Storage of claims.

    Attributes:
        is_locked: whether this process has the kernel's lock; None if there is no such lock.
        device: the mounted file system that the kernel's lock belongs to.
    """

    is_locked: bool | None
    device: str

    def try_lock(self) -> None:
        """Try once to get the kernel's lock; the result is in ``is_locked``."""

    def is_away(self) -> bool:
        """Return whether the storage is empty, which means that it is not mounted."""

    def names(self) -> list[str]:
        """Return the names of the claims."""

    def read(self, name: str) -> bytes | None:
        """Return a claim's content: None if there is no such claim, empty if it cannot be read.

        A file that is being written may be empty for a moment.
        """

    def write(self, name: str, content: bytes, *, new: bool) -> None:
        """Write a claim; if not ``new``, overwrite one of the same length."""

    def delete(self, name: str) -> None:
        """Delete a claim, if it exists."""

    def close(self) -> None:
        """Release the kernel's lock, and delete empty folders."""


class LocalStorage:
    """Claims in a local folder, with the kernel's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOCK
        self.created: list[Path] = []
        self.is_locked: bool | None = False
        self.device = ""
        self.misses = 0

    def try_lock(self) -> None:
        """Try once to get the kernel's lock."""
        from filelock import lock_descriptor

        try:
            self._make_folders()
            descriptor = open_plain(self.path / _KERNEL, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            self.misses += 1  # another command releases the lock and deletes the folders
            if self.misses > _MAX_MISSES:
                raise
            return
        is_locked: bool | None = None
        try:
            is_locked = lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            if error.errno not in _NO_KERNEL_LOCK:
                os.close(descriptor)
                raise
        status = os.fstat(descriptor)
        if is_locked is False or not status.st_nlink:
            os.close(descriptor)
            return
        self.descriptor, self.is_locked = descriptor, is_locked
        self.device = str(status.st_dev)

    def _make_folders(self) -> None:
        for path in reversed((self.path, *self.path.parents)):
            with contextlib.suppress(FileExistsError):
                if not path.exists():
                    path.mkdir()
                    self.created.append(path)
        if not stat.S_ISDIR(self.path.lstat().st_mode):
            raise OSError(errno.ENOTDIR, "not a folder", str(self.path))

    def is_away(self) -> bool:
        return not self.folder.is_dir() or not any(self.folder.iterdir())

    def names(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [path.name for path in self.path.iterdir() if path.suffix == SUFFIX]
        return []

    def read(self, name: str) -> bytes | None:
        try:
            descriptor = open_plain(self.path / name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError:
            return b""
        try:
            return os.read(descriptor, _MAX_BYTES)
        finally:
            os.close(descriptor)

    def write(self, name: str, content: bytes, *, new: bool) -> None:
        # Overwritten in place, because a full disk has no room for another file.
        flags = os.O_WRONLY | (os.O_CREAT | os.O_EXCL if new else 0)
        descriptor = open_plain(self.path / name, flags)
        try:
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.path / name).unlink()

    def close(self) -> None:
        if self.is_locked is False:
            return
        with contextlib.suppress(OSError):
            # Without the kernel's lock, another command may be about to write its claim.
            if self.is_locked and not self.names():
                (self.path / _KERNEL).unlink()
                for path in {self.path: 0, **dict.fromkeys(reversed(self.created))}:
                    path.rmdir()
        os.close(self.descriptor)


class RemoteStorage:
    """Claims in an object store, through pyarrow."""

    is_locked: bool | None = None
    device = ""

    def __init__(self, uri: str) -> None:
        self.filesystem, root = open_filesystem(uri)
        self.path = f"{root}/{LOCK}"

    def try_lock(self) -> None:
        self.filesystem.create_dir(self.path)

    def is_away(self) -> bool:
        return False

    def names(self) -> list[str]:
        from pyarrow import fs

        found = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return [file.base_name for file in found if file.base_name.endswith(SUFFIX)]

    def read(self, name: str) -> bytes | None:
        try:
            with self.filesystem.open_input_stream(f"{self.path}/{name}") as source:
                return bytes(source.read(_MAX_BYTES))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, *, new: bool) -> None:
        with self.filesystem.open_output_stream(f"{self.path}/{name}") as sink:
            sink.write(content)

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.path}/{name}")

    def close(self) -> None:
        pass  # deleting the folder could delete another command's claim


def open_storage(location: str) -> Storage:
    """Return the storage of claims of a folder or URI."""
    return RemoteStorage(location) if is_remote(location) else LocalStorage(Path(location))
