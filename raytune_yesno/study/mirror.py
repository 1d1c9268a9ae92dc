"""A study at a URI: it is written in a local folder, and copied to the URI while it runs.

Ray keeps a study's checkpoints in the object store itself. The study's records and its refit are
written in a folder of this machine and copied from it.
"""

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError, quote
from raytune_yesno.files.lock import hold
from raytune_yesno.files.remote import first_line, open_filesystem
from raytune_yesno.study.store import STORE

COPY_EVERY_S = 1.0
"""Seconds of records that a lost machine may cost; more for a large study, see ``_MAX_SHARE``."""
_MAX_SHARE = 0.05  # of the time that may be spent on copying


def is_study(uri: str) -> bool:
    """Say whether a study was begun at a URI; False, too, where that cannot be told."""
    from pyarrow import fs

    filesystem, path = open_filesystem(uri)
    with contextlib.suppress(OSError):
        found = filesystem.get_file_info(f"{path}/{STORE}")
        return bool(found.type == fs.FileType.File)
    return False


@contextlib.contextmanager
def mirror_to_uri(uri: str, *, resume: bool, note: Callable[[str], None]) -> Iterator[Path]:
    """Give a folder to write a study in; what is written there is kept at a URI.

    Its records are copied every second or so, the rest at the end. Meanwhile no other command may
    write there.

    Args:
        resume: the study is there and goes on; otherwise there must be none.
        note: prints that copying fails for now.

    Raises:
        InputError: the storage cannot be written to, it is not as ``resume`` says, or another
            command writes there.
        WorkError: what was written could not be copied at the end; the folder is kept.
    """
    if "?" in uri:
        raise InputError(
            f"{uri.split('?')[0]}: leave out what follows the question mark; an endpoint and keys "
            "are taken from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …) on all nodes"
        )
    with hold(uri, note) as lock:
        yield from _keep(uri, resume, note, lock.check)


def _keep(
    uri: str, resume: bool, note: Callable[[str], None], check: Callable[[], None]
) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="raytune-yesno-"))
    try:
        copier = _Mirror(uri, folder, check)
        copier.begin(resume)
    except InputError:
        shutil.rmtree(folder)
        raise
    ended = threading.Event()

    def copy_records() -> None:
        failed, pause = False, COPY_EVERY_S
        while not ended.wait(pause):
            began = time.monotonic()
            try:
                copier.copy(folder / STORE)
                failed = False
            except WorkError:
                return  # another command has taken the lock over; this one is being stopped
            except OSError as error:
                if not failed:
                    note(f"{uri}: not reached for now, tried again ({first_line(error)})")
                failed = True
            pause = max(COPY_EVERY_S, (time.monotonic() - began) / _MAX_SHARE)

    thread = threading.Thread(target=copy_records, daemon=True)
    thread.start()
    try:
        yield folder
    finally:
        ended.set()
        thread.join()
        try:
            copier.copy_all()
        except OSError as error:
            raise WorkError(
                f"{uri}: cannot be written ({first_line(error)}); the study lies in {folder}, "
                "copy it there by hand"
            ) from error
        shutil.rmtree(folder)


class _Mirror:
    """Copy files of a folder to the same names under a URI, where they changed."""

    def __init__(self, uri: str, folder: Path, check: Callable[[], None]) -> None:
        self.uri, self.folder, self.check = uri, folder, check
        self.filesystem, self.root = open_filesystem(uri)
        self.copied: dict[Path, tuple[int, int]] = {}

    def begin(self, resume: bool) -> None:
        from pyarrow import fs

        path = f"{self.root}/{STORE}"
        try:
            is_there = self.filesystem.get_file_info(path).type == fs.FileType.File
            if is_there and resume:
                with self.filesystem.open_input_stream(path) as source:
                    (self.folder / STORE).write_bytes(source.read())
                self.copied[self.folder / STORE] = _state(self.folder / STORE)
            elif not is_there and not resume:
                probe = f"{self.root}/.probe"
                self.filesystem.create_dir(self.root)
                with self.filesystem.open_output_stream(probe) as sink:
                    sink.write(b"")
                self.filesystem.delete_file(probe)
        except OSError as error:
            raise InputError(f"{self.uri}: cannot be written to ({first_line(error)})") from None
        if resume and not is_there:
            raise InputError(f"--resume {self.uri}: no study there (no {STORE})")
        if is_there and not resume:
            raise InputError(
                f"--out {self.uri}: there is a study; give another folder or URI, or --resume "
                f"{quote(self.uri)}"
            )

    def copy(self, file: Path) -> None:
        """Copy one file, if it is there and has changed."""
        try:
            state = _state(file)
            if self.copied.get(file) == state:
                return
            content = file.read_bytes()
        except FileNotFoundError:
            return
        self.check()
        path = f"{self.root}/{file.relative_to(self.folder).as_posix()}"
        self.filesystem.create_dir(path.rpartition("/")[0])
        with self.filesystem.open_output_stream(path) as sink:
            sink.write(content)
        self.copied[file] = state

    def copy_all(self) -> None:
        """Copy all files, the records last: what they name is then there."""
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: (file.name == STORE, file)):
            self.copy(file)


def _state(file: Path) -> tuple[int, int]:
    """Return what differs once a file has changed."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size
