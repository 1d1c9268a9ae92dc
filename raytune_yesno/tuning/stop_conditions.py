"""When a search ends before its last trial."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric, Objective, find_metric
from raytune_yesno.numerals import read_number
from raytune_yesno.study import Trial
from raytune_yesno.study.store import Event


@dataclass(frozen=True)
class StopConditions:
    """When a search ends before its last trial; None is never.

    Attributes:
        time_budget: after so many seconds of searching; those before an interruption do not count.
        target: once an epoch of a trial has reached ``METRIC=VALUE`` or better, as in ``wer=0``.
        patience: once so many trials have ended since the objective was last improved.
        max_failures: once more than so many trials have failed.
    """

    time_budget: float | None = None
    target: str | None = None
    patience: int | None = None
    max_failures: int | None = None

    def check(self, metrics: Sequence[Metric]) -> None:
        """Raise InputError if a condition makes no sense for a task with these metrics."""
        if self.time_budget is not None and not 0 < self.time_budget < math.inf:
            raise InputError(f"time_budget: {self.time_budget} s must be above 0")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience: {self.patience} must be at least 1")
        if self.max_failures is not None and self.max_failures < 0:
            raise InputError(f"max_failures: {self.max_failures} must be at least 0")
        self.parse_target(metrics)

    def parse_target(self, metrics: Sequence[Metric]) -> tuple[Metric, float] | None:
        """Return the metric and the value of the target."""
        if self.target is None:
            return None
        name, _, text = self.target.partition("=")
        metric = find_metric(name, metrics, where="target")
        try:
            value = read_number(text, float)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"target: {self.target!r} is not METRIC=VALUE, as in {name}=0")
        return metric, value


class StopMonitor:
    """StopMonitor a search for its stop conditions; ``reason`` says which one was met, if any."""

    def __init__(
        self, conditions: StopConditions, objective: Objective, earlier: Iterable[Trial] = ()
    ) -> None:
        self.conditions, self.objective = conditions, objective
        self.target = conditions.parse_target(objective.metrics)
        self.deadline = time.monotonic() + (conditions.time_budget or math.inf)
        self.best, self.best_trial = math.inf, -1
        self.since_best = self.failures = 0
        self.found: str | None = None
        happened: list[tuple[float, int, int, Any]] = []
        for trial in earlier:
            last = trial.epochs[-1]["ended"] if trial.epochs else 0.0
            happened += [(epoch["ended"], 0, trial.number, epoch) for epoch in trial.epochs]
            if trial.status != "running":
                happened.append((last, 1, trial.number, trial.status))
        for _, is_end, number, what in sorted(happened, key=lambda entry: entry[:3]):
            if is_end:
                self.ended(number, what)
            else:
                self.epoch(number, what)

    @property
    def reason(self) -> str | None:
        """Say why the search is to end now; None while it is not."""
        if self.found is None and time.monotonic() > self.deadline:
            self.found = f"its time budget of {self.conditions.time_budget:g} s is spent"
        return self.found

    def listen(self, event: Event) -> None:
        """Take an event of the study."""
        if event["event"] == "epoch":
            self.epoch(event["trial"], event)
        elif event["event"] == "ended":
            self.ended(event["trial"], event["status"])

    def epoch(self, trial: int, metrics: dict[str, Any]) -> None:
        """Take an epoch's metrics."""
        if self.found:
            return
        cost = self.objective.metric.cost(metrics)
        if cost < self.best:
            self.best, self.best_trial, self.since_best = cost, trial, 0
        if self.target:
            metric, value = self.target
            if metric.cost(metrics) <= metric.cost({metric.name: value}):
                reached = metrics[metric.name]
                self.found = f"a trial reached {metric.name} {reached:g} (target {value:g})"

    def ended(self, trial: int, status: str) -> None:
        """Take the end of a trial."""
        if self.found:
            return
        self.since_best += trial != self.best_trial
        patience, most = self.conditions.patience, self.conditions.max_failures
        if patience is not None and self.since_best >= patience:
            self.found = f"the last {patience} to end brought no improvement"
        if status == "failed":
            self.failures += 1
            if most is not None and self.failures > most:
                self.found = f"{self.failures} trials failed, more than {most}"


class OrderedStopMonitor(StopMonitor):
    """StopMonitor the trials in the order of their numbers, whichever ends first.

    Nothing ends in its midst: :meth:`find_reason` is asked before a trial begins.
    """

    def __init__(
        self, conditions: StopConditions, objective: Objective, earlier: Iterable[Trial] = ()
    ) -> None:
        self.heard: dict[int, dict[int, dict[str, Any]]] = {}
        self.statuses: dict[int, str] = {}
        self.next_number = 0
        super().__init__(conditions, objective, earlier)

    @property
    def reason(self) -> str | None:
        """Return None: trials in flight go on to their own ends."""
        return None

    def epoch(self, trial: int, metrics: dict[str, Any]) -> None:
        """Take an epoch's metrics, for when it is the trial's turn."""
        self.heard.setdefault(trial, {})[metrics["epoch"]] = metrics

    def ended(self, trial: int, status: str) -> None:
        """Take the end of a trial, for when it is its turn."""
        self.statuses[trial] = status

    def find_reason(self, number: int) -> str | None:
        """Say why no trial is to begin that knows all trials below a number, which have ended."""
        while self.found is None and self.next_number < number:
            trial = self.next_number
            for metrics in self.heard.pop(trial, {}).values():
                super().epoch(trial, metrics)
            super().ended(trial, self.statuses.pop(trial))
            self.next_number += 1
        return self.found
