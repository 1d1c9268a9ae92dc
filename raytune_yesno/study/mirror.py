"""A study at a URI: it is written to a local folder and copied to the URI while it runs.

Ray itself writes the trials' checkpoints to the URI. The study's record and its refit are written
to a local folder and copied from there.
"""

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError, first_line, quote
from raytune_yesno.files.lock import hold
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.files.remote import hide_secrets, name_uri, open_filesystem, write_whole
from raytune_yesno.study.store import STORE

COPY_EVERY_S = 1.0
"""Seconds of the record that are lost if this node is lost; more for a long record."""
_MAX_SHARE = 0.05  # of the time to spend on copying


@contextlib.contextmanager
def mirror_to_uri(
    uri: str, *, resume: bool | None, note: Callable[[str], None]
) -> Iterator[OutputFolder]:
    """Yield a local folder for a study, and copy what is written there to a URI.

    The record is copied about once a second, the other files at the end. A lock keeps other
    commands from writing to the URI.

    Args:
        uri: the study's URI.
        resume: True if the study must exist and is resumed; False if it must not exist; None to
            resume one that exists.
        note: prints a line if copying fails temporarily.

    Yields:
        The local folder, whose storage is the URI.

    Raises:
        InputError: the URI cannot be written, it does not match ``resume``, or another command
            writes to it.
        WorkError: the files could not be copied at the end. The local folder is kept.
    """
    if "?" in uri:
        raise InputError(
            f"{hide_secrets(uri)}: remove the question mark and what follows it; set endpoint and "
            "keys in the environment of all nodes (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …)"
        )
    with hold(uri, note) as lock:
        yield from _keep(uri, resume, note, lock.check)


def _keep(
    uri: str, resume: bool | None, note: Callable[[str], None], check: Callable[[], None]
) -> Iterator[OutputFolder]:
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
                return  # another command has taken the lock, and this one is being stopped
            except OSError as error:
                if not failed:
                    note(f"{uri}: cannot be reached, retrying ({first_line(error)})")
                failed = True
            pause = max(COPY_EVERY_S, (time.monotonic() - began) / _MAX_SHARE)

    thread = threading.Thread(target=copy_records, daemon=True)
    thread.start()
    try:
        with name_uri(uri, folder):
            yield OutputFolder(folder, uri.rstrip("/"))
    finally:
        ended.set()
        thread.join()
        try:
            copier.copy_all()
        except OSError as error:
            raise WorkError(
                f"{uri}: cannot be written ({first_line(error)}); the study is in {folder}, "
                "copy it to the URI by hand"
            ) from error
        shutil.rmtree(folder)


class _Mirror:
    """Copy changed files of a folder to the same names under a URI."""

    def __init__(self, uri: str, folder: Path, check: Callable[[], None]) -> None:
        self.uri, self.folder, self.check = uri, folder, check
        self.filesystem, self.root = open_filesystem(uri)
        self.copied: dict[Path, tuple[int, int]] = {}

    def begin(self, resume: bool | None) -> None:
        """Copy the record of a resumed study here, or check that a new one can be written."""
        from pyarrow import fs

        path = f"{self.root}/{STORE}"
        try:
            is_there = self.filesystem.get_file_info(path).type == fs.FileType.File
            if resume is None:
                resume = is_there
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
                f"--out {self.uri}: a study exists there; give another folder or URI, or --resume "
                f"{quote(self.uri)}"
            )

    def copy(self, file: Path) -> None:
        """Copy one file if it exists and has changed."""
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
        write_whole(self.filesystem, path, content)
        self.copied[file] = state

    def copy_all(self) -> None:
        """Copy all files, the record last, so that it never names a file that is missing."""
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: (file.name == STORE, file)):
            self.copy(file)


def _state(file: Path) -> tuple[int, int]:
    """Return modification time and size, which differ after a change."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size
