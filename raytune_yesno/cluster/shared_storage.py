"""Check before a study that all nodes reach the folder or URI of its checkpoints."""

import errno
import uuid
from pathlib import Path
from typing import Any

from raytune_yesno.cluster import probe
from raytune_yesno.cluster.nodes import Node, ask_nodes, list_nodes
from raytune_yesno.errors import InputError
from raytune_yesno.files.atomic import find_existing
from raytune_yesno.files.remote import is_remote, open_filesystem

_PREFIX = ".raytune-yesno-probe-"


def check_shared(storage: str, flag: str = "--out") -> None:
    """Check that every node of the cluster reads and writes a folder or URI.

    If the folder does not exist yet, its nearest existing parent is checked. No file is left there.

    Args:
        storage: the folder or URI.
        flag: the option that named it, for the message.

    Raises:
        InputError: a node does not reach it.
    """
    nodes = list_nodes()
    if len(nodes) < 2:
        return  # the only node is this machine
    problems = find_unreachable(storage, nodes)
    if problems:
        raise InputError(
            f"{flag} {storage}: not all of the {len(nodes)} nodes reach it, but trials save their "
            f"checkpoints there: {'; '.join(problems)}; give a folder that all nodes share under "
            "the same path (NFS), or a URI"
        )


def find_unreachable(storage: str, nodes: list[Node]) -> list[str]:
    """Return why nodes cannot read and write a folder or URI, one line per node."""
    try:
        storage = _nearest_folder(storage)
        target = _Storage(storage)
    except (OSError, ValueError) as error:
        return [f"here: {_describe(storage, error)}"]
    run = uuid.uuid4().hex
    asked = f"{_PREFIX}{run}"
    answers = [f"{asked}-{index}" for index in range(len(nodes))]
    problems = []
    try:
        target.write(asked, run)
        calls = [(storage, asked, answer, run) for answer in answers]
        for (node, said), answer in zip(
            ask_nodes(nodes, probe.exchange_files, *calls), answers, strict=True
        ):
            if isinstance(said, Exception):
                said = f"no answer ({type(said).__name__})"
            if said is None and target.read(answer) != run:
                said = "a file written there does not appear here"
            if said:
                problems.append(f"{node.name}: {storage}: {said}")
    except OSError as error:
        problems.append(f"here: {storage}: {error.strerror or error}")
    finally:
        for name in (asked, *answers, *(f"{answer}.part" for answer in answers)):
            target.delete(name)
    return problems


def find_unwritable(storage: str) -> str | None:
    """Return why this process cannot write to a folder or URI and read it back, or None."""
    name = text = f"{_PREFIX}{uuid.uuid4().hex}"
    target = None
    try:
        storage = _nearest_folder(storage)
        target = _Storage(storage)
        target.write(name, text)
        if target.read(name) != text:
            return f"{storage}: a file written there cannot be read back"
    except (OSError, ValueError, ImportError) as error:
        return _describe(storage, error)
    finally:
        if target:
            target.delete(name)
    return None


def _nearest_folder(storage: str) -> str:
    """Return a folder or its nearest existing parent; other URIs than ``file:`` unchanged.

    Raises:
        OSError: the path leads through a file.
        ValueError: the URI is not valid.
    """
    if storage.startswith("file:"):
        storage = open_filesystem(storage)[1]
    if is_remote(storage):
        return storage
    nearest = find_existing(Path(storage).absolute())
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{nearest} is not a folder")
    return str(nearest)


def _describe(storage: str, error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    return f"{storage}: {getattr(error, 'strerror', None) or error}"


class _Storage:
    """A folder, or a URI that pyarrow reads."""

    def __init__(self, storage: str) -> None:
        self.filesystem: Any = None
        self.folder = storage
        if is_remote(storage):
            self.filesystem, self.folder = open_filesystem(storage)

    def write(self, name: str, text: str) -> None:
        if self.filesystem is None:
            Path(self.folder, name).write_text(text)
            return
        with self.filesystem.open_output_stream(f"{self.folder}/{name}") as sink:
            sink.write(text.encode())

    def read(self, name: str) -> str | None:
        try:
            if self.filesystem is None:
                return Path(self.folder, name).read_text()
            with self.filesystem.open_input_stream(f"{self.folder}/{name}") as source:
                return str(source.read().decode())
        except OSError:
            return None

    def delete(self, name: str) -> None:
        try:
            if self.filesystem is None:
                Path(self.folder, name).unlink(missing_ok=True)
            else:
                self.filesystem.delete_file(f"{self.folder}/{name}")
        except OSError:
            pass
