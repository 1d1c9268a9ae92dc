"""Requests to a running study, from another terminal or machine.

A request is a small JSON file in the subfolder ``requests`` of the study's folder or URI. It
appears there whole, by a rename. The command that writes the study's record takes it within
seconds: it records the request (event ``requested``), carries it out, and deletes the file. A file
whose request is in the record has been taken, so that a kill in between neither loses nor repeats
it. At a URI, the file is deleted once the copy of the record there holds the request.
"""

import contextlib
import errno
import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, first_line
from raytune_yesno.files.atomic import open_plain, replace_file
from raytune_yesno.files.remote import is_remote, open_filesystem, write_whole
from raytune_yesno.study.events import find_fault
from raytune_yesno.study.store import STORE

REQUESTS = "requests"
"""The subfolder of a study that holds requests."""
STOP, STOP_SEARCH, ENQUEUE = "stop", "stop search", "enqueue"
ACTIONS = (STOP, STOP_SEARCH, ENQUEUE)

_SUFFIX = ".json"
_MAX_BYTES = 1 << 16
_LOOK_EVERY_S, _PATIENCE_S = 1.0, 10.0


@dataclass(frozen=True)
class Request:
    """A request to a study.

    Attributes:
        name: its file's name, unique.
        action: ``stop`` a trial, ``stop search``, or ``enqueue`` a point.
        trial: the number of the trial to stop.
        point: the point to try.
    """

    name: str
    action: str
    trial: int | None = None
    point: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the request as it is recorded."""
        values: dict[str, Any] = {"request": self.name, "action": self.action}
        values |= {"trial": self.trial} if self.trial is not None else {}
        return values | ({"point": self.point} if self.point is not None else {})

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> "Request":
        """Return a recorded request."""
        return cls(event["request"], event["action"], event.get("trial"), event.get("point"))


def name_request() -> str:
    """Return a name for a new request. Names sort by time."""
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}{_SUFFIX}"


def send(location: str, request: Request) -> None:
    """Write a request into the folder or URI of a study.

    Raises:
        InputError: it cannot be written there.
    """
    content = json.dumps(request.as_dict()).encode()
    try:
        if is_remote(location):
            filesystem, root = open_filesystem(location)
            filesystem.create_dir(f"{root}/{REQUESTS}")
            write_whole(filesystem, f"{root}/{REQUESTS}/{request.name}", content)
            return
        folder = Path(location) / REQUESTS
        folder.mkdir(exist_ok=True)
        with replace_file(folder / request.name) as part:
            part.write_bytes(content)
    except OSError as error:
        raise InputError(f"{location}: cannot be written to ({first_line(error)})") from None


class Inbox:
    """The requests of a study, read in a thread of its own.

    Args:
        location: the study's folder or URI.
        seen: names of recorded requests. Their files are deleted.
    """

    def __init__(self, location: str, seen: Iterable[str] = ()) -> None:
        self.location = location
        self._seen = frozenset(seen)
        self._known = set(self._seen)
        self._found: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._taken: set[str] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Inbox":
        """Start to look for requests."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._closed.set()

    def close(self) -> None:
        """Look a last time, unless the storage does not answer."""
        self._closed.set()
        self._thread.join(_PATIENCE_S)
        if not self._thread.is_alive():
            with contextlib.suppress(OSError, InputError):
                self.look()

    def take(self) -> Iterator[Request]:
        """Yield the requests that were found. The caller records each before it takes the next."""
        while True:
            try:
                request = self._found.get_nowait()
            except queue.Empty:
                return
            yield request
            self._taken.add(request.name)
            if not is_remote(self.location):
                with contextlib.suppress(OSError):
                    self._delete(request.name)

    def look(self) -> None:
        """Look for new requests once, and delete the files of recorded ones."""
        for name, content in sorted(self._read()):
            if name not in self._known:
                self._known.add(name)
                request = parse(name, content)
                if request:
                    self._found.put(request)
                else:
                    self._delete(name)
            elif self._is_recorded(name):
                self._delete(name)

    def _is_recorded(self, name: str) -> bool:
        """Return whether the record from which the study would be resumed holds a request."""
        if name in self._seen or name not in self._taken:
            return name in self._seen
        if not is_remote(self.location):
            return True
        filesystem, root = open_filesystem(self.location)
        with filesystem.open_input_stream(f"{root}/{STORE}") as source:
            return name.encode() in source.read()

    def list_waiting(self) -> list[Request]:
        """Return the requests that no command has taken yet."""
        found = (parse(name, content) for name, content in sorted(self._read()))
        return [request for request in found if request and request.name not in self._seen]

    def _look(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(OSError, InputError):  # storage that is temporarily away
                self.look()
            self._closed.wait(_LOOK_EVERY_S)

    def _read(self) -> Iterator[tuple[str, bytes]]:
        if is_remote(self.location):
            from pyarrow import fs

            filesystem, root = open_filesystem(self.location)
            selector = fs.FileSelector(f"{root}/{REQUESTS}", allow_not_found=True)
            for file in filesystem.get_file_info(selector):
                if file.base_name.endswith(_SUFFIX):
                    with filesystem.open_input_stream(file.path) as source:
                        yield file.base_name, source.read(_MAX_BYTES)
            return
        folder = Path(self.location) / REQUESTS
        for name in os.listdir(folder) if folder.is_dir() else ():
            if name.endswith(_SUFFIX):
                with contextlib.suppress(OSError):  # it may be readable at the next look
                    yield name, _read_file(folder / name)

    def _delete(self, name: str) -> None:
        if is_remote(self.location):
            filesystem, root = open_filesystem(self.location)
            filesystem.delete_file(f"{root}/{REQUESTS}/{name}")
        else:
            (Path(self.location) / REQUESTS / name).unlink(missing_ok=True)


def _read_file(path: Path) -> bytes:
    """Return the beginning of a file; nothing of a link or a pipe, which may be a stranger's."""
    try:
        descriptor = open_plain(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL):
            return b""
        raise
    try:
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def parse(name: str, content: bytes) -> Request | None:
    """Parse the file of a request; None if it is damaged."""
    try:
        found = json.loads(content)
        event = {**found, "event": "requested", "time": 0.0, "request": name}
        if find_fault(event) is None and event["action"] in ACTIONS:
            request = Request.from_event(event)
            complete = {STOP: request.trial, ENQUEUE: request.point, STOP_SEARCH: 0}
            return request if complete[request.action] is not None else None
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return None
