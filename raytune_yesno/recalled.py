"""Ray's schedulers that compare a trial with earlier ones, told of those that a study records."""

import math
from collections.abc import Iterable
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule

from raytune_yesno.study import Trial


class _Earlier:
    """Stand in for a trial that ended before this session."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"earlier {number}"


class ASHA(ASHAScheduler):  # type: ignore[misc]
    """Ray's ASHA, whose rungs begin with the results of a study's earlier trials."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.earlier: dict[int, Trial] = {}

    def prepare(self, earlier: Iterable[Trial]) -> None:
        """Take what a study's records say, before its trials are added."""
        self.earlier = {trial.number: trial for trial in earlier}

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Enter a trial, before the first one those that have ended."""
        for number in [n for n, seen in self.earlier.items() if seen.status != "running"]:
            self._enter(tune_controller, _Earlier(number), self.earlier.pop(number))
        self._enter(tune_controller, trial, self.earlier.pop(trial.config["number"], None))

    def _enter(self, tune_controller: Any, entrant: Any, seen: Trial | None) -> None:
        super().on_trial_add(tune_controller, entrant)
        for result in recorded_results(seen, self._metric):
            super().on_trial_result(tune_controller, entrant, result)


class MedianRule(MedianStoppingRule):  # type: ignore[misc]
    """Ray's median stopping rule, which compares with a study's earlier trials, too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.earlier: dict[int, Trial] = {}

    def prepare(self, earlier: Iterable[Trial]) -> None:
        """Take what a study's records say, before its trials are added."""
        self.earlier = {trial.number: trial for trial in earlier}

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Enter a trial, before the first one those that have ended."""
        super().on_trial_add(tune_controller, trial)
        for number in [n for n, seen in self.earlier.items() if seen.status != "running"]:
            self._enter(_Earlier(number), self.earlier.pop(number))
        self._enter(trial, self.earlier.pop(trial.config["number"], None))

    def _enter(self, entrant: Any, seen: Trial | None) -> None:
        # Not by on_trial_result: it would hold a verdict on the past against a trial that goes on.
        if results := recorded_results(seen, self._metric):
            self._results[entrant].extend(results)


def recorded_results(trial: Trial | None, metric: str) -> list[dict[str, Any]]:
    """Return the epochs of a trial as Ray's schedulers are told of them."""
    return [
        {
            "epoch": epoch["epoch"],
            metric: math.nan if epoch.get(metric) is None else epoch[metric],
        }
        for epoch in (trial.epochs if trial else ())
    ]
