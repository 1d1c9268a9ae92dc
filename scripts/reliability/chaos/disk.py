"""A small file system to fill, freeze and unmount (Linux, as root)."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

NEEDED = ("mount", "umount", "losetup", "mkfs.ext4", "fsfreeze")
_SIZE = 64 * 2**20


def why_not() -> str | None:
    """Return why it cannot be mounted here, or None."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} missing"
    if os.geteuid() != 0:
        return "mounting takes root"
    return None if Path("/dev/loop-control").exists() else "no loop devices"


class Disk:
    """A file system that is mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder.with_name(folder.name + ".img")

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Mount it, empty, within this context."""
        self.folder.mkdir()
        with self.image.open("wb") as image:
            image.truncate(_SIZE)
        run_or_fail("mkfs.ext4", "-q", str(self.image))
        self._mount()
        try:
            yield
        finally:
            run_or_fail("umount", "-l", str(self.folder))
            self.image.unlink()
            self.folder.rmdir()

    def _mount(self) -> None:
        run_or_fail("mount", "-o", "loop", str(self.image), str(self.folder))

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Fill it to the last byte."""
        filler = self.folder / ".filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            size = 2**20
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2
        try:
            yield
        finally:
            filler.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Make it read-only, once writes in progress have ended."""
        deadline = time.monotonic() + 20
        while subprocess.run(
            ["mount", "-o", "remount,ro", str(self.folder)], capture_output=True
        ).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError("the disk is written to all the time")
        try:
            yield
        finally:
            run_or_fail("mount", "-o", "remount,rw", str(self.folder))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Block all writes."""
        run_or_fail("fsfreeze", "-f", str(self.folder))
        try:
            yield
        finally:
            run_or_fail("fsfreeze", "-u", str(self.folder))

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Unmount it, which leaves an empty folder."""
        run_or_fail("umount", "-l", str(self.folder))
        try:
            yield
        finally:
            self._mount()


def run_or_fail(*command: str) -> None:
    """Run a command; raise OSError with its output if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
