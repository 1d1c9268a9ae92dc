"""Load a study from its record, or any Ray Tune experiment."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_yesno.config import upgrade_config
from raytune_yesno.errors import InputError, one_line
from raytune_yesno.files.remote import hide_secrets, is_remote, name_uri
from raytune_yesno.metrics import (
    LEGACY_OBJECTIVE,
    Metric,
    Objective,
    build_objective,
    known_mode,
)
from raytune_yesno.space import Space, express_point, parse_space
from raytune_yesno.study import ray_experiment
from raytune_yesno.study.clock import correct_times
from raytune_yesno.study.download import copy_texts
from raytune_yesno.study.requests import STOP, STOP_SEARCH
from raytune_yesno.study.store import ENDINGS, STORE, TRIALS, Event, read_events
from raytune_yesno.study.study import Study
from raytune_yesno.study.trial import Trial
from raytune_yesno.study_settings import STUDY_SETTINGS
from raytune_yesno.text import plural

_MAY_CHANGE = {"space", "code", *(setting.name for setting in STUDY_SETTINGS if setting.on_resume)}


def load(
    path: str | Path,
    *,
    metric: str | None = None,
    mode: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Load a study, finished or not, or any Ray Tune experiment.

    Args:
        path: the folder of a study, or of a Ray Tune experiment with ``result.json`` and
            ``params.json`` in a folder per trial; or the URI of either, ``s3://…`` or another
            scheme that pyarrow knows.
        metric: the metric to judge trials by. Defaults to the study's own; for an experiment, to
            the one that its files name, or its only one.
        mode: ``min`` or ``max``. Defaults to the study's own; for an experiment, to the one that
            its files name or that the metric's name implies.
        progress: called from time to time with the bytes read and the bytes in total.

    Returns:
        The study. ``problems`` lists what was left out because it was damaged.

    Raises:
        InputError: there is no study, or its metric or mode is ambiguous.
    """
    if is_remote(path):
        with copy_texts(str(path)) as folder:
            uri = hide_secrets(str(path))
            with name_uri(uri, folder):
                study = load(folder, metric=metric, mode=mode, progress=progress)
        problems = [problem.replace(str(folder), uri) for problem in study.problems]
        return replace(study, path=Path(uri), problems=problems)
    folder = Path(path)
    if not (folder / STORE).is_file() and ray_experiment.is_experiment(folder):
        return ray_experiment.read_experiment(folder, metric=metric, mode=mode, progress=progress)
    events, problems = read_events(folder, progress)
    objective, mode_source = _read_objective(events, metric, mode)
    events = list(itertools.chain.from_iterable(map(_split, correct_times(events))))
    study = find_moved(_build_study(folder, events, problems, objective))
    if study.settings.get("refit") == "all" and study.refit and study.best:
        # The best point is refitted last; before, the refit has been interrupted.
        is_complete = study.refit.get("trial") == study.best.number
        study = study if is_complete or not study.objective.others else replace(study, refit=None)
    source = "given by the user" if metric else ""
    return replace(study, metric_source=source, mode_source=mode_source)


def find_moved(study: Study) -> Study:
    """Return a study whose checkpoints lie in its present folder, where they are there.

    The record holds absolute paths; a study may have been moved or copied since.
    """
    folder = study.path.absolute()
    if (folder / TRIALS).is_dir():  # a finished study rarely has any
        for trial in study.trial_list:
            if trial.checkpoint:
                path, epoch = trial.checkpoint
                trial.checkpoint = _move(path, folder, 3), epoch  # trials/TRIAL/CHECKPOINT

    def locate(refit: Event) -> Event:
        if not isinstance(recorded := refit.get("checkpoint"), str):
            return refit
        return {**refit, "checkpoint": _move(recorded, folder, 2)}  # refit/last

    return replace(
        study,
        refit=study.refit and locate(study.refit),
        refits=[locate(refit) for refit in study.refits],
    )


def _move(recorded: str, folder: Path, parts: int) -> str:
    """Return the folder with the same last parts below another one, if it exists."""
    here = folder.joinpath(*Path(recorded).parts[-parts:])
    return recorded if is_remote(recorded) or not here.is_dir() else str(here)


def load_all(paths: Iterable[str | Path], **options: Any) -> list[Study]:
    """Load several studies, each with :func:`load`."""
    return [load(path, **options) for path in paths]


def _split(event: Event) -> Iterator[Event]:
    """Yield an event, and after a resumption an event of each trial that it changes."""
    yield event
    if event["event"] == "resumed":
        for number in event.get("retry") or ():
            yield {"event": "retried", "time": event["time"], "trial": number}
        for number, after in (event.get("extend") or {}).items():
            changed = {"trial": int(number), "after": after, "epochs": event.get("epochs", after)}
            yield {"event": "extended", "time": event["time"], **changed}


def _build_study(
    folder: Path, events: list[Event], problems: list[str], objective: Objective
) -> Study:
    state = _State(events[0], problems, objective)
    for event in events:
        state.take(event)
    trials = [state.trials[number] for number in sorted(state.trials)]
    if state.is_space_changed:
        with contextlib.suppress(InputError):  # a damaged space: all trials count
            space = parse_space(state.settings["space"], exact=True)
            mark_outside(trials, space, state.settings.get("config", {}))
    if state.num_unknown:
        state.problems.append(
            f"{plural(state.num_unknown, 'event')} left out: their trials' 'asked' events "
            "are missing"
        )
    ends = [event["time"] for event in events if event["event"] not in ("refitted", "study")]
    return Study(
        path=folder,
        settings=state.settings,
        trial_list=trials,
        refit=state.refit,
        refits=state.refits,
        reason=state.reason,
        searched=state.searched,
        end_time=max(ends, default=events[0]["time"]),
        pauses=_find_pauses(events),
        problems=state.problems,
        objective=objective,
        finalists=state.final.get("points"),
        final_from=state.final.get("first"),
        begun_with=events[0],
        requests=state.requests,
        is_stop_requested=state.is_stop_requested,
        counts_from=state.counts_from,
        slot_changes=state.slot_changes,
    )


class _State:
    """What is known of a study after some of its events; see :class:`Study` for the attributes."""

    def __init__(self, first: Event, problems: Sequence[str], objective: Objective) -> None:
        self.settings, self.objective = first, objective
        self.problems = list(problems)
        self.trials: dict[int, Trial] = {}
        self.requests: list[Event] = []
        self.refits: list[Event] = []
        self.refit: Event | None = None
        self.final: Event = {}
        self.reason: str | None = None
        self.searched = self.is_stop_requested = self.is_space_changed = False
        self.counts_from = 0.0
        self.slot_changes: list[tuple[float, int]] = []
        self.num_unknown = 0

    def take(self, event: Event) -> None:
        """Update the state from the next event."""
        trial = self.trials.get(event.get("trial", -1))
        match event["event"]:
            case "asked":
                self._add_trial(event)
            case "requested":
                self._add_request(event, trial)
            case "resumed":
                self._resume(event)
            case "final":
                self.final, self.reason = event, event.get("reason")
                self.is_stop_requested = False
            case "searched":
                self.searched, self.is_stop_requested = True, False
                self.reason = event.get("reason", self.reason)
            case "refitted":
                self.refit = event
                folder = event.get("checkpoint")  # a later choice replaces the refit of an earlier
                kept = [
                    each for each in self.refits if not folder or each.get("checkpoint") != folder
                ]
                self.refits = [*kept, event]
            case "damaged":
                self.problems.append(one_line(f"trial {event['trial']}: {event['reason']}"))
            case kind if trial is not None:
                apply_event(trial, event)
                if kind == "retried" and self._epochs:
                    trial.planned = [(0, self._epochs)]
            case _:
                self.num_unknown += "trial" in event

    @property
    def _epochs(self) -> int:
        """The number of epochs that a trial is to train now; 0 if it is not recorded."""
        found = self.settings.get("config", {}).get("epochs")
        return found if isinstance(found, int) else 0

    def _add_trial(self, event: Event) -> None:
        number = event["trial"]
        if number in self.trials:
            self.problems.append(f"trial {number}: sampled twice, the second one is left out")
            return
        self.trials[number] = Trial(
            number,
            event["point"],
            objective=self.objective,
            request=event.get("request"),
            repeat_of=event.get("repeat_of"),
            seed=event.get("seed"),
            final=bool(event.get("final")),
            planned=[(0, self._epochs)] if self._epochs else [],
        )

    def _add_request(self, event: Event, trial: Trial | None) -> None:
        # A later event of a request replaces the earlier one.
        self.requests = [each for each in self.requests if each["request"] != event["request"]]
        self.requests.append(event)
        if event["action"] == STOP_SEARCH:
            self.is_stop_requested = not event.get("refused")
        elif event["action"] == STOP and trial:
            trial.is_stop_requested = not event.get("refused")

    def _resume(self, event: Event) -> None:
        changed = {key: event[key] for key in _MAY_CHANGE & event.keys()}
        if event.get("slots"):
            self.slot_changes.append((event["time"], event["slots"]))
        is_extended = self._extends(event)
        if "space" in event or is_extended:
            self.counts_from = event["time"]
        if is_extended or self._changes("final_round", event):
            self.final, self.reason = {}, None  # finalists are chosen again, from all results
        self.settings = {**self.settings, **changed}
        if event.get("epochs") and "config" in self.settings:
            config = {**self.settings["config"], "epochs": event["epochs"]}
            self.settings = {**self.settings, "config": config}
        self.is_space_changed |= "space" in event
        self.refit, self.searched = None, self.searched and bool(event.get("searched"))
        if not self.searched:
            self.refits = []

    def _extends(self, event: Event) -> bool:
        """Return whether a resumption trains more of a search that has ended.

        Trials of the final round may train again without it. A search that ended before its last
        trial is extended by more trials than it proposed; older records do not have ``added``.
        """
        if not (self.searched or self.final):
            return False
        own = [trial for trial in self.trials.values() if not trial.final]
        again = {*(event.get("retry") or ()), *map(int, event.get("extend") or ())}
        if any(trial.number in again for trial in own) or event.get("added"):
            return True
        num_proposed = sum(trial.request is None for trial in own)
        return self._changes("trials", event) and (event["trials"] or 0) > num_proposed

    def _changes(self, key: str, event: Event) -> bool:
        return key in event and event[key] != self.settings.get(key)


def mark_outside(trials: Iterable[Trial], space: Space, config: Mapping[str, Any]) -> None:
    """Set why trials do not count in a changed space: see :func:`express_point`."""
    known = upgrade_config(dict(config))
    for trial in trials:
        trial.outside = None
        try:
            express_point(space, trial.best_point, known)
        except InputError as error:
            trial.outside = str(error)


def _read_objective(
    events: Sequence[Event], name: str | None, mode: str | None
) -> tuple[Objective, str]:
    """Return the objective of a study, and the source of its direction.

    Args:
        events: the study's events.
        name: a metric that replaces the study's own.
        mode: a direction that replaces the study's own.

    Returns:
        The objective, and where its direction comes from; empty for the study itself.

    Raises:
        InputError: the metric's direction is neither declared nor implied by its name.
    """
    asked = LEGACY_OBJECTIVE
    if events[0].get("metrics"):
        asked = Objective.from_dicts(events[0]["metrics"])
    declared = asked.metrics
    source = "given by the user" if mode else ""
    if name and not any(name in (metric.name, metric.label) for metric in declared):
        declared = (Metric(name), *declared)
        if not mode and (mode := known_mode(name)):
            source = "implied by its name"
        elif not mode and any(name in event for event in events if event["event"] == "epoch"):
            raise InputError(f"mode: the direction of {name} is unknown; choose min or max")
    config = events[0].get("config") or {}
    several = () if name or mode else config.get("objectives") or ()
    limits = config.get("limits") or ()
    objective = build_objective(declared, name or "", mode or "", objectives=several, limits=limits)
    return replace(objective, smooth=asked.smooth), source


def _find_pauses(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Return the spans between the end of a search and its resumption; a refit is not a search."""
    searching = [event for event in events if event["event"] != "refitted"]
    return [
        (before["time"], event["time"])
        for before, event in itertools.pairwise(searching)
        if event["event"] == "resumed"
    ]


def apply_event(trial: Trial, event: Event) -> None:
    """Update a trial with one of its events."""
    match event["event"]:
        case "started":
            trial.attempts += 1
            trial.status, trial.error, trial.ended = "running", None, 0.0
        case "epoch":
            # A retried trial repeats the epochs after its last checkpoint.
            while trial.epochs and trial.epochs[-1]["epoch"] >= event["epoch"]:
                trial.replaced.append(trial.epochs.pop())
            trial.epochs.append(event)
        case "retried":
            trial.status, trial.error, trial.checkpoint = "running", None, None
            trial.epochs, trial.is_stop_requested, trial.ended = [], False, 0.0
            trial.is_extended = False
        case "extended":
            trial.is_extended = True
            trial.status, trial.is_stop_requested, trial.ended = "running", False, 0.0
            if not event["after"]:  # its last checkpoint was not kept
                trial.epochs, trial.checkpoint, trial.planned = [], None, []
            trial.planned.append((event["after"], event["epochs"]))
        case "saved":
            trial.checkpoint = (event["checkpoint"], event["epoch"])
        case "mutated":
            trial.mutations.append({**event, "before": trial.point})
            trial.point, trial.checkpoint = event["point"], (event["checkpoint"], event["epoch"])
        case "ended" if event["status"] in ENDINGS:
            trial.status, trial.error = event["status"], event.get("error")
            trial.ended, trial.is_cut_off = event["time"], "reason" in event
