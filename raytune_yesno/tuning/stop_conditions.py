"""Conditions that end a search before its last trial."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric, Objective, find_metric
from raytune_yesno.numerals import read_number
from raytune_yesno.pareto import weakly_dominates
from raytune_yesno.study import Trial
from raytune_yesno.study.store import Event
from raytune_yesno.text import plural

_EXTENDED, _EPOCH, _END = range(3)  # kinds of events, in the order of those at one time


@dataclass(frozen=True)
class StopConditions:
    """Conditions that end a search before its last trial. None disables a condition.

    Attributes:
        time_budget: seconds to search. The time before an interruption does not count.
        target: end once an epoch reaches ``METRIC=VALUE`` or better, as in ``wer=0``, and keeps the
            limits.
        patience: end once this many trials have ended without an improvement of the objective; with
            several, without an epoch that no earlier one dominates. An epoch that exceeds the
            limits by less than all before is an improvement, one that exceeds them by more is not.
        max_failures: end once more than this many trials have failed.
    """

    time_budget: float | None = None
    target: str | None = None
    patience: int | None = None
    max_failures: int | None = None

    def update(self, changes: Mapping[str, Any]) -> "StopConditions":
        """Return the conditions with those of ``changes`` that are not None."""
        return replace(self, **{name: v for name, v in changes.items() if v is not None})

    def check(self, metrics: Sequence[Metric]) -> None:
        """Check the conditions for a task with these metrics.

        Raises:
            InputError: a value is out of range, or the target is invalid.
        """
        if self.time_budget is not None and not 0 < self.time_budget < math.inf:
            raise InputError(f"time_budget: {self.time_budget} s must be finite and above 0")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience: {self.patience} must be at least 1")
        if self.max_failures is not None and self.max_failures < 0:
            raise InputError(f"max_failures: {self.max_failures} must be at least 0")
        self.parse_target(metrics)

    def parse_target(self, metrics: Sequence[Metric]) -> tuple[Metric, float] | None:
        """Return the metric and the value of the target, or None without a target.

        Raises:
            InputError: the target is not ``METRIC=VALUE``, or the metric is unknown.
        """
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
    """Checks the stop conditions of a running search.

    A search that a condition ended may be extended. The condition then counts from the extension:
    what was before is a result to improve on, and ends nothing.

    Args:
        conditions: the conditions.
        objective: the objective.
        earlier: the trials so far.
        since: when the search was extended, see :attr:`Study.counts_from`.

    Attributes:
        found: the reason to stop found so far, or None.
        counts: whether the events of now can end the search.
    """

    def __init__(
        self,
        conditions: StopConditions,
        objective: Objective,
        earlier: Iterable[Trial] = (),
        *,
        since: float = 0.0,
    ) -> None:
        self.conditions, self.objective = conditions, objective
        self.target = conditions.parse_target(objective.metrics)
        self.deadline = time.monotonic() + (conditions.time_budget or math.inf)
        self.front: list[tuple[float, ...]] = []
        """The costs of the epochs that no other one dominates; the best one of one objective.

        Only epochs of the least excess over the limits so far are compared."""
        self.least_excess = math.inf
        self.best_trial = -1
        self.since_best = self.failures = 0
        self.found: str | None = None
        self.counts = False
        # As in the record, see `listen`.
        happened: list[tuple[float, int, int, Any]] = [(since, _EXTENDED, 0, None)]
        for trial in earlier:
            happened += [(epoch["time"], _EPOCH, trial.number, epoch) for epoch in trial.epochs]
            if trial.status != "running":
                happened.append((trial.ended, _END, trial.number, trial.status))
        for _, kind, number, what in sorted(happened, key=lambda entry: entry[:3]):
            if kind == _EXTENDED:
                self.begin()
            elif kind == _EPOCH:
                self.epoch(number, what)
            else:
                self.ended(number, what)

    def begin(self) -> None:
        """Count from here on."""
        self.counts = True

    @property
    def reason(self) -> str | None:
        """Why the search should stop now, or None."""
        if self.found is None and time.monotonic() > self.deadline:
            self.found = f"its time budget of {self.conditions.time_budget:g} s is spent"
        return self.found

    def listen(self, event: Event) -> None:
        """Update the monitor from an event of the study."""
        if event["event"] == "epoch":
            self.epoch(event["trial"], event)
        elif event["event"] == "ended":
            self.ended(event["trial"], event["status"])

    def epoch(self, trial: int, metrics: dict[str, Any]) -> None:
        """Update the best result and check the target."""
        if self.found:
            return
        costs, excess = self.objective.costs(metrics), self.objective.excess(metrics)
        is_finite = all(map(math.isfinite, costs))
        if excess < self.least_excess and is_finite:
            self.front, self.least_excess = [], excess
        beaten = any(weakly_dominates(known, costs) for known in self.front)
        if not beaten and is_finite and excess <= self.least_excess:
            self.front = [known for known in self.front if not weakly_dominates(costs, known)]
            self.front.append(costs)
            self.best_trial, self.since_best = trial, 0
        if self.counts and self.target and excess == 0:
            metric, value = self.target
            if metric.cost(metrics) <= metric.cost({metric.name: value}):
                reached = metrics[metric.name]
                self.found = f"a trial reached {metric.name} {reached:g} (target {value:g})"

    def ended(self, trial: int, status: str) -> None:
        """Check the patience and the number of failures at the end of a trial."""
        if self.found or not self.counts:
            return
        self.since_best += trial != self.best_trial
        patience, max_failures = self.conditions.patience, self.conditions.max_failures
        if patience is not None and self.since_best >= patience:
            self.found = f"the last {patience} to end brought no improvement"
        if status == "failed":
            self.failures += 1
            if max_failures is not None and self.failures > max_failures:
                self.found = f"{plural(self.failures, 'trial')} failed, more than {max_failures}"


class OrderedStopMonitor(StopMonitor):
    """Checks the stop conditions in the order of trial numbers, whichever trial ends first.

    It never interrupts a trial: :meth:`find_reason` is called before a trial begins.
    """

    def __init__(
        self,
        conditions: StopConditions,
        objective: Objective,
        earlier: Iterable[Trial] = (),
        *,
        since: float = 0.0,
    ) -> None:
        self.epochs: dict[int, dict[int, dict[str, Any]]] = {}
        self.statuses: dict[int, str] = {}
        self.next_number = self.first = 0
        super().__init__(conditions, objective, earlier, since=since)

    def begin(self) -> None:
        """Count from the first trial after those that have ended."""
        self.first = max(self.statuses, default=-1) + 1

    @property
    def reason(self) -> str | None:
        """Always None: trials in flight run to their end."""
        return None

    def epoch(self, trial: int, metrics: dict[str, Any]) -> None:
        """Keep an epoch's metrics until the trial is judged."""
        self.epochs.setdefault(trial, {})[metrics["epoch"]] = metrics

    def ended(self, trial: int, status: str) -> None:
        """Keep the status of an ended trial until the trial is judged."""
        self.statuses[trial] = status

    def find_reason(self, number: int) -> str | None:
        """Return why the search should stop, judging only trials below ``number``.

        All of these trials must have ended. Those of an earlier final round, or outside a changed
        space, do not count.
        """
        while self.found is None and self.next_number < number:
            trial = self.next_number
            self.counts = trial >= self.first
            for metrics in self.epochs.pop(trial, {}).values():
                super().epoch(trial, metrics)
            if trial in self.statuses:  # else it does not count
                super().ended(trial, self.statuses.pop(trial))
            self.next_number += 1
        return self.found
