"""How a study's slots spent their time: training and the kinds of overhead."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from raytune_yesno.study.store import Event


@dataclass(frozen=True)
class Efficiency:
    """How the slots spent their time.

    The shares add up to one. The whole is number of slots × seconds from the first training step
    to the end of the search. If the number of slots was changed, it is the sum over its values.

    Attributes:
        efficiency: share of training.
        startup: share before a slot's first training step.
        reporting: share of overhead between the epochs of a trial.
        gaps: share between the last epoch of a trial and the first step of the next one.
        tail: share after a slot's last trial.
        median_gap_s: median seconds between two trials on a slot; None without a gap.
        startup_s: seconds from the study's start to its first training step.
    """

    efficiency: float
    startup: float
    reporting: float
    gaps: float
    tail: float
    median_gap_s: float | None
    startup_s: float

    @property
    def largest_overhead(self) -> tuple[float, str]:
        """The largest share beside training, and its name."""
        names = ("startup", "reporting", "gaps", "tail")
        return max(((getattr(self, name), name) for name in names), key=lambda pair: pair[0])


def measure_efficiency(
    epochs: Sequence[Event],
    *,
    phases: Sequence[tuple[float, int]],
    asked_at: float,
    end: float,
    pauses: Sequence[tuple[float, float]] = (),
) -> Efficiency | None:
    """Return how the slots spent their time.

    Args:
        epochs: events of all epochs, with ``trial``, ``host``, ``pid``, ``began``, ``ended`` and
            ``seconds``, and with ``node`` if a host runs several nodes.
        phases: the number of concurrent trials, and since when it holds, in seconds since 1970; in
            the order of time.
        asked_at: start of the study, in seconds since 1970.
        end: end of the search, in seconds since 1970.
        pauses: spans of time that do not count.

    Returns:
        The shares; None if no time was spent.
    """
    if not epochs:
        return None
    first = begin = omit_pauses(min(epoch["began"] for epoch in epochs), pauses)
    shares = dict.fromkeys(("efficiency", "startup", "reporting", "gaps", "tail"), 0.0)
    gaps: list[float] = []
    total = 0.0
    changes = [phase for k, phase in enumerate(phases) if not k or phase[1] != phases[k - 1][1]]
    for (_, num_slots), (until, _) in itertools.pairwise([*changes, (math.inf, 0)]):
        within = [epoch for epoch in epochs if epoch["began"] < until]
        epochs = [epoch for epoch in epochs if epoch["began"] >= until]
        slots = assign_slots(within, num_slots=num_slots, pauses=pauses)
        stop = omit_pauses(min(until, end), pauses)
        stop = max(begin, stop, *(epoch["ended"] for slot in slots for epoch in slot))
        spent = _measure_phase(slots, begin, stop, gaps)
        # The sum is larger only if a clock was set forward and back.
        whole = max(num_slots * (stop - begin), sum(spent.values()))
        spent["startup"] += whole - sum(spent.values())  # slots that never ran a trial
        shares = {name: shares[name] + spent[name] for name in shares}
        total, begin = total + whole, stop
    if total <= 0:
        return None
    return Efficiency(
        **{name: seconds / total for name, seconds in shares.items()},
        median_gap_s=median(gaps) if gaps else None,
        startup_s=max(0.0, first - asked_at),
    )


def _measure_phase(
    slots: Sequence[list[Event]], begin: float, end: float, gaps: list[float]
) -> dict[str, float]:
    """Return the seconds that slots spent between two times; add those between trials to gaps."""
    spent = {"efficiency": 0.0, "startup": 0.0, "reporting": 0.0, "gaps": 0.0, "tail": 0.0}
    for slot in slots:
        slot.sort(key=lambda epoch: epoch["began"])
        spent["startup"] += max(0.0, slot[0]["began"] - begin)
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
    return spent


def assign_slots(
    epochs: Sequence[Event],
    *,
    num_slots: int,
    pauses: Sequence[tuple[float, float]] = (),
) -> list[list[Event]]:
    """Return the epochs of each slot.

    A slot is a process, or several processes that followed each other.

    Args:
        epochs: events of epochs.
        num_slots: number of concurrent trials.
        pauses: spans of time by which ``began`` and ``ended`` are shifted, as if the clock had
            stopped.
    """
    processes: dict[tuple[str, str, int], list[Event]] = {}
    for epoch in epochs:
        began, ended = omit_pauses(epoch["began"], pauses), omit_pauses(epoch["ended"], pauses)
        moved = {**epoch, "began": began, "ended": ended}
        # Containers may share a host name and use the same process ids.
        key = (epoch["host"], epoch.get("node", ""), epoch["pid"])
        processes.setdefault(key, []).append(moved)
    slots: list[list[Event]] = []
    for process in sorted(processes.values(), key=lambda process: process[0]["began"]):
        if len(slots) < num_slots:
            slots.append(process)
        else:  # the process replaced one that was lost
            min(slots, key=lambda slot: slot[-1]["ended"]).extend(process)
    return slots


def omit_pauses(time: float, pauses: Sequence[tuple[float, float]]) -> float:
    """Return a time as if the clock had stopped during the pauses before it."""
    return time - sum(min(time, stop) - start for start, stop in pauses if time > start)
