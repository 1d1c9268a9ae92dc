"""Ray Tune's controller, but for one thing: an actor's death counts once, and is got over.

Ray 2.60 tells the controller of a dead actor twice: as the actor's failure, and as that of the task
it was to do. Where the actor had just been handed to another trial (``reuse_actors``), or its trial
been paused, the first makes the trial wait for a new actor, and the second, which finds it waiting,
fails it for good, whatever ``max_failures`` says. And a trial whose actor dies while it is made ready
for it is taken for one that is being made ready for ever after, so that it is given no other.
"""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as RayTrial


class Controller(TuneController):  # type: ignore[misc]
    """Counts what it is told twice once."""

    counted: Exception | None = None

    def _trial_task_failure(self, trial: RayTrial, exception: Exception) -> None:
        if exception is not self.counted:
            self.counted = exception
            self._resetting_trials.discard(trial)
            super()._trial_task_failure(trial, exception)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state.pop("counted", None)
        return state


@contextlib.contextmanager
def counting_once() -> Iterator[None]:
    """Let the tuners that run in this block have such a controller; Tune offers no other way."""
    module: Any = importlib.import_module("ray.tune.tune")  # the package hides it by a function
    module.TuneController = Controller
    try:
        yield
    finally:
        module.TuneController = TuneController
