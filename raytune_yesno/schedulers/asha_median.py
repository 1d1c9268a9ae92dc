"""Ray's schedulers without rounds: told of what a study records, and as fast with many trials."""

import math
from collections.abc import Iterable
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

from raytune_yesno.schedulers.protocol import Asynchronous
from raytune_yesno.study import Trial


class FIFO(Asynchronous, FIFOScheduler):  # type: ignore[misc]
    """Run every trial to its end, the earliest first."""

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """Return the earliest trial that waits, one that never ran before one that did.

        Ray's own looks at all trials that ever were, thrice an epoch: after 6,000 trials that was
        45 % of the driver's time.
        """
        waiting = (
            trial
            for trial in tune_controller.get_live_trials()
            if trial.status in (RayTrial.PENDING, RayTrial.PAUSED)
        )
        return min(
            waiting, key=lambda t: (t.status == RayTrial.PAUSED, t.config["number"]), default=None
        )


class _Earlier:
    """Stand in for a trial that ended before this session."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"earlier {number}"


class _Recalling(FIFO):
    """Enter what a study's records say of a trial, before the trial itself goes on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.earlier: dict[int, Trial] = {}

    def prepare(self, earlier: Iterable[Trial], **context: Any) -> None:
        """Keep the records of earlier trials, which are entered before the first new one."""
        self.earlier = {trial.number: trial for trial in earlier}

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Enter a trial, before the first one those that have ended."""
        for number in [n for n, seen in self.earlier.items() if seen.status != "running"]:
            self._enter(tune_controller, _Earlier(number), self.earlier.pop(number))
        self._enter(tune_controller, trial, self.earlier.pop(trial.config["number"], None))

    def _enter(self, tune_controller: Any, entrant: Any, seen: Trial | None) -> None:
        raise NotImplementedError


class ASHA(_Recalling, ASHAScheduler):  # type: ignore[misc]
    """Ray's ASHA, whose rungs begin with the results of a study's earlier trials."""

    def _enter(self, tune_controller: Any, entrant: Any, seen: Trial | None) -> None:
        ASHAScheduler.on_trial_add(self, tune_controller, entrant)
        for result in recorded_results(seen, self._metric):
            ASHAScheduler.on_trial_result(self, tune_controller, entrant, result)


class MedianRule(_Recalling, MedianStoppingRule):  # type: ignore[misc]
    """Ray's median stopping rule, which compares with a study's earlier trials, too."""

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Judge a trial."""
        self._forget(trial, result["epoch"])
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(
        self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]
    ) -> None:
        """Take a trial's last epoch."""
        self._forget(trial, result["epoch"])
        super().on_trial_complete(tune_controller, trial, result)

    def _forget(self, trial: RayTrial, epoch: int) -> None:
        """Let epochs count once that are trained again after a failure."""
        if trial in self._results:
            kept = self._results[trial]
            kept[:] = [result for result in kept if result["epoch"] < epoch]

    def _enter(self, tune_controller: Any, entrant: Any, seen: Trial | None) -> None:
        # Not by on_trial_result: it would hold a verdict on the past against a trial that goes on.
        if results := recorded_results(seen, self._metric):
            self._results[entrant].extend(results)


def recorded_results(trial: Trial | None, metric: str) -> list[dict[str, Any]]:
    """Return the epochs of a trial as Ray's schedulers are told of them."""
    if trial is None:
        return []
    return [
        {
            "epoch": epoch["epoch"],
            metric: _not_infinite(trial.objective.metric.cost(epoch)),
        }
        for epoch in trial.epochs
    ]


def _not_infinite(cost: float) -> float:
    """Return NaN for infinity: Ray's schedulers leave NaN out of their quantiles."""
    return cost if math.isfinite(cost) else math.nan
