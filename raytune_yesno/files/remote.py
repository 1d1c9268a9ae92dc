"""Object stores and other remote storage, by a URI for pyarrow (``s3://bucket/folder``)."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from raytune_yesno.errors import InputError, first_line
from raytune_yesno.files.atomic import replace_file

LOCK = ".lock"
"""The subfolder of a study that locks out a second writer; see :mod:`raytune_yesno.files.lock`."""


def is_remote(location: str | Path | None) -> bool:
    """Return whether a location is a URI, not a folder."""
    return location is not None and "://" in str(location)


def hide_secrets(text: str) -> str:
    """Return text without what URIs in it contain of passwords and keys.

    Example:
        >>> hide_secrets("s3://key:secret@bucket/study?token=1")
        's3://bucket/study'
    """
    return re.sub(r"(?<=://)[^/\s@]*@|\?\S*", "", text)


@contextlib.contextmanager
def name_uri(uri: str, folder: Path) -> Iterator[None]:
    """Name a URI, not the local folder that stands for it, in input errors of this context."""
    try:
        yield
    except InputError as error:
        error.rename(str(folder), uri)
        raise


def open_filesystem(location: str) -> tuple[Any, str]:
    """Return pyarrow's file system for a URI, and the path in it.

    Raises:
        InputError: pyarrow does not support the storage, or the URI has no path.
    """
    from pyarrow import fs

    shown = hide_secrets(location)
    try:
        filesystem, path = fs.FileSystem.from_uri(location)
    except (OSError, ValueError, NotImplementedError) as error:
        reason = hide_secrets(first_line(error))
        raise InputError(
            f"{shown}: cannot be reached ({reason}); check URI and credentials"
        ) from None
    if not path.strip("/"):
        raise InputError(f"{shown}: the URI has no folder; add one, as in s3://bucket/folder")
    return filesystem, path.rstrip("/")


def write_whole(filesystem: Any, path: str, content: bytes) -> None:
    """Write a file to a file system of pyarrow, so that a reader never sees half of it.

    An object store shows an object once it is whole; a file system needs a rename for that.
    """
    if filesystem.type_name == "local":
        with replace_file(Path(path)) as part:
            part.write_bytes(content)
        return
    with filesystem.open_output_stream(path) as sink:
        sink.write(content)


def delete_tree(location: str) -> None:
    """Delete a folder or URI with its contents; errors are ignored."""
    if not is_remote(location):
        shutil.rmtree(location, ignore_errors=True)
        return
    filesystem, path = open_filesystem(location)
    with contextlib.suppress(OSError):
        filesystem.delete_dir(path)


def copy_tree(source: str, target: str) -> None:
    """Copy the contents of a folder or URI to another one of the same storage."""
    from pyarrow import fs

    if not is_remote(source):
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    filesystem, path = open_filesystem(source)
    copy = open_filesystem(target)[1]
    filesystem.create_dir(copy)
    fs.copy_files(path, copy, source_filesystem=filesystem, destination_filesystem=filesystem)


def list_folders(location: str) -> list[str]:
    """Return the folders in a folder or URI, sorted; none if it is missing.

    Raises:
        InputError: it cannot be read.
    """
    from pyarrow import fs

    filesystem, path = (
        open_filesystem(location) if is_remote(location) else (fs.LocalFileSystem(), location)
    )
    try:
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise InputError(f"{location}: cannot be read ({first_line(error)})") from None
    folders = (file.base_name for file in found if file.type == fs.FileType.Directory)
    return [f"{location}/{name}" for name in sorted(folders)]


def name_checkpoint(path: str, root: str, location: str) -> str:
    """Return the folder or URI of a checkpoint.

    Args:
        path: Ray's path of the checkpoint, without the URI's scheme.
        root: Ray's path of ``location``, in the same form.
        location: folder or URI that contains the checkpoint.
    """
    return location.rstrip("/") + path.removeprefix(root)


def download(uri: str, folder: Path, *, missing_ok: bool = False) -> None:
    """Copy the contents of a URI to a folder.

    Args:
        uri: the URI.
        folder: the folder to copy to.
        missing_ok: whether nothing is copied if the URI does not exist; otherwise that is an error.

    Raises:
        InputError: the URI cannot be read.
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
        raise InputError(f"{hide_secrets(uri)}: cannot be read ({first_line(error)})") from None


def copy_files(filesystem: Any, files: Iterable[Any], root: str, folder: Path) -> None:
    """Copy files of a pyarrow file system to a folder.

    Args:
        filesystem: the file system.
        files: pyarrow's descriptions of the files.
        root: the path that is mapped to ``folder``.
        folder: the folder to copy to.

    Raises:
        InputError: a name leads out of the folder; such a name is hostile.
        OSError: a file cannot be read.
    """
    for file in files:
        below = PurePosixPath(file.path).relative_to(root)
        if ".." in below.parts:
            raise InputError(f"{file.path}: the name leads out of its folder; the file is refused")
        copy = folder / below
        copy.parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open_input_stream(file.path) as source, copy.open("wb") as sink:
            shutil.copyfileobj(source, sink)


@contextlib.contextmanager
def local_copy(location: str) -> Iterator[Path]:
    """Return a local folder with the contents of a folder or URI: itself, or a temporary copy.

    If there is nothing at the location, the folder is empty or missing. Input errors of this
    context name the location, not the copy.
    """
    if not is_remote(location):
        yield Path(location)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with name_uri(hide_secrets(location), folder):
            download(location, folder, missing_ok=True)
            yield folder
