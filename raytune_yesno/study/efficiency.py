"""How much of a study's slots was training, and where the rest of their time went."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from raytune_yesno.study.store import Event


@dataclass(frozen=True)
class Efficiency:
    """How much of the slots' time was training, and what the rest was.

    Shares of slots × seconds from the first trial's first step to the search's end; they add up
    to one.

    Attributes:
        efficiency: inside the training loop.
        startup: slots that had not begun their first trial yet.
        reporting: between the epochs of a trial.
        gaps: between one trial's last epoch and the next one's first step.
        tail: slots that had no trial left to run.
        median_gap_s: seconds from a trial's end to the next one's first step on that slot.
        startup_s: seconds from the study's start to the first step.
    """

    efficiency: float
    startup: float
    reporting: float
    gaps: float
    tail: float
    median_gap_s: float | None
    startup_s: float


def measure_efficiency(
    epochs: Sequence[Event],
    *,
    num_slots: int,
    asked_at: float,
    end: float,
    pauses: Sequence[tuple[float, float]] = (),
) -> Efficiency | None:
    """Return where the slots' time went; None without an epoch.

    Args:
        epochs: the records of all epochs, with ``trial``, ``host``, ``pid``, ``began``, ``ended``
            and ``seconds``; and ``node``, where a host runs several.
        num_slots: trials at a time.
        asked_at, end: when the study and its search began and ended, in seconds since 1970.
        pauses: spans of time in between that do not count.
    """

    slots = assign_slots(epochs, num_slots=num_slots, pauses=pauses)
    if not slots:
        return None
    begin = min(epoch["began"] for slot in slots for epoch in slot)
    end = max(_unpaused(end, pauses), *(epoch["ended"] for slot in slots for epoch in slot))
    spent = {"efficiency": 0.0, "startup": 0.0, "reporting": 0.0, "gaps": 0.0, "tail": 0.0}
    gaps: list[float] = []
    for slot in slots:
        slot.sort(key=lambda epoch: epoch["began"])
        spent["startup"] += slot[0]["began"] - begin
        spent["tail"] += end - slot[-1]["ended"]
        for epoch, following in zip(slot, [*slot[1:], None], strict=True):
            spent["efficiency"] += epoch["seconds"]
            spent["reporting"] += max(0.0, epoch["ended"] - epoch["began"] - epoch["seconds"])
            if following is None:
                continue
            pause = max(0.0, following["began"] - epoch["ended"])
            if following["trial"] == epoch["trial"]:
                spent["reporting"] += pause
            else:
                spent["gaps"] += pause
                gaps.append(pause)
    # More than the slots had only where a clock was set forward and back.
    whole = max(num_slots * (end - begin), sum(spent.values()))
    if whole <= 0:
        return None
    # Slots that never ran anything.
    spent["startup"] += whole - sum(spent.values())
    shares = {name: seconds / whole for name, seconds in spent.items()}
    return Efficiency(
        **shares,
        median_gap_s=median(gaps) if gaps else None,
        startup_s=max(0.0, begin - asked_at),
    )


def assign_slots(
    epochs: Sequence[Event],
    *,
    num_slots: int,
    pauses: Sequence[tuple[float, float]] = (),
) -> list[list[Event]]:
    """Return the epochs of each slot, a process's or those of several that followed each other.

    ``began`` and ``ended`` are moved to a clock that stands still during pauses.
    """
    processes: dict[tuple[str, str, int], list[Event]] = {}
    for epoch in epochs:
        began, ended = _unpaused(epoch["began"], pauses), _unpaused(epoch["ended"], pauses)
        moved = {**epoch, "began": began, "ended": ended}
        # Nodes in containers may have one host name, and number their processes alike.
        key = (epoch["host"], epoch.get("node", ""), epoch["pid"])
        processes.setdefault(key, []).append(moved)
    slots: list[list[Event]] = []
    for process in sorted(processes.values(), key=lambda process: process[0]["began"]):
        if len(slots) < num_slots:
            slots.append(process)
        else:  # a process that took a lost one's place
            min(slots, key=lambda slot: slot[-1]["ended"]).extend(process)
    return slots


def _unpaused(time: float, pauses: Sequence[tuple[float, float]]) -> float:
    return time - sum(min(time, stop) - start for start, stop in pauses if time > start)
