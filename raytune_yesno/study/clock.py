"""Consistent times in a study's record, although clocks are adjusted and differ between hosts."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

_TOLERANCE_S = 1.0
"""A report takes less than this from a worker to the driver; otherwise their clocks differ."""
_STEP_S = 30.0
"""If the delay of reports changes by this much, the worker's clock was adjusted in between."""


def _count_s() -> float:
    """Return monotonic seconds that include the time for which the machine was suspended."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


_ORIGIN_S = time.time() - _count_s()


def read_clock() -> float:
    """Return seconds since 1970, unaffected by clock changes after the start of the process."""
    return _ORIGIN_S + _count_s()


def correct_times(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events with all times on the driver's clock, in ascending order.

    If an event is earlier than the one before it, the driver's clock was set back: all times from
    there on are shifted. A worker's times are shifted if they are later than the record of them,
    or earlier by more than a report takes.
    """
    shift, last = 0.0, float("-inf")
    corrected: list[dict[str, Any]] = []
    processes: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for event in events:
        moved = event["time"] + shift
        if moved < last:
            shift += last - moved
            moved = last
        last = moved
        corrected.append({**event, "time": moved} if shift else event)
        if event["event"] == "epoch":
            process = (event["host"], event.get("node"), event["pid"], shift)
            processes[process].append(len(corrected) - 1)
    for indices in processes.values():
        _move_process(corrected, indices)
    return corrected


def _move_process(events: list[dict[str, Any]], indices: Sequence[int]) -> None:
    """Shift the times of one process's epochs to the driver's clock."""
    behind = [events[index]["time"] - events[index]["ended"] for index in indices]
    first = 0
    for end in range(1, len(indices) + 1):
        if end < len(indices) and abs(behind[end] - behind[first]) < _STEP_S:
            continue
        shift = min(behind[first:end])
        for index in indices[first:end]:
            epoch = events[index]
            if not 0 <= shift <= _TOLERANCE_S:
                moved = {"began": epoch["began"] + shift, "ended": epoch["ended"] + shift}
                epoch = events[index] = {**epoch, **moved}
            if epoch["began"] > epoch["ended"]:  # the clock was set back during the epoch
                events[index] = {**epoch, "began": epoch["ended"] - epoch["seconds"]}
        first = end
