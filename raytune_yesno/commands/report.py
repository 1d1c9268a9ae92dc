"""The command ``report``: read studies, write their table and page, once or repeatedly."""

import os
import shutil
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raytune_yesno.commands.common import note
from raytune_yesno.commands.display import Display, Printer
from raytune_yesno.errors import InputError, escape_controls, one_line, suggest_name
from raytune_yesno.files.json_text import to_strict_json
from raytune_yesno.files.remote import is_remote
from raytune_yesno.report import Report, write_report
from raytune_yesno.report.export import (
    check_exports,
    collect_epochs,
    collect_trials,
    list_heads,
    write_table,
)
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.leaderboard import format_leaderboards
from raytune_yesno.report.luck import measure_luck
from raytune_yesno.report.study_groups import find_best, have_common_front, measure_figures
from raytune_yesno.study import Study, load, name_studies
from raytune_yesno.study.events import Epoch
from raytune_yesno.study.ray_experiment import is_experiment
from raytune_yesno.study.store import STORE
from raytune_yesno.text import WIDTH

_WATCH_EVERY_S = 5.0
_MAX_PROBLEMS = 5  # of each study; the page lists all
_Wait = Callable[[float], None]
_MIN_WIDTH = 40  # columns; a narrower terminal breaks the lines


def report(options: Namespace, say: Printer) -> dict[str, Any]:
    """Print the leaderboard of studies and write their table and page."""
    return run_report(options, say, note)


def run_report(
    options: Namespace,
    say: Callable[..., None],
    note: Callable[[str], None],
    wait: _Wait = time.sleep,
) -> dict[str, Any]:
    """Write the report and return the JSON object; with ``watch``, until all studies have ended.

    Args:
        options: ``studies``, ``out``, ``metric``, ``mode``, ``top``, ``watch``,
            ``exports``, ``epoch_exports``.
        say: prints results as text.
        note: prints a line on each problem of a study.
        wait: sleeps between two reads of a running study, in seconds.
    """
    check_exports([*options.exports, *options.epoch_exports])
    options = Namespace(**{**vars(options), "studies": _drop_repeated(options.studies, note)})
    out = _choose_out(options)
    noted: set[str] = set()
    seen = None
    measured: list[Importance] = []
    if options.watch:
        _wait_for_start(options.studies, note, wait)
    while True:
        stamp = _read_stamp(options.studies)
        if stamp is None or stamp != seen:
            studies = _load(options)
            running = options.watch and not all(map(_is_over, studies))
            try:
                report = write_report(
                    studies, out, refresh_s=10 if running else None, before=measured
                )
                measured = report.importances
            except OSError as error:
                reason = error.strerror or error
                raise InputError(f"--out {out}: cannot be written ({reason})") from None
            _export(studies, options)
            seen = stamp
            for line in _list_problems(studies):
                if line not in noted:
                    note(line)
                    noted.add(line)
            _print(studies, report, options, say)
        if not running:
            files = (*options.exports, *options.epoch_exports)
            exports = [str(Path(file).absolute()) for file in files]
            return {**summarize(studies, options.studies, report), "exports": exports}
        wait(_WATCH_EVERY_S)


def _list_problems(studies: list[Study]) -> Iterator[str]:
    """Yield a line on each of the first problems of each study."""
    for study, name in zip(studies, name_studies(studies), strict=True):
        yield from (one_line(f"{name}: {problem}") for problem in study.problems[:_MAX_PROBLEMS])
        if (more := len(study.problems) - _MAX_PROBLEMS) > 0:
            yield one_line(f"{name}: and {more} more; the page lists them")


def _drop_repeated(paths: list[str], note: Callable[[str], None]) -> list[str]:
    """Return each study once; a second one would count as a repeat of the first."""
    known = dict[str, str]()
    for path in paths:
        location = path.rstrip("/") if is_remote(path) else os.path.realpath(path)
        if location in known:
            note(one_line(f"{path}: given more than once; used once"))
        else:
            known[location] = path
    return list(known.values())


def _wait_for_start(paths: list[str], note: Callable[[str], None], wait: _Wait) -> None:
    """Wait until each folder holds a study; its command may still be loading."""
    noted: set[str] = set()
    while missing := [path for path in paths if not is_remote(path) and not _is_study(Path(path))]:
        for path in set(missing) - noted:
            note(one_line(f"{path}: no study here yet; waiting for one to start"))
        noted |= set(missing)
        wait(_WATCH_EVERY_S / 5)


def _is_study(folder: Path) -> bool:
    return (folder / STORE).is_file() or is_experiment(folder)


def _is_over(study: Study) -> bool:
    """Return whether nothing will be added to a study: it has its refit, or nothing to refit."""
    refits = study.best is not None and study.has_config
    return study.searched and (study.refit is not None or not refits)


def _export(studies: list[Study], options: Namespace) -> None:
    for files, collect in (
        (options.exports, collect_trials),
        (options.epoch_exports, collect_epochs),
    ):
        for file in files:
            try:
                heads = list_heads(studies, epochs=collect is collect_epochs)
                write_table(collect(studies), Path(file), heads)
            except OSError as error:
                reason = error.strerror or error
                raise InputError(f"--export {file}: cannot be written ({reason})") from None


def _choose_out(options: Namespace) -> Path:
    """Return ``--out``; by default the folder of a single study, else ``report``."""
    if is_remote(options.out):
        raise InputError(f"--out {options.out}: a URI; give a folder")
    if options.out:
        return Path(options.out).absolute()
    if len(options.studies) == 1 and not is_remote(options.studies[0]):
        return Path(options.studies[0]).absolute()
    return Path("report").absolute()


def _load(options: Namespace) -> list[Study]:
    studies = []
    for path in options.studies:
        with Display() as display:
            progress = display.show_bytes if display.live else None
            studies.append(load(path, metric=options.metric, mode=options.mode, progress=progress))
    metrics = dict.fromkeys(study.metric for study in studies)
    if len(metrics) > 1:
        raise InputError(
            f"the studies have different metrics ({', '.join(metrics)}); give --metric"
        )
    if len({study.mode for study in studies}) > 1:
        raise InputError(
            f"some studies minimise {studies[0].metric} and others maximise it; give --mode"
        )
    reported = [study for study in studies if study.epoch_rows]
    if options.metric and reported and not any(s.metric in s.epochs for s in reported):
        columns = dict.fromkeys(key for study in studies for key in study.epochs.columns)
        known = [key for key in columns if key not in Epoch.model_fields]
        raise InputError(f"--metric {options.metric}: {suggest_name(options.metric, known)}")
    return studies


def _read_stamp(paths: list[str]) -> list[tuple[int, int]] | None:
    """Return sizes and times of the studies' records; None if a study has no record file."""
    files = [Path(path) / STORE for path in paths]
    if not all(file.is_file() for file in files):
        return None
    return [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _print(
    studies: list[Study], report: Report, options: Namespace, say: Callable[..., None]
) -> None:
    orders = [importance.names for importance in report.importances]
    width = max(_MIN_WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    say(format_leaderboards(studies, options.top, orders, width, report.comparison))
    say(escape_controls(f"table: {report.csv}"))
    say(escape_controls(f"page: {report.html}"))
    for file in (*options.exports, *options.epoch_exports):
        say(escape_controls(f"export: {Path(file).absolute()}"))


def summarize(studies: list[Study], given: list[str], report: Report) -> dict[str, Any]:
    """Return the JSON object; its ``best`` is the best trial of all studies.

    It is null without a result, and if the studies are not comparable.
    """
    locations = [
        path if is_remote(path) else str(study.path)
        for study, path in zip(studies, given, strict=True)
    ]
    found: dict[str, Any] | None = None
    index = find_best(studies)
    if index is not None and (best := studies[index].best):
        study = studies[index]
        found = {
            "study": locations[index],
            "trial": best.number,
            # Metrics show NaN as null. A setting may be null itself, so its NaN is spelled.
            "config": to_strict_json({**study.config, **best.best_point}, spell=True),
            "metrics": best.metrics,
            "metric": study.metric,
            "mode": study.mode,
        }
    return {
        "trials": sum(len(study.trial_list) for study in studies),
        "best": found,
        "html": str(report.html),
        "csv": str(report.csv),
        "studies": locations,
        "final_rounds": [
            asdict(luck) if (luck := measure_luck(study)) else None for study in studies
        ],
        "hypervolumes": measure_figures(studies) if have_common_front(studies) else None,
        "left_out": sum(len(study.problems) for study in studies),
    }
