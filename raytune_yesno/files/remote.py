"""Places that are no folders: object stores, by a URI that pyarrow reads (``s3://bucket/first``).

Ray keeps a study's checkpoints there itself. The study's records and its refit are written in a
folder of this machine's, as everywhere, and copied to the store from it.
"""

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from raytune_yesno.errors import InputError, WorkError

STORE = "study.jsonl"

COPY_EVERY_S = 1.0
"""Seconds of records that a lost machine may cost; of a large study more, see `_SHARE`."""
_SHARE = 0.05  # of the time, that copying may take


def is_remote(place: str | None) -> bool:
    """Say whether a place is a URI and no folder."""
    return place is not None and "://" in place


def open_filesystem(place: str) -> tuple[Any, str]:
    """Return pyarrow's file system of a URI, and the path there.

    Raises:
        InputError: pyarrow knows no such storage.
    """
    from pyarrow import fs

    try:
        filesystem, path = fs.FileSystem.from_uri(place)
    except (OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{place}: cannot be reached ({_first_line(error)})") from None
    if not path.strip("/"):
        raise InputError(f"{place}: it names no folder in that storage")
    return filesystem, path.rstrip("/")


def delete_tree(place: str) -> None:
    """Delete all that lies under a folder or URI, as far as that can be done."""
    if not is_remote(place):
        shutil.rmtree(place, ignore_errors=True)
        return
    filesystem, path = open_filesystem(place)
    with contextlib.suppress(OSError):
        filesystem.delete_dir(path)


def copy_tree(source: str, target: str) -> None:
    """Copy all that lies under a folder or URI to another of the same storage."""
    from pyarrow import fs

    if not is_remote(source):
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    filesystem, path = open_filesystem(source)
    copy = open_filesystem(target)[1]
    filesystem.create_dir(copy)
    fs.copy_files(path, copy, source_filesystem=filesystem, destination_filesystem=filesystem)


def list_siblings(place: str) -> list[str]:
    """Return the other folders that lie where a folder, or what a URI names, lies or lay.

    Raises:
        InputError: that cannot be read.
    """
    from pyarrow import fs

    above = place.rstrip("/").rpartition("/")[0]
    filesystem, path = open_filesystem(above) if is_remote(place) else (fs.LocalFileSystem(), above)
    try:
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise InputError(f"{above}: cannot be read ({_first_line(error)})") from None
    folders = sorted(file.base_name for file in found if file.type == fs.FileType.Directory)
    return [beside for name in folders if (beside := f"{above}/{name}") != place.rstrip("/")]


def name_checkpoint(path: str, root: str, place: str) -> str:
    """Return the folder or URI of a checkpoint.

    Args:
        path: Ray's own, which lacks what makes a URI of it.
        root: the path, in the same form, of what ``place`` names.
    """
    return place.rstrip("/") + path.removeprefix(root)


def is_study(uri: str) -> bool:
    """Say whether a study was begun at a URI; False, too, where that cannot be told."""
    from pyarrow import fs

    filesystem, path = open_filesystem(uri)
    with contextlib.suppress(OSError):
        found = filesystem.get_file_info(f"{path}/{STORE}")
        return bool(found.type == fs.FileType.File)
    return False


def download(uri: str, folder: Path, *, missing_ok: bool = False) -> None:
    """Copy all that lies under a URI into a folder.

    Args:
        missing_ok: where nothing lies there, copy nothing.

    Raises:
        InputError: it cannot be read.
    """
    from pyarrow import fs

    filesystem, path = open_filesystem(uri)
    try:
        found = filesystem.get_file_info(
            fs.FileSelector(path, allow_not_found=missing_ok, recursive=True)
        )
        files = [file for file in found if file.type == fs.FileType.File]
        copy_files(filesystem, files, path, folder)
    except OSError as error:
        raise InputError(f"{uri}: cannot be read ({_first_line(error)})") from None


def copy_files(filesystem: Any, files: Iterable[Any], root: str, folder: Path) -> None:
    """Copy files of a storage, as pyarrow describes them, from below ``root`` into a folder.

    Raises:
        InputError: a name would lie outside of the folder, as no honest one does.
        OSError: one cannot be read.
    """
    for file in files:
        below = PurePosixPath(file.path).relative_to(root)
        if ".." in below.parts:
            raise InputError(f"{file.path}: a name that leads out of its folder; nothing is read")
        copy = folder / below
        copy.parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open_input_stream(file.path) as source, copy.open("wb") as sink:
            shutil.copyfileobj(source, sink)


@contextlib.contextmanager
def local_copy(place: str) -> Iterator[Path]:
    """Give what lies under a place as a folder of this machine's: a copy, if it is not one.

    It may be empty, or not be there, where nothing lies there.
    """
    if not is_remote(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        download(place, Path(folder), missing_ok=True)
        yield Path(folder)


@contextlib.contextmanager
def mirror_to_uri(uri: str, *, resume: bool, note: Callable[[str], None]) -> Iterator[Path]:
    """Give a folder to write a study in; what is written there is kept at a URI.

    Its records are copied every second or so, the rest at the end.

    Args:
        resume: the study is there and goes on; otherwise there must be none.
        note: prints that copying fails for now.

    Raises:
        InputError: the storage cannot be written to, or it is not as ``resume`` says.
        WorkError: what was written could not be copied at the end; the folder is kept.
    """
    if "?" in uri:
        raise InputError(
            f"{uri.split('?')[0]}: leave out what follows the question mark; an endpoint and keys "
            "are taken from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …) on all nodes"
        )
    folder = Path(tempfile.mkdtemp(prefix="raytune-yesno-"))
    try:
        copier = _Copier(uri, folder)
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
            except OSError as error:
                if not failed:
                    note(f"{uri}: not reached for now, tried again ({_first_line(error)})")
                failed = True
            pause = max(COPY_EVERY_S, (time.monotonic() - began) / _SHARE)

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
                f"{uri}: cannot be written ({_first_line(error)}); the study lies in {folder}, "
                "copy it there by hand"
            ) from error
        shutil.rmtree(folder)


class _Copier:
    """Copy files of a folder to the same names under a URI, where they changed."""

    def __init__(self, uri: str, folder: Path) -> None:
        self.uri, self.folder = uri, folder
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
            raise InputError(f"{self.uri}: cannot be written to ({_first_line(error)})") from None
        if resume and not is_there:
            raise InputError(f"--resume {self.uri}: no study there (no {STORE})")
        if is_there and not resume:
            raise InputError(
                f"--out {self.uri}: there is a study; give another place, or --resume {self.uri}"
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


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
