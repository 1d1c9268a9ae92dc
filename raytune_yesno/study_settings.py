"""The settings of a study, each declared once.

These are derived from :data:`STUDY_SETTINGS`: the flags of ``tune``, the keys of a study file, the
first event of the record, what may change on resume, and the study file in the report. A new
setting needs one entry here, and code in :class:`raytune_yesno.tuning.plan.Plan` that uses it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.numerals import read_if_number

CHECKPOINT_EVERY_S = 10.0
"""Default time between checkpoints of a trial: the most work that a crash loses."""


@dataclass(frozen=True)
class StudySetting:
    """One setting of a study.

    Attributes:
        name: the key in a study file and in the record; with hyphens, the flag.
        kind: ``str``, ``int``, ``float``, ``bool``, ``list`` or ``dict``.
        help: the line of ``tune --help``; empty if the setting has no flag.
        metavar: the placeholder of the flag's value in ``--help``.
        stops: whether the setting is a stop condition, see ``StopConditions``.
        read: converts what the user may write, on the command line or in a file, to ``kind``;
            None if only values of ``kind`` are valid.
        changes: whether the setting may change on resume, as stop conditions may.
        attribute: the field of ``Plan``, if it has another name.
    """

    name: str
    kind: type
    help: str = ""
    metavar: str = "N"
    stops: bool = False
    read: Callable[[Any], Any] | None = None
    changes: bool = False
    attribute: str = ""

    @property
    def on_resume(self) -> bool:
        """Whether the setting may change when a study is resumed."""
        return self.stops or self.changes

    @property
    def field(self) -> str:
        """The name of the field of ``Plan`` or ``StopConditions``."""
        return self.attribute or self.name


def read_repeats(value: Any) -> dict[str, int]:
    """Read ``5``, ``2:5`` or a mapping as the fewest and the most trainings of a point.

    Example:
        >>> read_repeats("2:5"), read_repeats(5)
        ({'min': 2, 'max': 5}, {'min': 1, 'max': 5})

    Raises:
        InputError: the value is invalid.
    """
    value = value if isinstance(value, Mapping) or ":" in str(value) else {"max": value}
    found = {"min": 1, **_read_counts("repeats", value, "min", "max")}
    if not 1 <= found["min"] <= found.setdefault("max", found["min"]) <= MAX_REPEATS:
        raise InputError(
            f"repeats: {found['min']} to {found['max']} is out of range; give N or MIN:MAX, from 1 "
            f"to {MAX_REPEATS}"
        )
    return found


def read_final_round(value: Any) -> dict[str, int]:
    """Read ``4``, ``4:3`` or a mapping as the points of a final round and the seeds of each.

    Example:
        >>> read_final_round("4:5")
        {'points': 4, 'seeds': 5}

    Raises:
        InputError: the value is invalid.
    """
    value = value if isinstance(value, Mapping) or ":" in str(value) else {"points": value}
    found = {"points": FINAL_POINTS, "seeds": FINAL_SEEDS}
    found |= _read_counts("final_round", value, "points", "seeds")
    if not (0 <= found["points"] <= MAX_FINAL_POINTS and 2 <= found["seeds"] <= MAX_REPEATS):
        raise InputError(
            f"final_round: {found['points']} points with {found['seeds']} seeds is out of range; "
            f"give POINTS:SEEDS, up to {MAX_FINAL_POINTS} points (0 for no final round) with 2 to "
            f"{MAX_REPEATS} seeds each"
        )
    return found


def _read_counts(name: str, value: Any, first: str, second: str) -> dict[str, int]:
    """Return a mapping, or text of two numbers joined by a colon, as counts by key."""
    keys = (first, second)
    if not isinstance(value, Mapping):
        value = dict(zip(keys, str(value).split(":", 1), strict=False))
    counts = {key: read_if_number(count, int) for key, count in value.items()}
    if not counts or any(key not in keys or type(n) is not int for key, n in counts.items()):
        raise InputError(
            f"{name}: {value!r} is not valid; give a number, {first.upper()}:{second.upper()}, or "
            f"a mapping with {first} and {second}"
        )
    return counts


FINAL_POINTS, FINAL_SEEDS = 3, 3
"""Points of a final round and seeds of each, if the user gives only the other number."""
MAX_FINAL_POINTS = 1000
MAX_REPEATS = 100

STUDY_SETTINGS = (
    StudySetting("trials", int, "number of trials [32]", changes=True),
    StudySetting(
        "search",
        str,
        "auto, tpe, bayesian, pso, genetic, cmaes, bohb, random, grid or manual [auto]",
        "NAME",
    ),
    StudySetting("search_options", dict),
    StudySetting("points", list),
    StudySetting(
        "scheduler",
        str,
        "fifo, asha, hyperband, median or pbt [asha; for search manual: fifo]",
        "NAME",
    ),
    StudySetting("scheduler_options", dict),
    StudySetting("max_concurrent", int, "maximum number of parallel trials [as many as fit]"),
    StudySetting("time_budget", float, "end the search after S seconds", "S", stops=True),
    StudySetting(
        "target",
        str,
        "end the search when a trial reaches a value: wer=0, loss=0.1",
        "METRIC=VALUE",
        stops=True,
    ),
    StudySetting("patience", int, "end the search after N trials without improvement", stops=True),
    StudySetting("max_failures", int, "end the search when more than N trials fail", stops=True),
    StudySetting(
        "ordered", bool, "make results independent of timing and slot count; trials may wait"
    ),
    StudySetting("W", int, attribute="window"),
    StudySetting(
        "repeats",
        dict,
        "train promising points again with other seeds, up to N times; every point at least MIN "
        "times [1]",
        "[MIN:]N",
        read=read_repeats,
    ),
    StudySetting(
        "final_round",
        dict,
        "train the K best points again with SEEDS new seeds each before the refit; adds K x SEEDS "
        "trials [0]",
        "K[:SEEDS]",
        read=read_final_round,
        changes=True,
    ),
    StudySetting(
        "prefer",
        str,
        "which point of the front to train again: the best in the first objective that keeps a "
        "limit, such as num_parameters<=20000 [the knee of the front]",
        "NAME<=X",
        changes=True,
    ),
    StudySetting(
        "refit",
        str,
        "best, or all to train every point of the front again [best]",
        "WHICH",
        changes=True,
    ),
    StudySetting(
        "keep_checkpoints",
        int,
        "keep the last checkpoints of the best K trials, so that --top can continue them [0]",
        "K",
    ),
)
