"""Read a Ray Tune experiment that plain Ray code made: its text files, never a pickle.

Ray writes a folder each trial, with ``params.json`` (the config), ``result.json`` (one JSON line a
report) and, of a failed one, ``error.txt``; and ``experiment_state-*.json`` beside them, which
says how each trial ended.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line, suggest_name
from raytune_yesno.files.remote import copy_files
from raytune_yesno.study.events import is_number, is_time
from raytune_yesno.study.store import STORE, Event, parse_json
from raytune_yesno.study.study import METRIC, Study, Trial

_TEXTS = ("result.json", "params.json", "error.txt")
# What Ray adds to every report.
_ADDED = frozenset(
    (
        *("timestamp", "checkpoint_dir_name", "done", "should_checkpoint", "training_iteration"),
        *("trial_id", "date", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip"),
        *("config", "time_since_restore", "iterations_since_restore", "experiment_tag"),
        *("timesteps_total", "episodes_total", "timesteps_since_restore", "warmup_time"),
        *("time_attr", "hist_stats", "experiment_id", "trial_num", "worker_index"),
    )
)
_MOST_IS_BEST = re.compile(r"acc|reward|score|auc|f1|precision|recall|r2|bleu", re.IGNORECASE)


def is_experiment(folder: Path) -> bool:
    """Say whether a folder holds trials as Ray Tune writes them."""
    return any(next(folder.glob(f"*/{name}"), None) for name in _TEXTS[:2])


def read_experiment(
    folder: Path,
    *,
    metric: str | None = None,
    mode: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Return an experiment as a study.

    A report is an epoch. Its time is Ray's ``time_total_s``, laid on the wall clock by
    ``timestamp``, which Ray writes in whole seconds. A trial that ended as asked, but after fewer
    reports than another, counts as ``stopped``. Keys of nested configs are joined by ``/``.

    Raises:
        InputError: which metric is meant cannot be told.
    """
    problems: list[str] = []
    states = _read_states(folder, problems)
    folders = sorted(
        (path for path in folder.iterdir() if any((path / name).is_file() for name in _TEXTS)),
        key=_creation_order,
    )
    read = []
    for number, path in enumerate(folders):
        read.append(_read_trial(path, problems))
        if progress and number % 100 == 0:
            progress(number, len(folders))
    metric = metric or _guess_metric(folder, [reports for _, reports, _ in read])
    mode = mode or ("max" if _MOST_IS_BEST.search(metric) else "min")
    longest = max((len(reports) for _, reports, _ in read), default=0)
    trials = []
    for number, (path, (point, reports, error)) in enumerate(zip(folders, read, strict=True)):
        trial = Trial(number, point, error=error, metric=metric, mode=mode)
        trial.attempts = 1
        trial.epochs = [{**report, "trial": number} for report in reports]
        state = states.get(path.name)
        finished = state == "TERMINATED" or (state is None and error is None)
        if state == "ERROR" or (state is None and error):
            trial.status = "failed"
        elif finished and reports:
            trial.status = "done" if len(reports) == longest else "stopped"
            trial.error = None  # of an attempt before the one that succeeded
        trials.append(trial)
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
        metric=metric,
        mode=mode,
    )


@contextlib.contextmanager
def copy_texts(uri: str) -> Iterator[Path]:
    """Copy what analysis reads from a storage that pyarrow knows into a temporary folder.

    Raises:
        InputError: nothing is there, or it cannot be reached.
    """
    from pyarrow import fs

    with tempfile.TemporaryDirectory() as kept:
        try:
            system, root = fs.FileSystem.from_uri(uri)
            root = root.rstrip("/")
            if not root:
                raise ValueError("it names no folder")
            store = system.get_file_info(f"{root}/{STORE}")
            if store.type == fs.FileType.File:
                wanted = [store]
            else:
                found = system.get_file_info(fs.FileSelector(root, recursive=True))
                wanted = [
                    file
                    for file in found
                    if file.base_name in _TEXTS or file.base_name.startswith("experiment_state-")
                ]
            copy_files(system, wanted, root, Path(kept))
        except (OSError, ValueError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{uri.split('?')[0]}: cannot be read ({reason})") from None
        if not wanted:
            raise InputError(f"{uri}: no study here, and no Ray Tune experiment")
        yield Path(kept)


def _read_trial(path: Path, problems: list[str]) -> tuple[dict[str, Any], list[Event], str | None]:
    """Return a trial's point, reports and the last line of its error."""
    point: dict[str, Any] = {}
    try:
        point = _flatten(parse_json((path / "params.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        problems.append(one_line(f"{path.name}: no params.json, its config is not known"))
    except (OSError, ValueError, AttributeError):
        problems.append(one_line(f"{path.name}/params.json: left out, not a config in JSON"))
    reports: list[Event] = []
    file = path / "result.json"
    start = 0.0
    for number, line in enumerate(_read_text(file).splitlines(), start=1):
        try:
            report = _read_report(parse_json(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(
                one_line(f"{path.name}/{file.name}:{number}: left out, not a whole report")
            )
            continue
        total, stamp, epoch = report.pop("total"), report.pop("stamp"), report["epoch"]
        config = report.pop("config")
        if not reports or abs(start + total - stamp) > 2:  # it began, or went on after a pause
            start = max(0.0, stamp - total)
        while reports and reports[-1]["epoch"] >= epoch:  # trained again after a failure
            reports.pop()
        ended = start + total
        reports.append({**report, "began": ended - report["seconds"], "ended": ended})
        if number == 1 and not point and config:
            point = config
    error = [line for line in _read_text(path / "error.txt").splitlines() if line.strip()]
    return point, reports, one_line(error[-1].strip()) if error else None


def _read_report(result: dict[str, Any]) -> Event:
    """Return what a report says; raise what its lacking or being otherwise raises."""
    times = {
        name: result.get(name, 0.0) if name == "time_this_iter_s" else result[name]
        for name in ("time_total_s", "timestamp", "time_this_iter_s")
    }
    epoch, pid = result["training_iteration"], result.get("pid", 0)
    if not all(map(is_time, times.values())) or not (type(epoch) is type(pid) is int):
        raise ValueError
    config = result.get("config")
    return {
        "epoch": epoch,
        "attempt": 1,
        **_numbers(result),
        "seconds": float(times["time_this_iter_s"]),
        "host": str(result.get("hostname", "")),
        "node": str(result.get("node_ip", "")),
        "pid": pid,
        "total": float(times["time_total_s"]),
        "stamp": float(times["timestamp"]),
        "config": _flatten(config) if isinstance(config, dict) else {},
    }


def _read_text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _read_states(folder: Path, problems: list[str]) -> dict[str, str]:
    """Return how each trial's folder ended, as the latest experiment state says."""
    states: dict[str, str] = {}
    for file in sorted(folder.glob("experiment_state-*.json"))[-1:]:
        try:
            for trial, _ in parse_json(_read_text(file))["trial_data"]:
                state = parse_json(trial) if isinstance(trial, str) else trial
                states[Path(state["relative_logdir"]).name] = str(state["status"])
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(f"{file.name}: left out; how its trials ended is guessed")
    return states


def _creation_order(path: Path) -> tuple[int, str]:
    """Order as Ray numbered: NAME_EXPERIMENT_00012_13_POINT_DATE."""
    number = re.search(r"_(\d{5,})_\d+", path.name)
    return (int(number[1]) if number else 0, path.name)


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _numbers(result: dict[str, Any]) -> dict[str, float | None]:
    """Return what was reported and is a number; None where it is not finite."""
    return {
        key: value if is_number(value) else None
        for key, value in _flatten(result).items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and key.split("/")[0] not in _ADDED
    }


def _guess_metric(folder: Path, reports: list[list[Event]]) -> str:
    ours = {"epoch", "attempt", "seconds", "host", "node", "pid", "began", "ended"}
    names = list(dict.fromkeys(key for trial in reports for row in trial for key in row))
    names = [name for name in names if name not in ours]
    for wanted in (METRIC, "val_loss", "eval_loss", "loss"):
        if wanted in names:
            return wanted
    if len(names) > 1:
        raise InputError(
            f"{folder}: which metric is meant? give --metric; {suggest_name('', names)}"
        )
    return names[0] if names else METRIC


def _count_parallel(trials: list[Trial]) -> int:
    """Return how many trials ran at a time, at most."""
    spans = [
        (trial.epochs[0]["began"], trial.epochs[-1]["ended"]) for trial in trials if trial.epochs
    ]
    steps = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    running, most = 0, 1
    for _, step in steps:
        running += step
        most = max(most, running)
    return most
