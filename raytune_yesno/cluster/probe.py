"""What is asked of a node of a cluster, there. Standard library alone: it travels by value.

So it runs on a node that lacks this project, and can say so.
"""

import importlib.metadata
import os
import platform
import socket
from pathlib import Path
from typing import Any

PACKAGES = ("ray", "torch", "torchaudio", "numpy", "raytune-yesno")


def describe_node() -> dict[str, Any]:
    """Return the node's host name and the versions that must be the same on all; None if absent."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"host": socket.gethostname(), "versions": versions}


def meet(place: str, asked: str, answered: str, secret: str) -> str | None:
    """Read a file that another node has written, and write one for it; return what went wrong.

    Args:
        place: a folder, or a URI that pyarrow reads (``s3://…``).
        asked: the name of the file to read there.
        answered: the name of the file to write there.
        secret: what the one holds and the other shall hold.
    """
    try:
        if "://" in place:
            return _meet_remote(place, asked, answered, secret)
        folder = Path(place)
        if not folder.is_dir():
            return "there is no such folder there"
        if not (folder / asked).exists():
            return "it is another folder there, not shared"
        if (folder / asked).read_text() != secret:
            return "what is written here is not what is read there"
        # One that appears whole or not at all.
        unfinished = folder / f"{answered}.part"
        with unfinished.open("x") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(folder / answered)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def _meet_remote(place: str, asked: str, answered: str, secret: str) -> str | None:
    import pyarrow.fs

    filesystem, folder = pyarrow.fs.FileSystem.from_uri(place)
    try:
        with filesystem.open_input_stream(f"{folder}/{asked}") as source:
            found = source.read().decode()
    except FileNotFoundError:
        return "what is written here is not there"
    if found != secret:
        return "what is written here is not what is read there"
    with filesystem.open_output_stream(f"{folder}/{answered}") as sink:
        sink.write(secret.encode())
    return None
