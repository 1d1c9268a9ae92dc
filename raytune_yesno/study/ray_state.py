"""What Ray Tune says of an experiment as a whole: its state file, and ``tuner.pkl``.

``experiment_state-*.json`` lists the trials, their statuses and the metric. ``tuner.pkl`` is a
pickle. It is only split into its tokens, which executes nothing, to find the values of ``metric``
and ``mode``.
"""

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from raytune_yesno.errors import one_line
from raytune_yesno.files.json_text import parse_json
from raytune_yesno.numerals import MAX_WHOLE
from raytune_yesno.study.events import is_time

STATES = "experiment_state-*.json"
TUNER = "tuner.pkl"
DEFAULT_METRIC = "_metric"  # Ray's name for the metric of ``tune.report(value)``
_MODES = ("min", "max")
_PICKLED = "CLOUDPICKLE_FALLBACK"  # marks a value in a state file that JSON cannot represent
_MAX_TUNER_BYTES = 10_000_000


@dataclass
class KnownTrial:
    """A trial in Ray's state file; a field is None if it is missing there."""

    name: str | None = None
    trial_id: str | None = None
    tag: str | None = None
    status: str | None = None
    started: float | None = None
    failures: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    has_result: bool = False
    extremes: dict[str, Any] = field(default_factory=dict)  # Ray's ``min`` and ``max`` by metric


@dataclass
class ExperimentState:
    """An experiment's state file: its name, trials and metric."""

    file: str = ""
    trials: list[KnownTrial] = field(default_factory=list)
    metric: str | None = None


def read_state(folder: Path, problems: list[str]) -> ExperimentState:
    """Return the newest readable state file: like Ray, the one with the largest name."""
    for file in sorted(folder.glob(STATES), reverse=True):
        try:
            return parse_state(file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            problems.append(one_line(f"{file.name}: left out, not a state file of Ray Tune"))
    return ExperimentState()


def parse_state(file: Path) -> ExperimentState:
    """Parse a state file of any version; other content raises various errors."""
    content = parse_json(read_text(file))
    # Until Ray 2.5 the key was ``checkpoints``, and each trial a mapping or its JSON.
    entries = content["trial_data"] if "trial_data" in content else content["checkpoints"]
    trials = []
    for entry in entries:
        parts = entry if isinstance(entry, list) else [entry]
        parts = [parse_json(part) if isinstance(part, str) else part for part in parts]
        state: dict[str, Any] = {key: value for part in parts for key, value in part.items()}
        logdir = as_text(state.get("relative_logdir")) or as_text(state.get("logdir"))
        failures, started = state.get("num_failures"), state.get("start_time")
        extremes = state.get("metric_analysis")
        trials.append(
            KnownTrial(
                name=Path(logdir).name if logdir else None,
                trial_id=as_text(state.get("trial_id")),
                tag=as_text(state.get("experiment_tag")),
                status=as_text(state.get("status")),
                started=started if is_time(started) else None,
                failures=failures if is_count(failures) else None,
                config=flatten(config) if isinstance(config := state.get("config"), dict) else {},
                has_result=bool(state.get("last_result")),
                extremes=extremes if isinstance(extremes, dict) else {},
            )
        )
    runner = content.get("runner_data")
    metric = as_text(runner.get("_metric")) if isinstance(runner, dict) else None
    return ExperimentState(file.name, trials, metric)


def read_tuner(file: Path) -> tuple[str | None, str | None]:
    """Return the metric and the mode in ``tuner.pkl``; None for each that is not found.

    They are those of the ``TuneConfig``, else of a scheduler or searcher. The pickle is only split
    into its tokens, so nothing in it is executed.
    """
    values: list[Any] = []
    memo: list[Any] = []
    try:
        if not file.is_file() or file.stat().st_size > _MAX_TUNER_BYTES:
            return None, None
        for code, value, _ in pickletools.genops(file.read_bytes()):
            if code.name == "MEMOIZE":
                memo.append(values[-1] if values else None)
            elif code.name in ("BINGET", "LONG_BINGET") and isinstance(value, int):
                values.append(memo[value] if value < len(memo) else None)
            elif code.name != "FRAME":
                values.append(value)
    except (OSError, ValueError, EOFError):
        return None, None
    # Fields of an object in Ray's order of definition; names and values alternate.
    for first, one, second, other in zip(values, values[1:], values[2:], values[3:], strict=False):
        if (first, second) == ("mode", "metric") and one in _MODES:
            return as_text(other) or DEFAULT_METRIC, one
        if (first, second) == ("_metric", "_mode") and other in _MODES and as_text(one):
            return one, other
    return None, None


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested config with joined keys, ``a/b``; what Ray pickled is ``(pickled)``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value.get("_type") == _PICKLED:
            flat[f"{prefix}{key}"] = "(pickled)"
        elif isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_text(file: Path) -> str:
    """Return the content of a file; empty if it is missing."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def is_count(value: Any) -> TypeGuard[int]:
    """Say whether a value is an integer that counts something."""
    return type(value) is int and 0 <= value <= MAX_WHOLE


def as_text(value: Any) -> str | None:
    """Return a value if it is text that is not empty, else None."""
    return value if isinstance(value, str) and value else None
