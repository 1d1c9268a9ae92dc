"""What Ray Tune wrote of one trial: the files of its folder.

``params.json`` is the last config, ``result.json`` has one JSON line per report, ``progress.csv``
the same reports without configs, and ``error.txt`` what the trial raised.
"""

import contextlib
import csv
import io
import math
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raytune_yesno.errors import one_line
from raytune_yesno.files.json_text import parse_json
from raytune_yesno.metrics import name_metric
from raytune_yesno.numerals import MAX_NUMBER
from raytune_yesno.study.events import is_time
from raytune_yesno.study.ray_state import KnownTrial, as_text, flatten, is_count, read_text
from raytune_yesno.study.store import Event
from raytune_yesno.text import plural

RESULTS, PROGRESS, PARAMS, _ERROR = "result.json", "progress.csv", "params.json", "error.txt"
TEXTS = (RESULTS, PROGRESS, PARAMS, _ERROR)
COPIES = "pbt_global.txt"  # exists if PBT copied trials
_TIMES = ("time_this_iter_s", "time_total_s", "timestamp")
# Columns of progress.csv that are always strings.
_CSV_TEXTS = frozenset(("trial_id", "date", "hostname", "node_ip", "experiment_tag"))


@dataclass
class FoundTrial:
    """The content of a trial's folder, and its entry in the state file."""

    name: str
    point: dict[str, Any] = field(default_factory=dict)
    reports: list[Event] = field(default_factory=list)
    # Whether a report is the first one after a restart.
    restored: list[bool] = field(default_factory=list)
    metrics: dict[str, None] = field(default_factory=dict)  # names, in order of appearance
    trial_id: str | None = None
    error: str | None = None
    failures: int = 0
    known: KnownTrial | None = None


def read_trial(path: Path, left_out: Container[str], problems: list[str]) -> FoundTrial:
    """Return the content of a trial's folder."""
    found = FoundTrial(path.name)
    try:
        found.point = flatten(parse_json((path / PARAMS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        problems.append(one_line(f"{path.name}: no {PARAMS}, so its config is unknown"))
    except (OSError, ValueError, AttributeError):
        problems.append(one_line(f"{path.name}/{PARAMS}: left out, not a config in JSON"))
    clock = _Clock()
    config: Any = None
    point: dict[str, Any] = {}
    large = 0
    name, rows = _read_rows(path)
    for number, result in rows:
        if result is None:
            problems.append(one_line(f"{path.name}/{name}:{number}: left out, not a full report"))
            continue
        metrics, too_large = _read_metrics(result, left_out)
        found.metrics.update(dict.fromkeys(metrics))
        large += too_large
        if result.get("config") != config:  # usually all reports share one config
            config = result.get("config")
            point = flatten(config) if isinstance(config, dict) else {}
        seconds = float(result.get("time_this_iter_s", 0.0))
        ended = clock.align(result, seconds)
        found.reports.append(
            {
                "epoch": result["training_iteration"],
                "attempt": 1,
                **metrics,
                "seconds": seconds,
                "host": str(result.get("hostname", "")),
                "node": str(result.get("node_ip", "")),
                "pid": result.get("pid", 0),
                "began": ended - seconds,
                "ended": ended,
                **({"point": point} if point else {}),
            }
        )
        found.restored.append(result.get("iterations_since_restore") == 1)
        found.trial_id = found.trial_id or as_text(result.get("trial_id"))
        found.point = found.point or point
    if large:
        problems.append(
            one_line(f"{path.name}: {plural(large, 'value')} left out, beyond {MAX_NUMBER:g}")
        )
    if name == PROGRESS and (path.parent / COPIES).is_file():
        problems.append(
            one_line(
                f"{path.name}: {PROGRESS} has no configs, the last one is used for all reports"
            )
        )
    found.error, found.failures = _read_error(read_text(path / _ERROR))
    return found


def _read_error(text: str) -> tuple[str | None, int]:
    """Return the last error without its traceback, and the number of failures."""
    lines = [line for line in text.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith("Failure # ")]
    last = lines[starts[-1] + 1 :] if starts else lines
    # Lines of a traceback are indented; a message may have several lines.
    indented = [number for number, line in enumerate(last) if line[0].isspace()]
    message = last[indented[-1] + 1 :] if indented else last
    message = message or lines[-1:]
    return (one_line(" ".join(map(str.strip, message))) if message else None), len(starts)


def _read_rows(path: Path) -> tuple[str, Iterator[tuple[int, dict[str, Any] | None]]]:
    """Return the name of the file of reports, and its line numbers and reports.

    A damaged report is None.
    """
    if (path / RESULTS).is_file() or not (path / PROGRESS).is_file():
        return RESULTS, _parse_results(read_text(path / RESULTS))
    return PROGRESS, _parse_progress(read_text(path / PROGRESS))


def _parse_results(text: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            result = parse_json(line)
        except ValueError:
            result = None
        yield number, result if isinstance(result, dict) and _is_whole(result) else None


def _parse_progress(text: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=None)
    try:
        for row in reader:
            cells = "" not in row and None not in row.values()
            typed = {
                key: value if key in _CSV_TEXTS else _parse_cell(value)
                for key, value in row.items()
                if isinstance(value, str) and value
            }
            yield reader.line_num, typed if cells and _is_whole(typed) else None
    except csv.Error:
        yield reader.line_num, None


def _is_whole(result: Mapping[str, Any]) -> bool:
    """Say whether Ray's own fields of a report, as far as they exist, have valid values."""
    return (
        is_count(result.get("training_iteration"))
        and is_count(result.get("pid", 0))
        and all(is_time(result.get(name, 0.0)) for name in _TIMES)
    )


def _parse_cell(text: str) -> Any:
    """Return a cell as an integer or a float, else as text."""
    if re.fullmatch(r"[+-]?\d{1,4000}", text):
        return int(text)
    if "_" not in text:
        with contextlib.suppress(ValueError):
            return float(text)
    return text


class _Clock:
    """Align a trial's reports to the wall clock."""

    def __init__(self) -> None:
        self.start: float | None = None
        self.ended = 0.0
        self.total = 0.0

    def align(self, result: Mapping[str, Any], seconds: float) -> float:
        """Return when a report that took ``seconds`` ended, in seconds since 1970."""
        self.total = float(result.get("time_total_s", self.total + seconds))
        stamp = float(result.get("timestamp", self.ended + seconds))
        if self.start is None or abs(self.start + self.total - stamp) > 2:
            self.start = max(0.0, stamp - self.total)  # first report, or first one after a pause
        self.ended = self.start + self.total
        return self.ended


def _read_metrics(
    result: Mapping[str, Any], left_out: Container[str]
) -> tuple[dict[str, float | None], int]:
    """Return the reported numbers, and how many of them are too large for sums and plots.

    A number that is too large or not finite becomes None.
    """
    metrics: dict[str, float | None] = {}
    large = 0
    reported = {key: value for key, value in result.items() if key not in left_out}
    for key, value in flatten(reported).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        kept = -MAX_NUMBER <= value <= MAX_NUMBER
        metrics[name_metric(key)] = value if kept else None
        large += not kept and (isinstance(value, int) or math.isfinite(value))
    return metrics, large
