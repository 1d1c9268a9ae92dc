"""Object stores and other remote storage, by a URI that pyarrow reads (``s3://bucket/first``)."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from raytune_yesno.errors import InputError

LOCK = ".lock"
"""The folder below a study that keeps a second writer off; see :mod:`raytune_yesno.files.lock`."""


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
        raise InputError(f"{place}: cannot be reached ({first_line(error)})") from None
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
        raise InputError(f"{above}: cannot be read ({first_line(error)})") from None
    folders = sorted(file.base_name for file in found if file.type == fs.FileType.Directory)
    return [beside for name in folders if (beside := f"{above}/{name}") != place.rstrip("/")]


def name_checkpoint(path: str, root: str, place: str) -> str:
    """Return the folder or URI of a checkpoint.

    Args:
        path: Ray's own, which lacks what makes a URI of it.
        root: the path, in the same form, of what ``place`` names.
    """
    return place.rstrip("/") + path.removeprefix(root)


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
        files = [
            file
            for file in found
            if file.type == fs.FileType.File and f"/{LOCK}/" not in file.path.removeprefix(path)
        ]
        copy_files(filesystem, files, path, folder)
    except OSError as error:
        raise InputError(f"{uri}: cannot be read ({first_line(error)})") from None


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


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or its kind if it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
