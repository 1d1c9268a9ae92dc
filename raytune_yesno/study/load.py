"""Read a study from its record, or any Ray Tune experiment."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.metrics import LEGACY_OBJECTIVE, Metric, Objective, build_objective
from raytune_yesno.study import ray_experiment
from raytune_yesno.study.clock import correct_times
from raytune_yesno.study.metric_names import known_mode
from raytune_yesno.study.store import ENDINGS, STORE, Event, read_events
from raytune_yesno.study.study import Study, Trial
from raytune_yesno.study_settings import STUDY_SETTINGS

_MAY_CHANGE = {setting.name for setting in STUDY_SETTINGS if setting.on_resume}


def load(
    path: str | Path,
    *,
    metric: str | None = None,
    mode: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Read a study, finished, running, interrupted or failed, or any Ray Tune experiment.

    Args:
        path: the study's folder; a Ray Tune experiment's, with ``result.json`` and ``params.json``
            in a folder each trial; or either's URI, ``s3://…`` or another that pyarrow knows.
        metric, mode: what to judge by, and ``min`` or ``max`` [the study's own; an experiment's
            own metric and mode, if its files or the metric's name leave no doubt].
        progress: called now and then with the bytes read, and all there are.

    Raises:
        InputError: there is no study, or its metric or mode is not certain.
    """
    if "://" in str(path):
        with ray_experiment.copy_texts(str(path)) as folder:
            study = load(folder, metric=metric, mode=mode, progress=progress)
        return replace(study, path=Path(str(path).split("?")[0]))  # a query may hold a password
    folder = Path(path)
    if not (folder / STORE).is_file() and ray_experiment.is_experiment(folder):
        return ray_experiment.read_experiment(folder, metric=metric, mode=mode, progress=progress)
    events, problems = read_events(folder, progress)
    objective, mode_source = _read_objective(events, metric, mode)
    study = _build_study(folder, correct_times(events), problems, objective)
    source = "as asked for" if metric else ""
    return replace(study, metric_source=source, mode_source=mode_source)


def load_all(paths: Iterable[str | Path], **options: Any) -> list[Study]:
    """Read several studies, each as :func:`load` does."""
    return [load(path, **options) for path in paths]


def _build_study(
    folder: Path, events: list[Event], problems: list[str], objective: Objective
) -> Study:
    trials: dict[int, Trial] = {}
    refit = reason = None
    searched = False
    asked = events[0]
    unknown = 0
    for event in events:
        kind = event["event"]
        if kind == "asked" and event["trial"] in trials:
            problems = [*problems, f"trial {event['trial']}: asked for twice, the first counts"]
        elif kind == "asked":
            trials[event["trial"]] = Trial(event["trial"], event["point"], objective=objective)
        elif kind == "resumed":
            asked = {**asked, **{key: event[key] for key in _MAY_CHANGE & event.keys()}}
            refit = reason = None
        elif kind == "searched":
            reason = event.get("reason")
        elif kind == "refitted":  # it names the best trial, but is no event of it
            refit = event
        elif kind == "damaged":
            problems = [*problems, one_line(f"trial {event['trial']}: {event['reason']}")]
        elif (trial := trials.get(event.get("trial", -1))) is not None:
            _apply(trial, event)
        elif "trial" in event:
            unknown += 1
        searched = kind == "searched" or (searched and kind != "resumed")
    if unknown:
        problems = [*problems, f"{unknown} events left out: of trials whose asking is lost"]
    ends = [event["time"] for event in events if event["event"] not in ("refitted", "study")]
    return Study(
        path=folder,
        asked=asked,
        trial_list=[trials[number] for number in sorted(trials)],
        refit=refit,
        reason=reason,
        searched=searched,
        end_time=max(ends, default=events[0]["time"]),
        pauses=_find_pauses(events),
        problems=problems,
        objective=objective,
    )


def _read_objective(
    events: Sequence[Event], name: str | None, mode: str | None
) -> tuple[Objective, str]:
    """Return what a study is judged by, as it was asked or as the reader asks now, and where the
    direction comes from; empty for the study itself.

    Raises:
        InputError: the metric's direction is neither declared nor certain.
    """
    asked = LEGACY_OBJECTIVE
    if events[0].get("metrics"):
        asked = Objective.from_dicts(events[0]["metrics"])
    declared = asked.metrics
    source = "as asked for" if mode else ""
    if name and not any(name in (metric.name, metric.label) for metric in declared):
        declared = (Metric(name), *declared)
        if not mode and (mode := known_mode(name)):
            source = "by its name"
        elif not mode and any(name in event for event in events if event["event"] == "epoch"):
            raise InputError(
                f"--metric {name}: is the least or the greatest best? give --mode min or --mode max"
            )
    objective = build_objective(declared, name or "", mode or "")
    return replace(objective, smooth=asked.smooth), source


def _find_pauses(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Return from when to when nobody searched: a refit comes after the search."""
    searching = [event for event in events if event["event"] != "refitted"]
    return [
        (before["time"], event["time"])
        for before, event in itertools.pairwise(searching)
        if event["event"] == "resumed"
    ]


def _apply(trial: Trial, event: Event) -> None:
    """Bring a trial up to date with one of its events."""
    match event["event"]:
        case "started":
            trial.attempts += 1
            trial.status, trial.error = "running", None
        case "epoch":
            # A trial that was retried trains again what came after its last checkpoint.
            while trial.epochs and trial.epochs[-1]["epoch"] >= event["epoch"]:
                trial.epochs.pop()
            trial.epochs.append(event)
        case "saved":
            trial.checkpoint = (event["checkpoint"], event["epoch"])
        case "mutated":
            trial.mutations.append({**event, "before": trial.point})
            trial.point, trial.checkpoint = event["point"], (event["checkpoint"], event["epoch"])
        case "ended" if event["status"] in ENDINGS:
            trial.status, trial.error = event["status"], event.get("error")
