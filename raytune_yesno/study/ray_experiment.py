"""Read a Ray Tune experiment from its text files, without unpickling anything.

Ray writes a folder per trial, read in ``ray_trial.py``, and beside the folders a list of the trials
and ``tuner.pkl``, read in ``ray_state.py``.

The numbers equal those of Ray's ``ResultGrid``: every report counts, including those repeated by a
retry or a copied checkpoint, and the best trial is that of ``get_best_result(scope="all")``,
whatever its status.
"""

import contextlib
import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line, suggest_name
from raytune_yesno.metrics import Metric, Objective, known_mode, name_metric
from raytune_yesno.study.ray_state import (
    DEFAULT_METRIC,
    STATES,
    TUNER,
    ExperimentState,
    KnownTrial,
    parse_state,
    read_state,
    read_tuner,
)
from raytune_yesno.study.ray_trial import (
    COPIES,
    PARAMS,
    PROGRESS,
    RESULTS,
    TEXTS,
    FoundTrial,
    read_trial,
)
from raytune_yesno.study.study import Study
from raytune_yesno.study.trial import LEGACY_METRIC, Trial
from raytune_yesno.text import plural

_RANKED = ("done", "stopped", "failed", "running")  # Ray ranks trials of every status

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


class _RayObjective(Objective):
    """Order reports as Ray does: the first of equal ones wins, and integers are exact."""

    def score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a sort key of an epoch or a trial; the smallest is the best."""
        value = record[self.metric.name]
        return (-value if self.metric.mode == "max" else value,)

    epoch_score = score

    def break_tie(self, records: Sequence[Mapping[str, Any]], epochs: int) -> tuple[float, ...]:
        """Return a sort key of trials with equal costs: exact values, never the epochs."""
        return tuple(value for record in records for value in self.score(record))


def is_experiment(folder: Path) -> bool:
    """Say whether a folder is a Ray Tune experiment."""
    patterns = (STATES, *(f"*/{name}" for name in (RESULTS, PARAMS, PROGRESS)))
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def is_read(name: str) -> bool:
    """Say whether a file of an experiment is one that :func:`read_experiment` reads."""
    return name in (*TEXTS, TUNER, COPIES) or fnmatch(name, STATES)


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
        progress: called from time to time with the bytes read and the bytes in total.

    Returns:
        The study.

    Raises:
        InputError: the metric or its direction is ambiguous.
    """
    problems: list[str] = []
    state = read_state(folder, problems)
    tuner = read_tuner(folder / TUNER)
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
            f"{plural(lost, 'trial')} reported a better {one_line(metric)} than Ray wrote to files"
        )
    epochs = [epoch for trial in trials for epoch in trial.epochs]
    began = min((epoch["began"] for epoch in epochs), default=0.0)
    return Study(
        path=folder,
        settings={
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


def _read_trials(
    folder: Path,
    state: ExperimentState,
    left_out: Container[str],
    problems: list[str],
    progress: Callable[[int, int], None] | None,
) -> list[FoundTrial]:
    """Return the trials in order of creation."""
    by_name = {known.name: known for known in state.trials if known.name}
    by_id = {known.trial_id: known for known in state.trials if known.trial_id}
    paths = sorted(
        path for path in folder.iterdir() if any((path / name).is_file() for name in TEXTS)
    )
    sizes = [
        sum((path / name).stat().st_size for name in TEXTS if (path / name).is_file())
        for path in paths
    ]
    found = []
    for number, path in enumerate(paths):
        trial = read_trial(path, left_out, problems)
        # The reports contain the trial's id, which identifies a renamed folder.
        trial.known = by_name.get(path.name) or by_id.get(trial.trial_id or "")
        found.append(trial)
        if progress and number % 100 == 0:
            progress(sum(sizes[:number]), sum(sizes))
    if state.trials:
        found = _leave_out_earlier(folder, state, found, problems)
    seen = {id(trial.known) for trial in found}
    gone = 0
    for known in state.trials:
        if id(known) not in seen:
            found.append(FoundTrial(known.name or known.trial_id or "", known=known))
            gone += known.has_result
    if gone:
        problems.append(f"{plural(gone, 'trial')} without a folder here: their reports are missing")
    for trial in found:
        if trial.known and not trial.point:
            trial.point = trial.known.config
    return sorted(found, key=_creation_order)


def _leave_out_earlier(
    folder: Path, state: ExperimentState, found: list[FoundTrial], problems: list[str]
) -> list[FoundTrial]:
    """Leave out trials of an earlier run with the same name, as Ray does."""
    if all(trial.known for trial in found):
        return found
    earlier = set()
    for file in folder.glob(STATES):
        if file.name < state.file:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                earlier |= {known.name for known in parse_state(file).trials}
    kept = [trial for trial in found if trial.known or trial.name not in earlier]
    if dropped := len(found) - len(kept):
        problems.append(
            one_line(
                f"{plural(dropped, 'trial')} of an earlier run left out: "
                f"they are not in {state.file}"
            )
        )
    late = [trial for trial in kept if trial.known is None]
    if late:
        problems.append(
            one_line(f"{plural(len(late), 'trial')} began after {state.file} was written")
        )
    for trial in late:
        trial.known = KnownTrial(status="RUNNING")
    return kept


def _creation_order(trial: FoundTrial) -> tuple[float, float, str]:
    """Return a sort key for the order of creation: the number in the trial's tag, then its start.

    The default name of a folder is FUNCTION_ID_NUMBER_POINT_DATE.
    """
    known = trial.known or KnownTrial()
    tag = re.match(r"(\d+)(?:_|$)", known.tag or "")
    tag = tag or re.search(r"_(?:[0-9a-f]{8}|[0-9a-f]{5}_\d{5,})_(\d+)(?=_|$)", trial.name)
    ended = trial.reports[0]["began"] if trial.reports else float("inf")
    started = known.started if known.started is not None else ended
    return (float(tag[1]) if tag else float("inf"), started, trial.name)


def _build_trial(number: int, found: FoundTrial, longest: int, objective: Objective) -> Trial:
    """Return a trial with its reports and status."""
    trial = Trial(number, found.point, objective=objective)
    known = found.known or KnownTrial()
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


def _lacks_best(trial: Trial, found: FoundTrial) -> bool:
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


def _choose_metric(
    folder: Path,
    asked: str | None,
    names: Sequence[str],
    state: ExperimentState,
    tuner: tuple[str | None, str | None],
) -> tuple[str, str]:
    """Return the metric to judge by, and its source."""
    for metric, source in (
        (asked, "given by the user"),
        (state.metric, "named by Ray's state file"),
        (tuner[0], "named by Ray's tuner.pkl"),
    ):
        if metric and (metric != DEFAULT_METRIC or metric in names):
            return (metric if metric in names else name_metric(metric)), source
    names = [name for name in names if name not in _COUNTERS]
    if len(names) == 1:
        return names[0], "the only one reported"
    usual = (LEGACY_METRIC, "val_loss", "eval_loss", "loss")
    for wanted in usual:
        if wanted in names:
            return wanted, f"guessed from {len(names)}; to judge by another one, set metric"
    if names:
        raise InputError(f"{folder}: metric: several may decide; {suggest_name('', names)}")
    return LEGACY_METRIC, "no metric was reported"


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
    raise InputError(f"{folder}: mode: the direction of {metric} is unknown; choose min or max")


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
