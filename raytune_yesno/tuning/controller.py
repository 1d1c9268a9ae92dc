"""Ray Tune's controller, except that it gets over the loss of an actor, lets each that starts come
up, and takes no snapshots.

Ray 2.60 tells the controller of a dead actor twice: as the actor's failure, and as that of the task
it was to do. Where the actor had just been handed to another trial (``reuse_actors``), or its trial
been paused, the first makes the trial wait for a new actor, and the second, which finds it waiting,
fails it for good, whatever ``max_failures`` says.

A trial whose actor dies while it is made ready for the trial counts as being made ready ever after,
and is given no other actor.

An actor that Ray killed because memory ran low is no dead actor to the manager of actors, but an
error in the program, which ends the study.

A trial whose actor is still starting is given the first one that another trial has done with, and
its own is ended. Where trials are short beside the start of an actor, which takes seconds, that
happens to every one: a study on eight slots went on with the two whose actors had come up first.

A snapshot holds all trials and the whole search, and is taken every ten seconds and with every
other checkpoint of a trial: what a study costs would grow with the square of its trials. What it is
there for, going on later, a study's own records do.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial as RayTrial

from raytune_yesno.cluster.ray_private import (
    RayActorManager,
    TrackedActorTask,
    TuneController,
    tune_module,
)


class ActorLost(RayActorError):  # type: ignore[misc]
    """An actor has ended, of whatever cause."""

    def __init__(self, cause: str = "") -> None:
        super().__init__()
        self.error_msg = cause


class ActorManager(RayActorManager):  # type: ignore[misc]
    """Takes whatever ends an actor's process for the actor's death."""

    def _actor_task_failed(
        self, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:
        known = (RayActorError, RayTaskError)
        if isinstance(exception, RayError) and not isinstance(exception, known):
            exception = ActorLost(str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


class Controller(TuneController):  # type: ignore[misc]
    """Counts what it is told twice once, ends no actor that starts, and takes no snapshots."""

    counted: Exception | None = None
    _actor_manager: RayActorManager

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        resource_manager = self._actor_manager._resource_manager
        self._actor_manager = ActorManager(resource_manager=resource_manager)

    def _trial_task_failure(self, trial: RayTrial, exception: Exception) -> None:
        if exception is not self.counted:
            self.counted = exception
            self._resetting_trials.discard(trial)
            super()._trial_task_failure(trial, exception)

    def _maybe_reuse_cached_actor(self, trial: RayTrial) -> bool:
        # At the end no other trial would take the one that is free.
        if self._is_starting(trial) and not self._search_alg.is_finished():
            return False
        return bool(super()._maybe_reuse_cached_actor(trial))

    def _is_starting(self, trial: RayTrial) -> bool:
        """Whether a trial's actor has its place, but is not up yet."""
        actor = self._trial_to_actor.get(trial)
        return (
            actor is not None
            and self._actor_manager.is_actor_started(actor)  # or has been asked to
            and actor not in self._started_actors
        )

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Take no snapshot; see above."""


class NoAnalysis:
    """Instead of Ray's summary of a search that has ended.

    That reads files of every trial, and a snapshot, which a storage that is gone does not have.
    """

    trials: Sequence[RayTrial] = ()

    def __init__(self, **_: Any) -> None:
        pass


@contextlib.contextmanager
def our_controller() -> Iterator[None]:
    """Let the tuners that run in this block have such a controller; Tune offers no other way."""
    module: Any = tune_module
    before = module.TuneController, module.ExperimentAnalysis
    module.TuneController, module.ExperimentAnalysis = Controller, NoAnalysis
    try:
        yield
    finally:
        module.TuneController, module.ExperimentAnalysis = before
