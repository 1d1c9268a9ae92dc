"""One writer at a time for the folder or URI of a study or run.

A command that writes holds two things in ``.lock``, a subfolder of what it writes to:

``kernel``
    a file that the kernel locks for the process (``flock``). The kernel releases it when the
    process ends, for any reason; NFS servers share it between hosts. Object stores have none. Some
    network file systems have none, or a separate one for each host.
``TOKEN.json``
    a claim: a description of the process, and a counter that a thread increments every ``BEAT_S``
    seconds. Without a kernel lock, a claim is valid until its counter has not changed for
    ``STALE_S`` seconds on the reader's own clock, so clocks of hosts may differ.

Each command first writes its claim and then lists the others. Of two commands that start at once,
at least one therefore sees the other, without an atomic "create if absent". A holder that was
suspended for longer than ``STALE_S`` finds its claim deleted and stops before it writes again.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shlex
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from raytune_yesno.errors import InputError, Interrupted, WorkError, one_line
from raytune_yesno.files.remote import LOCK, is_remote, open_filesystem

BEAT_S = 2.0
STALE_S = 20.0

_KERNEL = "kernel"
_SUFFIX = ".json"
_LOOK_EVERY_S = 0.2
_PATIENCE_S = 5.0
_SETTLE_S = 1.0
_MAX_MISSES = 10
_MAX_BYTES = 4096  # of a claim; the folder may be hostile
_NO_KERNEL_LOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


@dataclass(frozen=True)
class Claim:
    """The content of a claim: the process that wrote it.

    Attributes:
        host: the host's name.
        pid: the process, in its own namespace.
        since: when it asked for the lock, in seconds since 1970 on its clock.
        command: its command line, without passwords.
        kernel: the running kernel; equal for all containers of a machine.
        device: the kernel's number of the file system that contains the folder.
        namespace: the namespace of ``pid``.
        started: when the process started; distinguishes it from a later one of the same ``pid``.
        is_holding: whether it holds the lock; otherwise it is waiting for it.
    """

    host: str
    pid: int
    since: float
    command: str
    kernel: str
    device: str
    namespace: str
    started: str
    is_holding: bool

    def __str__(self) -> str:
        since = "an unknown time"
        with contextlib.suppress(ValueError, OverflowError, OSError):
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return one_line(
            f"process {self.pid} on host {self.host}, since {since}, `{self.command[:200]}`"
        )

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; False if unknown."""
        if (self.kernel, self.namespace) != (_kernel(), _namespace()):
            return False
        return _started(self.pid) != self.started


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
            descriptor = self._open(_KERNEL, os.O_RDWR | os.O_CREAT)
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

    def _open(self, name: str, flags: int) -> int:
        # A hostile folder may contain links and pipes: neither follow nor block.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path / name, flags, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a file", str(self.path / name))
        return descriptor

    def is_away(self) -> bool:
        return not self.folder.is_dir() or not any(self.folder.iterdir())

    def names(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [path.name for path in self.path.iterdir() if path.suffix == _SUFFIX]
        return []

    def read(self, name: str) -> bytes | None:
        try:
            descriptor = self._open(name, os.O_RDONLY)
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
        descriptor = self._open(name, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if new else 0))
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
        return [file.base_name for file in found if file.base_name.endswith(_SUFFIX)]

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


class Lock:
    """A lock of this process.

    Attributes:
        lost: why the lock was lost; empty while it is held.
    """

    def __init__(self, location: str, storage: Storage) -> None:
        self.location, self.storage = location, storage
        self.token = secrets.token_hex(8) + _SUFFIX
        self._claim = describe_process()
        self._announced: set[str] = set()
        self.is_holding = False
        self.lost = ""
        self._beats = 0
        self._renewed_at = time.monotonic()
        self._released = threading.Event()
        self._renewing = threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def acquire(self, note: Callable[[str], None]) -> None:
        """Write the claim, and wait until no other claim is valid.

        Raises:
            InputError: another process holds the lock.
        """
        self._lock_kernel()
        self.storage.write(self.token, self._content(), new=True)
        self._renewed_at = time.monotonic()
        self._thread.start()
        seen: dict[str, tuple[float, bytes]] = {}  # when each claim changed last, and its content
        while others := self._others():
            now = time.monotonic()
            for name, content in others.items():
                claim = parse_claim(content)
                changed_at, before = seen.setdefault(name, (now, content))
                if claim and (claim.is_dead or self._outlived(claim)):
                    self.storage.delete(name)
                elif content != before:
                    seen[name] = (now, content)
                    # Of two simultaneous requests, the smaller token wins.
                    if (claim and claim.is_holding) or name < self.token:
                        raise _refuse(self.location, claim)
                elif now - changed_at > STALE_S:
                    self.storage.delete(name)
                elif changed_at < now - 2 * BEAT_S and name not in self._announced:
                    self._announced.add(name)
                    note(
                        f"{self.location}: locked by {claim or 'another command'}, which shows no "
                        f"sign of life; it is taken over after {STALE_S:.0f} s without one"
                    )
            time.sleep(_LOOK_EVERY_S)
        self.is_holding = True
        self._renew()

    def _lock_kernel(self) -> None:
        """Get the kernel's lock, if there is one.

        A killed process holds it until its memory is freed. A live one increments its counter.
        """
        began, first = time.monotonic(), None
        while True:
            self.storage.try_lock()
            if self.storage.is_locked is not False:
                return
            seen = self._others()
            if time.monotonic() - began > _PATIENCE_S or (first and seen != first):
                raise _refuse(self.location, self._find_holder())
            first = first or seen
            time.sleep(_LOOK_EVERY_S)

    def check(self) -> None:
        """Raise WorkError if the lock is lost.

        Call this before a write: a process that was suspended may have lost the lock unnoticed.
        """
        if time.monotonic() - self._renewed_at > STALE_S / 2:
            with contextlib.suppress(OSError):
                self._renew()
        if self.lost:
            raise WorkError(self.lost)

    def release(self) -> None:
        """Delete the claim and release the kernel's lock."""
        with self._renewing:
            self._released.set()
            with contextlib.suppress(OSError):
                self.storage.delete(self.token)
            self.storage.close()

    def _beat(self) -> None:
        """Renew the claim until the lock is released; if it is lost, stop the work."""
        while not self._released.wait(BEAT_S) and not self.lost:
            with contextlib.suppress(OSError):  # storage that is temporarily away: try again
                self._renew()
        if self.lost:
            os.kill(os.getpid(), signal.SIGTERM)

    def _renew(self) -> None:
        with self._renewing:
            if self._released.is_set() or self.lost:
                return
            is_late = time.monotonic() - self._renewed_at > STALE_S / 2
            is_there = self.token in self.storage.names()
            if is_there:
                self._beats += 1
                self.storage.write(self.token, self._content(), new=False)
                self._renewed_at = time.monotonic()
                if is_late:  # another command may be about to delete the claim
                    time.sleep(_SETTLE_S)
                    is_there = self.token in self.storage.names()
            elif self.storage.is_away():
                return
            holder = self._find_holder() if is_late or not is_there else None
            if not is_there or (holder and holder.is_holding):
                # It is there again if it was deleted just before it was written.
                self.storage.delete(self.token)
                self.lost = (
                    f"{self.location}: this command was suspended or cut off, and "
                    f"{holder or 'another one'} has taken its lock over; nothing more is written"
                )

    def _others(self) -> dict[str, bytes]:
        names = set(self.storage.names()) - {self.token}
        contents = {name: self.storage.read(name) for name in names}
        return {name: content for name, content in contents.items() if content is not None}

    def _outlived(self, claim: "Claim") -> bool:
        """Whether the kernel would not have given the lock if a claim's process still ran."""
        here = (_kernel(), self.storage.device)
        return bool(self.storage.is_locked) and (claim.kernel, claim.device) == here

    def _find_holder(self) -> "Claim | None":
        """Return another command's claim, the one that holds the lock if any does."""
        claims = [claim for text in self._others().values() if (claim := parse_claim(text))]
        return max(claims, key=lambda claim: (claim.is_holding, claim.since), default=None)

    def _content(self) -> bytes:
        # The counter has a fixed width, so that the file keeps its length.
        state = {"is_holding": str(self.is_holding).ljust(5), "beat": f"{self._beats:012d}"}
        return json.dumps({**self._claim, "device": self.storage.device, **state}).encode()


@contextlib.contextmanager
def hold(location: str | Path, note: Callable[[str], None]) -> Iterator[Lock]:
    """Hold the lock of a folder or URI, which is created if it does not exist.

    Args:
        location: the folder or URI to write to.
        note: prints why it has to wait.

    Raises:
        InputError: another command holds it, or the location cannot be written to.
        WorkError: the lock was lost while this process was suspended or cut off.
    """
    location = str(location)
    lock: Lock | None = None
    try:
        lock = Lock(
            location,
            RemoteStorage(location) if is_remote(location) else LocalStorage(Path(location)),
        )
        lock.acquire(note)
    except BaseException as error:
        if lock:
            lock.release()
        if isinstance(error, OSError):
            reason = error.strerror or str(error).partition("\n")[0]
            raise InputError(f"{location}: cannot be written to ({reason})") from None
        raise
    try:
        yield lock
    except Interrupted:
        if lock.lost:
            raise WorkError(lock.lost) from None
        raise
    finally:
        lock.release()


def find_holder(location: str | Path) -> Claim | None:
    """Return the claim of the command that writes to a folder or URI; None if there is none.

    A claim of another host is believed: nothing tells at once whether its process lives.
    """
    location = str(location)
    storage = (
        RemoteStorage(location) if is_remote(location) else LocalStorage(Path(location).absolute())
    )
    with contextlib.suppress(OSError):
        contents = [storage.read(name) for name in storage.names()]
        claims = [claim for text in contents if text and (claim := parse_claim(text))]
        return next((each for each in claims if each.is_holding and not each.is_dead), None)
    return None


def parse_claim(content: bytes) -> Claim | None:
    """Parse a claim; None if it is damaged."""
    try:
        found = json.loads(content)
        texts = ("host", "command", "kernel", "device", "namespace", "started", "is_holding")
        if all(isinstance(found[key], str) for key in texts):
            return Claim(
                **{key: found[key] for key in texts[:-1]},
                is_holding=found["is_holding"].strip() == "True",
                pid=int(found["pid"]),
                since=float(found["since"]),
            )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    return None


def _refuse(location: str, holder: Claim | None) -> InputError:
    return InputError(
        f"{location}: another command writes there: {holder or 'its name is not known yet'}; wait "
        "until it ends, or stop it, or give another --out"
    )


def describe_process() -> dict[str, Any]:
    """Return the claim of this process."""
    command = shlex.join(["raytune-yesno", *sys.argv[1:]])
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.time(),
        # Others may read the claim: no passwords and keys of URIs.
        "command": re.sub(r"(?<=://)[^/\s@]*@|\?\S*", "", command)[:400],
        "kernel": _kernel(),
        "namespace": _namespace(),
        "started": _started(os.getpid()),
    }


def _kernel() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return str(os.readlink("/proc/self/ns/pid"))
    return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks of the kernel; empty if there is none."""
    try:
        # The name of the command, in parentheses, may contain anything.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running"
