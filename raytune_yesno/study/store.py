"""The study's record: ``study.jsonl``, an append-only file with one JSON event per line.

The kinds of events and their fields are the models of :mod:`raytune_yesno.study.events`. In the
order in which they can occur: ``study``, then per trial ``asked``, ``started``, ``epoch``,
``damaged``, ``saved``, ``mutated`` and ``ended``; ``requested``, ``paused``, ``resumed``,
``final``, ``searched``, ``refitted``.

Search, analysis and recovery read only this file. Nothing is pickled.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.files.json_text import dump_json, parse_json
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.study.clock import read_clock
from raytune_yesno.study.events import find_fault, is_time
from raytune_yesno.text import list_some

STORE = "study.jsonl"
TRIALS = "trials"
"""The subfolder of a study with a folder for the checkpoints of each trial."""
REFIT = "refit"
"""The subfolder of a study with the training run of its best config."""
ENDINGS = ("done", "stopped", "diverged", "failed")

COMMAND_ID = "RAYTUNE_YESNO_COMMAND_ID"
"""The environment variable with a UUID for each command that may be repeated after a crash. Records
contain it: a repeated command makes no change that it has made before."""

Event = dict[str, Any]


def name_command() -> dict[str, str]:
    """Return the field of a record that tells a command that it is repeated, if it may be."""
    command_id = os.environ.get(COMMAND_ID)
    return {"command": command_id} if command_id else {}


class StudyStore:
    """Append events to a study's record, and notify listeners after each write.

    With ``wait``, no event is lost if the disk is full or unavailable for a while: the write is
    retried.

    Args:
        out: the study's folder; it is created if it is missing.
        listen: called with each event after it is written.
        wait: called with the error before each retry; it may raise to give up. None raises the
            error at once.
    """

    def __init__(
        self,
        out: Path | OutputFolder,
        listen: Callable[[Event], None] | None = None,
        wait: Callable[[OSError], None] | None = None,
    ) -> None:
        self.out = OutputFolder.of(out)
        self.path, self.wait = self.out.path / STORE, wait
        self.listeners = [listen] if listen else []
        self.out.path.mkdir(parents=True, exist_ok=True)
        self.is_begun = self.path.exists()
        _end_last_line(self.path)

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event and return it.

        All events except ``epoch`` are synced to disk, because recovery depends on them.

        Args:
            event: the kind of event.
            **fields: its fields; ``time`` defaults to now.
        """
        record = {"event": event, "time": read_clock(), **fields}
        line = (dump_json(record) + "\n").encode()
        while True:
            if self.out.check:
                self.out.check()
            try:
                self._write(line, sync=event != "epoch")
                break
            except OSError as error:
                if self.wait is None:
                    raise
                self.wait(error)
        for listen in self.listeners:
            listen(record)
        return record

    def _write(self, line: bytes, *, sync: bool) -> None:
        """Write a complete line, or nothing if the disk is full."""
        # Do not recreate a missing file: its file system may be unmounted temporarily.
        create = 0 if self.is_begun else os.O_CREAT
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | create, 0o644)
        self.is_begun = True
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = 0
                while written < len(line):
                    written += os.write(descriptor, line[written:])
                if sync:
                    os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        """Drop the callables: Ray pickles objects with a store, but never restores them."""
        out = replace(self.out, check=None)
        return {**self.__dict__, "out": out, "listeners": [], "wait": None}


def _suggest_folder(folder: Path) -> str:
    """Return the end of an error message: the studies inside a folder that is not one itself.

    Without any, they are sought in the folders inside, as in the folder that contains ``studies``.
    """
    found = list(folder.glob(f"*/{STORE}")) or folder.glob(f"*/*/{STORE}")
    inside = sorted(file.parent for file in found)
    if not inside:
        return "give the folder that `tune` printed"
    return f"give one of the studies inside: {list_some(inside, 5)}"


def read_events(
    folder: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Event], list[str]]:
    """Read the record of a study.

    Args:
        folder: the study's folder.
        progress: called from time to time with the bytes read and the bytes in total.

    Returns:
        The events, and a message for each line that was left out.

    Raises:
        InputError: there is no record, or its first event is not ``study``.
    """
    path = folder / STORE
    if not path.is_file():
        raise InputError(f"{folder}: no study here (no {STORE}); {_suggest_folder(folder)}")
    events: list[Event] = []
    problems: list[str] = []
    for number, event in _parse_lines(path, progress):
        fault: str | None = "not a complete record"
        if (
            isinstance(event, dict)
            and isinstance(event.get("event"), str)
            and is_time(event.get("time"))
        ):
            fault = find_fault(event)
        if fault and number == 1:
            raise InputError(
                f"{path}: not a study, the first line is not a 'study' event ({fault})"
            )
        if fault:
            problems.append(one_line(f"{path}:{number}: left out, {fault}"))
        else:
            events.append(event)
    if not events or events[0]["event"] != "study":
        raise InputError(f"{path}: not a study, the first line is not a 'study' event")
    return events, problems


def _parse_lines(
    path: Path, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, Any]]:
    total, done = path.stat().st_size, 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            event = None
            with contextlib.suppress(ValueError):
                event = parse_json(line)
            yield number, event
            done += len(line)
            if progress and number % 5000 == 0:
                progress(min(done, total), total)


def _end_last_line(path: Path) -> None:
    """Terminate a line that a crash truncated, so that the next event starts a new line."""
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
