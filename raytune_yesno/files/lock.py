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
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from raytune_yesno.errors import InputError, Interrupted, WorkError
from raytune_yesno.files.claim import Claim, describe_process, parse_claim, read_kernel
from raytune_yesno.files.claim_storage import SUFFIX, Storage, open_storage

BEAT_S = 2.0
STALE_S = 20.0

_LOOK_EVERY_S = 0.2
_PATIENCE_S = 5.0
_SETTLE_S = 1.0


class Lock:
    """A lock of this process.

    Attributes:
        lost: why the lock was lost; empty while it is held.
    """

    def __init__(self, location: str, storage: Storage) -> None:
        self.location, self.storage = location, storage
        self.token = secrets.token_hex(8) + SUFFIX
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

    def _outlived(self, claim: Claim) -> bool:
        """Whether the kernel would not have given the lock if a claim's process still ran."""
        here = (read_kernel(), self.storage.device)
        return bool(self.storage.is_locked) and (claim.kernel, claim.device) == here

    def _find_holder(self) -> Claim | None:
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
        lock = Lock(location, open_storage(location))
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
    storage = open_storage(str(location))
    with contextlib.suppress(OSError):
        contents = [storage.read(name) for name in storage.names()]
        claims = [claim for text in contents if text and (claim := parse_claim(text))]
        return next((each for each in claims if each.is_holding and not each.is_dead), None)
    return None


def _refuse(location: str, holder: Claim | None) -> InputError:
    return InputError(
        f"{location}: another command writes there: {holder or 'its name is not known yet'}; wait "
        "until it ends, or stop it, or use another folder"
    )
