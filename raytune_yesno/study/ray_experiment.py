"""Read a Ray Tune experiment from its text files, without unpickling anything.

Ray writes a folder per trial with ``params.json`` (the last config), ``result.json`` (one JSON line
per report), ``progress.csv`` (the same reports without configs) and, if the trial raised,
``error.txt``. ``experiment_state-*.json`` beside the folders lists the trials, their statuses and
the metric. ``tuner.pkl`` is a pickle. It is only split into its tokens, which executes
nothing, to find the values of ``metric`` and ``mode``.

The numbers equal those of Ray's ``ResultGrid``: every report counts, including those repeated by a
retry or a copied checkpoint, and the best trial is that of ``get_best_result(scope="all")``,
whatever its status.

The file is longer than 300 lines, because it covers the formats of all Ray versions in one module.
"""

import contextlib
import csv
import io
import math
import pickletools
import re
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from raytune_yesno.errors import InputError, one_line, suggest_name
from raytune_yesno.files.json_text import parse_json
from raytune_yesno.files.remote import copy_files
from raytune_yesno.metrics import Metric, Objective
from raytune_yesno.study.events import is_time
from raytune_yesno.study.metric_names import known_mode, name_metric
from raytune_yesno.study.store import STORE, Event
from raytune_yesno.study.study import METRIC, Study, Trial

_RESULTS, _PROGRESS, _PARAMS, _ERROR = "result.json", "progress.csv", "params.json", "error.txt"
_TEXTS = (_RESULTS, _PROGRESS, _PARAMS, _ERROR)
_STATES = "experiment_state-*.json"
_TUNER = "tuner.pkl"
_COPIES = "pbt_global.txt"  # exists if PBT copied trials
_MODES = ("min", "max")
_DEFAULT_METRIC = "_metric"  # Ray's name for the metric of ``tune.report(value)``
_PICKLED = "CLOUDPICKLE_FALLBACK"  # marks a value in a state file that JSON cannot represent
_MAX_TUNER_BYTES = 10_000_000
_MAX_NUMBER = 1e300  # sums of metrics stay finite
_RANKED = ("done", "stopped", "failed", "running")  # Ray ranks trials of every status

_TIMES = ("time_this_iter_s", "time_total_s", "timestamp")

# Fields that Ray sets in every report. Ray itself overwrites metrics of these names.
_ADDED = frozenset(
    (
        *("timestamp", "checkpoint_dir_name", "done", "should_checkpoint", "training_iteration"),
        *("trial_id", "date", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip"),
        *("config", "time_since_restore", "iterations_since_restore", "experiment_tag"),
        *("experiment_id",),
    )
)
# Fields of older Ray versions or optional ones: kept, but never chosen as the objective.
_COUNTERS = frozenset(
    (
        *("timesteps_total", "episodes_total", "timesteps_since_restore", "timesteps_this_iter"),
        *("episodes_this_iter", "warmup_time", "trial_num", "worker_index"),
    )
)
# Columns of progress.csv that are always strings.
_CSV_TEXTS = frozenset(("trial_id", "date", "hostname", "node_ip", "experiment_tag"))


class _RayObjective(Objective):
    """Order reports as Ray does: the first of equal ones wins, and integers are exact."""

    def score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a sort key of an epoch or a trial; the smallest is the best."""
        value = record[self.metric.name]
        return (-value if self.metric.mode == "max" else value,)

    epoch_score = score


@dataclass
class _Known:
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
class _State:
    """An experiment's state file: its name, trials and metric."""

    file: str = ""
    trials: list[_Known] = field(default_factory=list)
    metric: str | None = None


@dataclass
class _Found:
    """The content of a trial's folder, and its entry in the state file."""

    name: str
    point: dict[str, Any] = field(default_factory=dict)
    reports: list[Event] = field(default_factory=list)
    restored: list[bool] = field(
        default_factory=list
    )  # whether a report is the first one after a restart
    metrics: dict[str, None] = field(default_factory=dict)  # names, in order of appearance
    trial_id: str | None = None
    error: str | None = None
    failures: int = 0
    known: _Known | None = None


def is_experiment(folder: Path) -> bool:
    """Say whether a folder is a Ray Tune experiment."""
    patterns = (_STATES, *(f"*/{name}" for name in (_RESULTS, _PARAMS, _PROGRESS)))
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def read_experiment(
    folder: Path,
    *,
    metric: str | None = None,
    mode: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Return an experiment as a study.

    A report becomes an epoch, with Ray's ``training_iteration`` as its number. Its time is Ray's
    ``time_total_s``, aligned to the wall clock with ``timestamp``, which has a resolution of one
    second. Keys of nested configs and metrics are joined with ``/``. A metric with a reserved name
    becomes ``metric.NAME``. A trial that ended without an error but with fewer reports than another
    one counts as ``stopped``.

    Args:
        folder: the experiment's folder.
        metric: the metric to judge by. Defaults to the choice of :func:`_choose_metric`.
        mode: ``min`` or ``max``. Defaults to the choice of :func:`_choose_mode`.
        progress: called from time to time with the number of trials read and their total.

    Returns:
        The study.

    Raises:
        InputError: the metric or its direction is ambiguous.
    """
    problems: list[str] = []
    state = _read_state(folder, problems)
    tuner = _read_tuner(folder / _TUNER)
    # Ray allows its own fields, such as ``time_total_s``, as the metric.
    left_out = _ADDED - {metric, state.metric, tuner[0]}
    found = _read_trials(folder, state, left_out, problems, progress)
    names = list(dict.fromkeys(name for trial in found for name in trial.metrics))
    metric, metric_source = _choose_metric(folder, metric, names, state, tuner)
    mode, mode_source = _choose_mode(folder, mode, metric, names, tuner)
    if metric not in names and any(trial.reports for trial in found):
        problems.append(one_line(f"no trial reports the metric {metric!r}"))
    longest = max((len(trial.reports) for trial in found), default=0)
    judged = Metric(metric, "max" if mode == "max" else "min")
    objective = _RayObjective(judged)
    trials = [_build_trial(number, trial, longest, objective) for number, trial in enumerate(found)]
    lost = sum(map(_lacks_best, trials, found))
    if lost:
        problems.append(
            f"{lost} trials reported a better {one_line(metric)} than Ray wrote to their files"
        )
    epochs = [epoch for trial in trials for epoch in trial.epochs]
    began = min((epoch["began"] for epoch in epochs), default=0.0)
    return Study(
        path=folder,
        asked={
            "event": "study",
            "time": began,
            "slots": _count_parallel(trials),
            "search": "Ray Tune",
            "scheduler": "",
            "corpus": {},
            "versions": {},
            "space": {},
            "trials": len(trials),
        },
        trial_list=trials,
        refit=None,
        searched=all(trial.status != "running" for trial in trials),
        end_time=max((epoch["ended"] for epoch in epochs), default=began),
        pauses=[],
        problems=problems,
        objective=objective,
        metric_source=metric_source,
        mode_source=mode_source,
        ranked=_RANKED,
    )


@contextlib.contextmanager
def copy_texts(uri: str) -> Iterator[Path]:
    """Copy the files that analysis reads from a URI to a temporary folder.

    Args:
        uri: URI of a study or an experiment, of a scheme that pyarrow knows.

    Yields:
        The temporary folder.

    Raises:
        InputError: there is neither at the URI, or it cannot be reached.
    """
    from pyarrow import fs

    with tempfile.TemporaryDirectory() as kept:
        try:
            system, root = fs.FileSystem.from_uri(uri)
            root = root.rstrip("/")
            if not root:
                raise ValueError("the URI has no path")
            store = system.get_file_info(f"{root}/{STORE}")
            if store.type == fs.FileType.File:
                wanted = [store]
            else:
                listed = system.get_file_info(fs.FileSelector(root, recursive=True))
                wanted = [
                    file
                    for file in listed
                    if file.base_name in (*_TEXTS, _TUNER, _COPIES)
                    or file.base_name.startswith("experiment_state-")
                ]
            copy_files(system, wanted, root, Path(kept))
        except (OSError, ValueError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{uri.split('?')[0]}: cannot be read ({reason})") from None
        if not wanted:
            raise InputError(
                f"{uri.split('?')[0]}: no study here and no Ray Tune experiment; check the URI"
            )
        yield Path(kept)


def _read_state(folder: Path, problems: list[str]) -> _State:
    """Return the newest readable state file: like Ray, the one with the largest name."""
    for file in sorted(folder.glob(_STATES), reverse=True):
        try:
            return _parse_state(file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            problems.append(one_line(f"{file.name}: left out, not a state file of Ray Tune"))
    return _State()


def _parse_state(file: Path) -> _State:
    """Parse a state file of any version; other content raises various errors."""
    content = parse_json(_read_text(file))
    # Until Ray 2.5 the key was ``checkpoints``, and each trial a mapping or its JSON.
    entries = content["trial_data"] if "trial_data" in content else content["checkpoints"]
    trials = []
    for entry in entries:
        parts = entry if isinstance(entry, list) else [entry]
        parts = [parse_json(part) if isinstance(part, str) else part for part in parts]
        state: dict[str, Any] = {key: value for part in parts for key, value in part.items()}
        logdir = _text(state.get("relative_logdir")) or _text(state.get("logdir"))
        failures, started = state.get("num_failures"), state.get("start_time")
        extremes = state.get("metric_analysis")
        trials.append(
            _Known(
                name=Path(logdir).name if logdir else None,
                trial_id=_text(state.get("trial_id")),
                tag=_text(state.get("experiment_tag")),
                status=_text(state.get("status")),
                started=started if is_time(started) else None,
                failures=failures if _is_count(failures) else None,
                config=_flatten(config) if isinstance(config := state.get("config"), dict) else {},
                has_result=bool(state.get("last_result")),
                extremes=extremes if isinstance(extremes, dict) else {},
            )
        )
    runner = content.get("runner_data")
    metric = _text(runner.get("_metric")) if isinstance(runner, dict) else None
    return _State(file.name, trials, metric)


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**53


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_trials(
    folder: Path,
    state: _State,
    left_out: Container[str],
    problems: list[str],
    progress: Callable[[int, int], None] | None,
) -> list[_Found]:
    """Return the trials in order of creation."""
    by_name = {known.name: known for known in state.trials if known.name}
    by_id = {known.trial_id: known for known in state.trials if known.trial_id}
    paths = sorted(
        path for path in folder.iterdir() if any((path / name).is_file() for name in _TEXTS)
    )
    found = []
    for number, path in enumerate(paths):
        trial = _read_trial(path, left_out, problems)
        # The reports contain the trial's id, which identifies a renamed folder.
        trial.known = by_name.get(path.name) or by_id.get(trial.trial_id or "")
        found.append(trial)
        if progress and number % 100 == 0:
            progress(number, len(paths))
    if state.trials:
        found = _leave_out_earlier(folder, state, found, problems)
    seen = {id(trial.known) for trial in found}
    gone = 0
    for known in state.trials:
        if id(known) not in seen:
            found.append(_Found(known.name or known.trial_id or "", known=known))
            gone += known.has_result
    if gone:
        problems.append(f"{gone} trials have no folder here: their reports are missing")
    for trial in found:
        if trial.known and not trial.point:
            trial.point = trial.known.config
    return sorted(found, key=_creation_order)


def _leave_out_earlier(
    folder: Path, state: _State, found: list[_Found], problems: list[str]
) -> list[_Found]:
    """Leave out trials of an earlier run with the same name, as Ray does."""
    if all(trial.known for trial in found):
        return found
    earlier = set()
    for file in folder.glob(_STATES):
        if file.name < state.file:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                earlier |= {known.name for known in _parse_state(file).trials}
    kept = [trial for trial in found if trial.known or trial.name not in earlier]
    if dropped := len(found) - len(kept):
        problems.append(
            one_line(f"{dropped} trials of an earlier run left out: they are not in {state.file}")
        )
    late = [trial for trial in kept if trial.known is None]
    if late:
        problems.append(one_line(f"{len(late)} trials began after {state.file} was written"))
    for trial in late:
        trial.known = _Known(status="RUNNING")
    return kept


def _read_trial(path: Path, left_out: Container[str], problems: list[str]) -> _Found:
    """Return the content of a trial's folder."""
    found = _Found(path.name)
    try:
        found.point = _flatten(parse_json((path / _PARAMS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        problems.append(one_line(f"{path.name}: no {_PARAMS}, so its config is unknown"))
    except (OSError, ValueError, AttributeError):
        problems.append(one_line(f"{path.name}/{_PARAMS}: left out, not a config in JSON"))
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
            point = _flatten(config) if isinstance(config, dict) else {}
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
        found.trial_id = found.trial_id or _text(result.get("trial_id"))
        found.point = found.point or point
    if large:
        problems.append(one_line(f"{path.name}: {large} values left out, beyond {_MAX_NUMBER:g}"))
    if name == _PROGRESS and (path.parent / _COPIES).is_file():
        problems.append(
            one_line(
                f"{path.name}: {_PROGRESS} has no configs, the last one is used for all reports"
            )
        )
    found.error, found.failures = _read_error(_read_text(path / _ERROR))
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
    if (path / _RESULTS).is_file() or not (path / _PROGRESS).is_file():
        return _RESULTS, _parse_results(_read_text(path / _RESULTS))
    return _PROGRESS, _parse_progress(_read_text(path / _PROGRESS))


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
        _is_count(result.get("training_iteration"))
        and _is_count(result.get("pid", 0))
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
    for key, value in _flatten(reported).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        kept = -_MAX_NUMBER <= value <= _MAX_NUMBER
        metrics[name_metric(key)] = value if kept else None
        large += not kept and (isinstance(value, int) or math.isfinite(value))
    return metrics, large


def _read_text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _creation_order(trial: _Found) -> tuple[float, float, str]:
    """Return a sort key for the order of creation: the number in the trial's tag, then its start.

    The default name of a folder is FUNCTION_ID_NUMBER_POINT_DATE.
    """
    known = trial.known or _Known()
    tag = re.match(r"(\d+)(?:_|$)", known.tag or "")
    tag = tag or re.search(r"_(?:[0-9a-f]{8}|[0-9a-f]{5}_\d{5,})_(\d+)(?=_|$)", trial.name)
    ended = trial.reports[0]["began"] if trial.reports else float("inf")
    started = known.started if known.started is not None else ended
    return (float(tag[1]) if tag else float("inf"), started, trial.name)


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value.get("_type") == _PICKLED:
            flat[f"{prefix}{key}"] = "(pickled)"
        elif isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _build_trial(number: int, found: _Found, longest: int, objective: Objective) -> Trial:
    """Return a trial with its reports and status."""
    trial = Trial(number, found.point, objective=objective)
    known = found.known or _Known()
    failures = found.failures if known.failures is None else known.failures
    for report, restored in zip(found.reports, found.restored, strict=True):
        # Ray restores a trial after a failure, but also after a pause or with a copied checkpoint.
        again = restored and trial.epochs and trial.attempts <= failures
        trial.attempts += bool(again) or not trial.epochs
        trial.epochs.append({**report, "attempt": trial.attempts, "trial": trial.number})
    trial.attempts = max(trial.attempts, failures + (known.status == "TERMINATED"), 1)
    if known.status == "ERROR" or (known.status is None and found.error):
        trial.status, trial.error = "failed", found.error
    elif known.status == "TERMINATED" or (known.status is None and found.reports):
        trial.status = "stopped" if 0 < len(found.reports) < longest else "done"
    return trial


def _lacks_best(trial: Trial, found: _Found) -> bool:
    """Say whether Ray's state file has a better value of the metric than the trial's files.

    Ray does not write all reports of trials that it pauses and resumes, as in synchronous PBT.
    """
    for name, known in found.known.extremes.items() if found.known else ():
        if name_metric(name) == trial.metric and isinstance(known, dict):
            value = known.get(trial.objective.metric.mode)
            if isinstance(value, int | float) and math.isfinite(value):
                best = trial.best_epoch
                record = {trial.metric: value}
                return best is None or trial.objective.score(record) < trial.objective.score(best)
    return False


def _read_tuner(file: Path) -> tuple[str | None, str | None]:
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
            return _text(other) or _DEFAULT_METRIC, one
        if (first, second) == ("_metric", "_mode") and other in _MODES and _text(one):
            return one, other
    return None, None


def _choose_metric(
    folder: Path,
    asked: str | None,
    names: Sequence[str],
    state: _State,
    tuner: tuple[str | None, str | None],
) -> tuple[str, str]:
    """Return the metric to judge by, and its source."""
    for metric, source in (
        (asked, "given by the user"),
        (state.metric, "named by Ray's state file"),
        (tuner[0], "named by Ray's tuner.pkl"),
    ):
        if metric and (metric != _DEFAULT_METRIC or metric in names):
            return (metric if metric in names else name_metric(metric)), source
    names = [name for name in names if name not in _COUNTERS]
    if len(names) == 1:
        return names[0], "the only one reported"
    usual = (METRIC, "val_loss", "eval_loss", "loss")
    for wanted in usual:
        if wanted in names:
            return wanted, f"guessed from {len(names)}; set another with --metric"
    if names:
        raise InputError(
            f"{folder}: the metric is ambiguous; give --metric, {suggest_name('', names)}"
        )
    return METRIC, "no metric was reported"


def _choose_mode(
    folder: Path,
    asked: str | None,
    metric: str,
    names: Sequence[str],
    tuner: tuple[str | None, str | None],
) -> tuple[str, str]:
    """Return the direction, ``min`` or ``max``, and its source."""
    if asked:
        return asked, "given by the user"
    if tuner[1] and metric in (tuner[0], name_metric(tuner[0] or "")):
        return tuner[1], "from Ray's tuner.pkl"
    if mode := known_mode(metric):
        return mode, "implied by its name"
    if metric not in names:
        return "min", "no metric was reported"
    raise InputError(f"{folder}: unknown direction of {metric}; give --mode min or --mode max")


def _count_parallel(trials: list[Trial]) -> int:
    """Return the largest number of concurrent trials."""
    spans = [
        (trial.epochs[0]["began"], trial.epochs[-1]["ended"]) for trial in trials if trial.epochs
    ]
    steps = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    running, largest = 0, 1
    for _, step in steps:
        running += step
        largest = max(largest, running)
    return largest
