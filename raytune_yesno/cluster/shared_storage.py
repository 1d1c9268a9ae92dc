"""Find out whether all nodes reach the place where checkpoints are to lie, before it matters."""

import uuid
from pathlib import Path
from typing import Any

from raytune_yesno.cluster import probe
from raytune_yesno.cluster.nodes import Node, ask_nodes, list_nodes
from raytune_yesno.errors import InputError

_PREFIX = ".raytune-yesno-probe-"


def check_shared(place: str, flag: str = "--out") -> None:
    """Raise InputError if some node of the cluster does not reach a folder or URI.

    Of a folder that is yet to be made, the nearest that exists is looked at. Nothing is left there.
    """
    nodes = list_nodes()
    if len(nodes) < 2:
        return  # Ray, and so the trials, are where this process is
    problems = find_unreached(place, nodes)
    if problems:
        raise InputError(
            f"{flag} {place}: not all of the {len(nodes)} nodes reach it, and trials save their "
            f"checkpoints there: {'; '.join(problems)}; give a folder that all share (NFS), with "
            "the same path"
        )


def find_unreached(place: str, nodes: list[Node]) -> list[str]:
    """Return what keeps nodes from reading and writing a place, a line a node."""
    if "://" not in place:
        place = _nearest_folder(place)
    run = uuid.uuid4().hex
    asked = f"{_PREFIX}{run}"
    answers = [f"{asked}-{index}" for index in range(len(nodes))]
    problems = []
    spot = _Spot(place)
    try:
        spot.write(asked, run)
        calls = [(place, asked, answer, run) for answer in answers]
        for (node, said), answer in zip(ask_nodes(nodes, probe.meet, *calls), answers, strict=True):
            if isinstance(said, Exception):
                said = f"no answer ({type(said).__name__})"
            if said is None and spot.read(answer) != run:
                said = "what it writes there does not appear here"
            if said:
                problems.append(f"{node.name}: {place}: {said}")
    except OSError as error:
        problems.append(f"here: {place}: {error.strerror or error}")
    finally:
        for name in (asked, *answers, *(f"{answer}.part" for answer in answers)):
            spot.delete(name)
    return problems


def find_unwritable(place: str) -> str | None:
    """Return what keeps this process from writing to a place and reading it back, if anything."""
    if "://" not in place:
        place = _nearest_folder(place)
    name = text = f"{_PREFIX}{uuid.uuid4().hex}"
    spot = None
    try:
        spot = _Spot(place)
        spot.write(name, text)
        if spot.read(name) != text:
            return f"{place}: what is written there does not appear"
    except (OSError, ValueError, ImportError) as error:
        return f"{place}: {getattr(error, 'strerror', None) or error}"
    finally:
        if spot:
            spot.delete(name)
    return None


def _nearest_folder(place: str) -> str:
    folder = Path(place).absolute()
    return str(next(path for path in (folder, *folder.parents) if path.is_dir()))


class _Spot:
    """A folder, or a URI that pyarrow reads."""

    def __init__(self, place: str) -> None:
        self.filesystem: Any = None
        self.folder = place
        if "://" in place:
            import pyarrow.fs

            self.filesystem, self.folder = pyarrow.fs.FileSystem.from_uri(place)

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
