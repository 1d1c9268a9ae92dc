"""Functions that run on each node of a cluster.

They use only the standard library and are sent by value, so they also run on a node where the
project is not installed, and can report that.
"""

import importlib.metadata
import os
import platform
import socket
from pathlib import Path
from typing import Any

PACKAGES = ("ray", "torch", "torchaudio", "numpy", "raytune-yesno")


def describe_node() -> dict[str, Any]:
    """Return the host name and the versions that all nodes must share; None if not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"host": socket.gethostname(), "versions": versions}


def exchange_files(storage: str, request: str, answer: str, secret: str) -> str | None:
    """Read a file that the driver wrote to shared storage, and write one for the driver.

    Args:
        storage: a folder, or a URI that pyarrow reads (``s3://…``).
        request: the name of the file to read.
        answer: the name of the file to write.
        secret: the expected content of the one and the content of the other.

    Returns:
        What went wrong, or None.
    """
    try:
        if "://" in storage:
            return _exchange_objects(storage, request, answer, secret)
        folder = Path(storage)
        if not folder.is_dir():
            return "the folder does not exist there"
        if not (folder / request).exists():
            return "it is a different folder there, not a shared one"
        if (folder / request).read_text() != secret:
            return "a file written here has a different content there"
        # Rename a complete file, so that the driver never reads part of one.
        unfinished = folder / f"{answer}.part"
        with unfinished.open("x") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(folder / answer)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def _exchange_objects(storage: str, request: str, answer: str, secret: str) -> str | None:
    import pyarrow.fs

    filesystem, folder = pyarrow.fs.FileSystem.from_uri(storage)
    try:
        with filesystem.open_input_stream(f"{folder}/{request}") as source:
            found = source.read().decode()
    except FileNotFoundError:
        return "a file written here does not exist there"
    if found != secret:
        return "a file written here has a different content there"
    with filesystem.open_output_stream(f"{folder}/{answer}") as sink:
        sink.write(secret.encode())
    return None
