"""Contract tests for tasks, searches and schedulers, the project's own and the user's.

Each function raises AssertionError with the promise that is broken. They start no cluster and need
no test framework::

    from raytune_yesno.testing import check_search, check_task

    def test_my_task():
        check_task("my_digits.py:Digits", epochs=3)

    def test_my_search():
        check_search(lambda seed: MySearch(SPACE, seed), SPACE)

    def test_my_scheduler():
        check_scheduler(lambda: MyScheduler(epochs=9), epochs=9)
"""

import math
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import Config, build_config, declare_task, find_task
from raytune_yesno.search import History, Observation
from raytune_yesno.space import Space, check_point, encode_point, parse_space
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.task import build_task, load_data, open_records
from raytune_yesno.training.costs import TRAIN_SECONDS, Costs, find_costs

_DECISIONS = ("CONTINUE", "PAUSE", "STOP", "NOOP")


def check_task(
    task: str, *, data: str = "", space: Mapping[str, Any] | None = None, **config: Any
) -> None:
    """Check a task: it trains, is deterministic, resumes exactly, and divides its work.

    Args:
        task: the name of the task, such as ``my_digits.py:Digits``. Its code is run.
        data: the source of its data, as for ``--data``.
        space: the search space of a function.
        config: keys of its config. With few ``epochs``, at least 2, the check is fast.

    Raises:
        AssertionError: the task breaks a promise; the message says which.
        InputError: the task cannot be used at all.
    """
    TASKS.trust(task)
    declaration = declare_task(task, space=parse_space(space) if space else {}, config=config)
    built = build_config({"task": task, "epochs": 3}, config, declaration=declaration)
    read = load_data(built, data)
    if read is not None:
        again = load_data(built, data)
        same = again is not None and again.fingerprint == read.fingerprint
        _require(same, "the same data have the same fingerprint")
    measured = _list_measured(built, read)
    first, whole = _run(built, read, measured), _run(built, read, measured)
    _require(bool(first), "a run has at least one epoch")
    _require_equal(first, whole, "two runs of one config report equal metrics")
    objective = built.objective
    if objective.metric.name not in measured:
        value = objective.has_value(first[-1])
        _require(value, f"the last epoch has a finite {objective.metric.name}")
    if len(whole) > 1:
        _check_resuming(built, read, whole, measured)
    if find_task(task).trains_model:
        _check_shares(built, read)
        refit = next(open_records(built, read, refit=True))
        _require("train_loss" in refit.metrics, "a refit trains")


def _check_resuming(
    config: Config, data: Any, whole: list[dict[str, Any]], measured: set[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        records = open_records(config, data)
        next(records).save(Path(folder, "checkpoint"))
        checkpoint = load_checkpoint(Path(folder, "checkpoint"))
        resumed = _run(config, data, measured, resume=checkpoint)
    _require_equal(resumed, whole[1:], "a resumed run reports what an uninterrupted one does")


def _check_shares(config: Config, data: Any) -> None:
    """Check that ranks divide validation and steps without changing their sums."""
    device = torch.device("cpu")
    task = build_task(config, data, device)
    torch.manual_seed(config.seed)
    model = task.build_model().eval()
    with torch.no_grad():
        one = task.validate(model, 0, 1)
        parts = torch.stack([task.validate(model, rank, 3) for rank in range(3)]).sum(0)
    _require(
        torch.allclose(one, parts, rtol=1e-4),
        "the validation sums of three ranks add up to those of one",
    )
    _require(one.dtype == torch.float64, "validation sums are float64")
    steps = [list(task.steps(1, rank, 3)) for rank in range(3)]
    counts = {len(taken) for taken in steps}
    _require(counts == {task.steps_per_epoch}, "every rank takes steps_per_epoch steps")
    for shares in zip(*steps, strict=True):
        scales = {step.scale for step in shares}
        _require(len(scales) == 1, "the shares of a step have the same scale")


def check_search(build: Callable[[int], Any], space: Space, *, num_trials: int = 24) -> None:
    """Check a search: a pure function of space, seed, number and history, whatever happens.

    Args:
        build: returns a new search for a seed; it has ``suggest(number, history)``.
        space: its space.
        num_trials: trials to simulate. Of five, one fails and one diverges.

    Raises:
        AssertionError: the search breaks a promise; the message says which.
    """
    search, history, points = build(7), History(), []
    for number in range(num_trials):
        random.seed(number)
        np.random.seed(number)
        point = search.suggest(number, history)
        check_point(space, point)
        _require(
            search.suggest(number, history) == point, "a repeated question has the same answer"
        )
        points.append(point)
        history.observe(Observation(number, point))
        if number >= 3:  # four trials run at a time
            history.observe(_end(number - 3, points[number - 3], space))
    seen = History()
    for number in range(num_trials):
        if number == num_trials - 1:
            random.seed(0)
            np.random.seed(0)
            restarted = build(7).suggest(number, seen)
            _require(restarted == points[-1], "a search that restarts proposes the same point")
        seen.observe(Observation(number, points[number]))
        if number >= 3:
            seen.observe(_end(number - 3, points[number - 3], space))


def _end(number: int, point: dict[str, Any], space: Space) -> Observation:
    if number % 5 == 3:
        return Observation(number, point, status="failed")
    if number % 5 == 4:
        return Observation(number, point, None, 1, "diverged", (math.inf,))
    positions = encode_point(space, point)
    loss = sum((position - 0.3) ** 2 for position in positions)
    return Observation(number, point, loss, 2, "done", (loss + 1, loss))


def check_scheduler(build: Callable[[], Any], *, epochs: int = 9, num_trials: int = 8) -> None:
    """Check a scheduler that never makes trials wait: its interface and its decisions.

    Args:
        build: returns a new scheduler for trials of ``epochs`` epochs.
        epochs: epochs of a trial.
        num_trials: trials to simulate, one after another.

    Raises:
        AssertionError: the scheduler breaks a promise; the message says which.
    """
    first, second = _decide(build(), epochs, num_trials), _decide(build(), epochs, num_trials)
    _require(first == second, "equal reports lead to equal decisions")
    kept = any(decisions[-1] != "STOP" or len(decisions) >= epochs for decisions in first)
    _require(kept, "at least one trial is trained to its last epoch")


@dataclass(eq=False)
class _Trial:
    """Stands for one of Ray's trials."""

    trial_id: str
    config: dict[str, Any]
    status: str = "RUNNING"


def _decide(scheduler: Any, epochs: int, num_trials: int) -> list[list[str]]:
    for name in ("synchronous", "has_room", "has_live_trials", "stopped", "prepare"):
        _require(hasattr(scheduler, name), f"a scheduler has {name}")
    scheduler.set_search_properties("cost", "min")
    scheduler.prepare([], num_trials=num_trials, slots=1, store=None, on_wait=lambda number: None)
    _require(scheduler.has_room, "a new study has room for a trial")
    controller = SimpleNamespace(get_live_trials=list, get_trials=list)
    decided = []
    for number in range(num_trials):
        trial = _Trial(f"t{number}", {"number": number, "point": {}})
        scheduler.on_trial_add(controller, trial)
        decisions: list[str] = []
        for epoch in range(1, epochs + 1):
            cost = math.nan if number % 4 == 3 else (number * 7 % num_trials) + 1 / epoch
            result = {"epoch": epoch, "training_iteration": epoch, "cost": cost}
            decision = str(scheduler.on_trial_result(controller, trial, result))
            _require(decision in _DECISIONS, f"{decision!r} is a decision")
            decisions.append(decision)
            if decision == "STOP":
                break
        scheduler.on_trial_complete(controller, trial, result)
        decided.append(decisions)
    return decided


def _list_measured(config: Config, data: Any) -> set[str]:
    """Return the names of what is measured, and differs from run to run."""
    costs = Costs(config, data)
    timed = {"seconds", TRAIN_SECONDS} if costs.is_timed else {"seconds"}
    return timed | (costs.fixed.keys() - find_costs(config, data).keys() if costs.fixed else set())


def _run(config: Config, data: Any, measured: set[str], **options: Any) -> list[dict[str, Any]]:
    """Return the metrics of all epochs, without those that are measured."""
    return [
        {key: value for key, value in record.metrics.items() if key not in measured}
        for record in open_records(config, data, **options)
    ]


def _require(condition: bool, promise: str) -> None:
    if not condition:
        raise AssertionError(f"broken promise: {promise}")


def _require_equal(found: Any, expected: Any, promise: str) -> None:
    """Require equal metrics; NaN, a metric that is undefined in an epoch, equals NaN."""
    np.testing.assert_equal(found, expected, f"broken promise: {promise}")
