"""The study store: ``study.jsonl``, append-only, one JSON line an event.

Events, in the order in which they can occur:

``study``   what was asked: config, space, search, scheduler, trials, seed, corpus, versions
``asked``   a trial's number and point, before it is launched
``started`` a trial began (again, with the next ``attempt``) in a process on a host
``epoch``   the metrics of an epoch, and where it was trained: ``host``, Ray's ``node`` (a host may
            run several), ``pid``; ``began`` and ``ended`` are the worker's clock, in seconds
``damaged`` a checkpoint of the trial's could not be used: ``reason``, and what it went on from
``saved``   the trial's latest checkpoint, and its epoch
``mutated`` after an epoch, a scheduler copied another trial (``source``) over this one, which goes
            on from that one's ``checkpoint`` with a new point
``ended``   a trial ended: ``done``, ``stopped`` (by the scheduler or a stop condition),
            ``diverged`` or ``failed``
``paused``  the search was interrupted; ``resumed``: it goes on, or is given more ``trials``
``searched`` the search came to its end; ``reason``: before its last trial
``refitted`` the refit's checkpoint and its figures on the test part

Search, analysis and recovery all read this file; nothing else is needed, and no pickle.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.files.json_text import dump_json, parse_json
from raytune_yesno.study.clock import read_clock
from raytune_yesno.study.events import find_fault, is_time

STORE = "study.jsonl"
ENDINGS = ("done", "stopped", "diverged", "failed")

Event = dict[str, Any]


class StudyStore:
    """Append events to a study's store, and hand each to ``listen`` once it is written.

    A full disk, or one that is gone for a while, costs no record: an event that cannot be written
    is tried again until it can.

    Args:
        listen: called with each event.
        place: where the study's checkpoints lie for all nodes: its folder, or a URI.
        wait: called with the error before each new try; it may give up by raising. None to raise
            the error at once.
        check: called before each write; it raises where this process may no longer write.
    """

    def __init__(
        self,
        folder: Path,
        listen: Callable[[Event], None] | None = None,
        place: str | None = None,
        wait: Callable[[OSError], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.path, self.wait, self.check = folder / STORE, wait, check
        self.listeners = [listen] if listen else []
        self.place = place or str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.is_begun = self.path.exists()
        _end_last_line(self.path)

    def append(self, event: str, **fields: Any) -> None:
        """Write one event; those that recovery rests on are on the disk when this returns."""
        record = {"event": event, "time": read_clock(), **fields}
        line = (dump_json(record) + "\n").encode()
        while True:
            if self.check:
                self.check()
            try:
                self._write(line, sync=event != "epoch")
                break
            except OSError as error:
                if self.wait is None:
                    raise
                self.wait(error)
        for listen in self.listeners:
            listen(record)

    def _write(self, line: bytes, *, sync: bool) -> None:
        """Write a whole line, or nothing where the disk is full."""
        # Not made anew where it is gone: it may lie on a file system that is not mounted for now.
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
        """Leave out the callables: Ray pickles who holds a store, and never reads that again."""
        return {**self.__dict__, "listeners": [], "wait": None, "check": None}


def read_events(
    folder: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Event], list[str]]:
    """Return a store's events, and a line on each line that could not be read.

    Args:
        folder: the study's.
        progress: called now and then with the bytes read, and all there are.

    Raises:
        InputError: there is no store, or its first line is not that of a study.
    """
    path = folder / STORE
    if not path.is_file():
        raise InputError(
            f"{folder}: no study here (no {STORE}); give the folder that `tune` printed"
        )
    events: list[Event] = []
    problems: list[str] = []
    for number, event in _parse_lines(path, progress):
        fault: str | None = "not a whole record"
        if (
            isinstance(event, dict)
            and isinstance(event.get("event"), str)
            and is_time(event.get("time"))
        ):
            fault = find_fault(event)
        if fault and number == 1:
            raise InputError(
                f"{path}: not a study, its first line does not say what was asked ({fault})"
            )
        if fault:
            problems.append(one_line(f"{path}:{number}: left out, {fault}"))
        else:
            events.append(event)
    if not events or events[0]["event"] != "study":
        raise InputError(f"{path}: not a study, its first line does not say what was asked")
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
    """End a line that a crash cut short, so that the next event does not continue it."""
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
