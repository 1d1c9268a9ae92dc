"""A TuneController that survives lost actors, waits for starting ones, and writes no snapshots.

It works around these properties of Ray 2.60:

* Tune gives its actors an environment of their own, with copies of the driver's variables. That
  needs new processes, while those that Ray has started in advance end unused.
* Ray reports a dead actor twice: as a failure of the actor and as a failure of its pending task.
  If the actor was just reassigned to another trial (``reuse_actors``), or its trial was paused, the
  first report makes the trial wait for a new actor. The second report then fails the waiting trial
  for good, regardless of ``max_failures``.
* If an actor dies while it is being reset, Tune leaves its trial in ``_resetting_trials`` for ever
  and never assigns another actor.
* The actor manager does not treat an actor killed for lack of memory as a dead actor, but as a
  program error that ends the study.
* Tune gives a trial whose actor is still starting the first cached actor that becomes free, and
  kills the starting one. Starting an actor takes seconds, so with short trials this happens to
  every starting actor: a study on eight slots used only the two that were up first.
* When a trial pauses, Tune keeps at most one unused actor, and none once the search has proposed
  its last point. With a synchronous scheduler all trials of a group pause, and each resumes in a
  new process, which takes seconds to start.
* Tune restarts a trial after any error; an error of the user's own code would occur again.
* Tune ignores that Ray will take a node away. A trial there continues until the node is gone, and
  repeats the epochs since its last checkpoint.
* A snapshot contains all trials and the search. Tune writes one every ten seconds and with every
  other checkpoint of a trial, so the cost of a study would grow with the square of its trials.
  Snapshots exist for resuming; a study resumes from its own record instead.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import NodeDiedError, RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import TrialScheduler
from ray.util import placement_group_table

from raytune_yesno.cluster.nodes import find_draining
from raytune_yesno.cluster.ray_private import (
    ActorClassCache,
    RayActorManager,
    TrackedActorTask,
    TuneController,
    resource_manager_of,
    resources_of,
    tune_module,
)
from raytune_yesno.cluster.session import ends_with_driver
from raytune_yesno.tuning.failures import MAX_RESTARTS, OUT_OF_MEMORY, classify
from raytune_yesno.user_code import TaskError

_DRAIN_INTERVAL_S = 1.0  # between looks for nodes that Ray will take away


class ActorLost(RayActorError):  # type: ignore[misc]
    """An actor's process has ended, for any reason."""

    def __init__(self, cause: str = "") -> None:
        super().__init__()
        self.error_msg = cause


class ActorManager(RayActorManager):  # type: ignore[misc]
    """Treats every error that ends an actor's process as the actor's death."""

    def _actor_task_failed(
        self, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:
        known = (RayActorError, RayTaskError)
        if isinstance(exception, RayError) and not isinstance(exception, known):
            exception = ActorLost(str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


class ActorClasses(ActorClassCache):  # type: ignore[misc]
    """Lets actors use processes that Ray has started in advance, if these have our environment."""

    def get(self, trainable: type[Any]) -> Any:
        """Return the actor class of a trainable."""
        if ends_with_driver() and trainable not in self._cache:
            self._cache[trainable] = ray.remote(trainable)
        return super().get(trainable)


class Controller(TuneController):  # type: ignore[misc]
    """Ignores duplicate failures, keeps starting actors, leaves nodes in time, writes no snapshots.

    A trial on a node that is being drained saves a checkpoint at the end of its epoch and moves to
    another node, as after the loss of the node. A trial that ran out of memory is restarted alone:
    it waits until no other trial runs, and the others wait until it has ended.
    """

    last_failure: Exception | None = None
    on_step: Callable[[Any], None] | None = None
    _actor_manager: RayActorManager

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._class_cache = ActorClasses()
        resources = resource_manager_of(self._actor_manager)
        self._actor_manager = ActorManager(resource_manager=resources)
        self._restarts: Counter[tuple[str, str]] = Counter()
        self._draining: frozenset[str] = frozenset()
        self._next_look = 0.0
        self._alone: list[RayTrial] = []

    def step(self) -> None:
        """Carry out requests from outside, look for draining nodes, then handle one event."""
        if self.on_step:
            self.on_step(self)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _DRAIN_INTERVAL_S
            before, self._draining = self._draining, find_draining()
            if self._draining - before:
                self._cleanup_cached_actors(force_all=True)  # they may be on such a node
        super().step()

    def _execute_action(self, trial: RayTrial, decision: str, after_save: bool = False) -> None:
        """Let a trial on a draining node save and move instead of training another epoch."""
        if decision != TrialScheduler.CONTINUE or not self._must_move(trial):
            super()._execute_action(trial, decision, after_save=after_save)
        elif after_save:
            self._process_trial_failure(trial, NodeDiedError("its node was drained"))
        else:
            self._cached_trial_decisions[trial.trial_id] = decision  # made again after the save
            self._schedule_trial_save(trial)

    def _maybe_cache_trial_actor(self, trial: RayTrial) -> bool:
        """Keep the actor of a trial that has paused or ended, if another trial may use it."""
        if self._must_move(trial):
            return False
        if not getattr(self._scheduler_alg, "synchronous", False):
            return bool(super()._maybe_cache_trial_actor(trial))
        # Keep it as for a trial that is about to start. After the step, it is ended if none waits.
        resources, room = trial.placement_group_factory, 1 + self._actor_cache.num_cached_objects
        self._staged_trials.add(trial)
        self._actor_cache.increase_max(resources, room)
        try:
            return bool(super()._maybe_cache_trial_actor(trial))
        finally:
            self._staged_trials.discard(trial)
            self._actor_cache.decrease_max(resources, room)

    def _must_move(self, trial: RayTrial) -> bool:
        """Return whether a process of a trial runs on a node that is being drained."""
        actor = self._trial_to_actor.get(trial)
        if not self._draining or actor not in self._started_actors:
            return False
        group = resources_of(self._actor_manager, actor).placement_group
        nodes = placement_group_table(group)["bundles_to_node_id"]
        return not self._draining.isdisjoint(nodes.values())

    def _cleanup_cached_actors(self, force_all: bool = False) -> None:
        if self._paused_trials and not force_all:
            return  # they will resume in these actors
        # The search is not finished before its last trial has ended: a request may add one.
        is_unused = not self._staged_trials and not self._expects_trials()
        super()._cleanup_cached_actors(force_all=force_all or is_unused)

    def _expects_trials(self) -> bool:
        """Return whether the search has more trials to start."""
        searcher: Any = self._search_alg
        while hasattr(searcher, "searcher"):
            searcher = searcher.searcher
        return bool(getattr(searcher, "num_left", not self._search_alg.is_finished()))

    def _trial_task_failure(self, trial: RayTrial, exception: Exception) -> None:
        if exception is not self.last_failure:
            self.last_failure = exception
            self._resetting_trials.discard(trial)
            super()._trial_task_failure(trial, exception)

    def _process_trial_failure(self, trial: RayTrial, exception: Exception) -> None:
        """Count a failure by its cause, see :mod:`raytune_yesno.tuning.failures`."""
        failure = classify(exception)
        limit = MAX_RESTARTS.get(failure.cause, trial.max_failures)
        is_last = self._restarts[trial.trial_id, failure.cause] >= limit
        self._restarts[trial.trial_id, failure.cause] += 1
        # Tune adds one, and restarts the trial up to the maximum.
        trial.run_metadata.num_failures = trial.max_failures - (not is_last)
        trial.failure = failure
        trial.task_error = find_task_error(exception)
        super()._process_trial_failure(trial, exception)
        if failure.cause == OUT_OF_MEMORY:
            self._alone.append(trial)

    def _maybe_add_actors(self) -> None:
        # A trial that pauses waits for others, so these may run.
        while self._alone and self._alone[0].status not in (RayTrial.PENDING, RayTrial.RUNNING):
            self._alone.pop(0)
        if not self._alone:
            super()._maybe_add_actors()
        elif not self._trial_to_actor:  # no trial runs, is starting or ends
            self._cleanup_cached_actors(force_all=True)
            self._staged_trials.add(self._alone[0])
            self._actor_cache.increase_max(self._alone[0].placement_group_factory)
            self._schedule_trial_actor(self._alone[0])

    def _maybe_reuse_cached_actor(self, trial: RayTrial) -> bool:
        # At the end of the search, no other trial would use the cached actor.
        if self._is_starting(trial) and self._expects_trials():
            return False
        return bool(super()._maybe_reuse_cached_actor(trial))

    def _is_starting(self, trial: RayTrial) -> bool:
        """Return whether a trial's actor has been requested but is not running yet."""
        actor = self._trial_to_actor.get(trial)
        return (
            actor is not None
            and self._actor_manager.is_actor_started(actor)  # true as soon as it is requested
            and actor not in self._started_actors
        )

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Write no snapshot; see the module's description."""


def find_task_error(exception: Exception) -> TaskError | None:
    """Return the error of the user's code that made a trial fail; None if a process was lost."""
    cause = getattr(exception, "cause", None)
    return cause if isinstance(cause, TaskError) else None


class NoAnalysis:
    """Replaces Ray's summary of a finished search.

    Ray's version reads a snapshot and files of every trial. It fails if the storage was lost.
    """

    trials: Sequence[RayTrial] = ()

    def __init__(self, **_: Any) -> None:
        pass


@contextlib.contextmanager
def our_controller(on_step: Callable[[Any], None] | None = None) -> Iterator[None]:
    """Make tuners in this context use :class:`Controller`. Tune has no option for it.

    Args:
        on_step: called with the controller before each of its steps.
    """
    module: Any = tune_module
    before = module.TuneController, module.ExperimentAnalysis
    attributes = {"on_step": staticmethod(on_step)} if on_step else {}
    module.TuneController = type("Controller", (Controller,), attributes)
    module.ExperimentAnalysis = NoAnalysis
    try:
        yield
    finally:
        module.TuneController, module.ExperimentAnalysis = before
