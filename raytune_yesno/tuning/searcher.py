"""The searcher that Ray Tune calls: it asks the plan's algorithm and records the proposals."""

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytune_yesno.metrics import COST, COSTS, EXCESSES
from raytune_yesno.schedulers.protocol import StudyScheduler
from raytune_yesno.search import Observation
from raytune_yesno.search.ray_searcher import AlgorithmSearcher, Vector
from raytune_yesno.space import Point, as_tree
from raytune_yesno.study import Trial
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.ranks import TrialSpec
from raytune_yesno.tuning.stop_conditions import OrderedStopMonitor, StopMonitor
from raytune_yesno.tuning.warm_start import build_observations

_SEED_STEP = 10_007


class StudySearcher(AlgorithmSearcher):
    """Returns unfinished trials first, then new points from the plan's search, and records them.

    Args:
        plan: the plan of the study.
        store: where new trials are recorded.
        trials: the trials of the study so far.
        monitor: the stop conditions, which an ordered study judges before each trial.
        scheduler: the scheduler of the trials.
        enqueued: names and points of requests that no trial was launched for.
        is_final: whether this is the final round: its trials are recorded, and none is proposed.
        algorithm: the search; that of the plan by default.
    """

    def __init__(
        self,
        plan: Plan,
        store: StudyStore,
        trials: Sequence[Trial],
        monitor: StopMonitor,
        scheduler: StudyScheduler,
        enqueued: Sequence[tuple[str, Point]] = (),
        *,
        is_final: bool = False,
        algorithm: Any = None,
    ) -> None:
        others = build_observations(plan.warm_start, plan.space)
        offset = len(others)  # the algorithm numbers the trials of other studies first
        super().__init__(
            algorithm or plan.build_algorithm(),
            metric=COST,
            mode="min",
            history=[*others, *(shift(seen, offset) for seen in observe_all(plan, trials))],
            points=plan.known_points,
            space=as_tree(plan.space),
            offset=offset,
        )
        self.racing, self.seed = plan.racing, plan.config.seed
        self.used_seeds: dict[int, set[int]] = defaultdict(set)  # by a point's first trial
        for trial in trials:
            if trial.repeat_of is not None and trial.seed is not None:
                self.used_seeds[trial.repeat_of].add(trial.seed)
            self.history.reserve(trial.number + self.offset)
        self.store = store
        self.unfinished = [t for t in trials if t.status == "running" and t.final == is_final]
        self.scheduler = scheduler
        self.window = plan.window if plan.ordered else None
        self.monitor = monitor
        self.learns = plan.entry.learns
        self.enqueued = list(enqueued)
        requested = [trial for trial in trials if trial.request is not None]
        self.num_requested = sum(not trial.outside for trial in requested)  # as in the history
        num_ended = sum(trial.status != "running" and not trial.final for trial in trials)
        rest = plan.num_trials + len(requested) + len(self.enqueued) - num_ended
        self.num_left = len(self.unfinished) if is_final else rest

    def enqueue(self, name: str, point: Point) -> None:
        """Add a trial of a requested point. It is the next one to start."""
        self.enqueued.append((name, point))
        self.scheduler.expect(1)
        self.num_left += 1

    def withdraw(self, number: int) -> bool:
        """Give up an unfinished trial that was not started again; return whether there is one."""
        kept = [trial for trial in self.unfinished if trial.number != number]
        is_there = len(kept) < len(self.unfinished)
        self.unfinished = kept
        if is_there:
            self.scheduler.end(number)
            self.num_left -= 1
        return is_there

    def suggest(self, trial_id: str) -> TrialSpec | str | None:
        """Return the spec of the next trial, None if none may start now, or FINISHED."""
        if not self.num_left:
            return self.finish()
        if not self.scheduler.has_room:
            return None
        if self.window is not None and not self.unfinished:
            known = self.history.next_number - self.window + 1
            if any(number < known for number in self.numbers.values()):
                return None
            if isinstance(self.monitor, OrderedStopMonitor) and self.monitor.find_reason(
                known - self.offset
            ):
                self.num_left = 0
                return self.finish()
        self.num_left -= 1
        if self.unfinished:
            trial = self.unfinished.pop(0)
            self.numbers[trial_id] = trial.number + self.offset
            folder = trial.checkpoint[0] if trial.checkpoint else None
            return {"number": trial.number, "point": trial.overrides, "checkpoint": folder}
        if self.enqueued:
            name, point = self.enqueued.pop(0)
            self.add(trial_id, Observation(self.history.next_number, point))
            self.num_requested += 1
            return self._launch(trial_id, request=name)
        suggested = super().suggest(trial_id)
        if isinstance(suggested, dict):
            return self._launch(trial_id)
        self.scheduler.expect(-1 - self.num_left)  # others would wait for trials that never start
        self.num_left = 0
        return self.finish()

    def _launch(self, trial_id: str, **fields: Any) -> TrialSpec:
        """Record a new trial and return its spec."""
        seen = self.history.find(self.numbers[trial_id])
        number, overrides = seen.number - self.offset, seen.point
        if seen.repeat_of is not None:
            first = seen.repeat_of - self.offset
            seed = next(draw_seeds(self.seed, self.used_seeds[first]))
            self.used_seeds[first].add(seed)
            fields = {**fields, "repeat_of": first, "seed": seed}
            overrides = {**seen.point, "seed": seed}
        self.store.append("asked", trial=number, point=seen.point, **fields)
        return {"number": number, "point": overrides, "checkpoint": None}

    def propose(self, number: int, history: Sequence[Observation]) -> Observation | None:
        """Return a repeat of a point or a new point, see :class:`Repeats`."""
        return self.racing.propose(self.propose_point, number, history)

    def count_proposals(self, number: int) -> int:
        """Return a point's number among the algorithm's own, for one that counts its points."""
        return number if self.learns else number - self.num_requested

    def finish(self) -> str | None:
        """Return FINISHED once all trials have ended, else None: a request may add a trial.

        After FINISHED, Tune would also kill the processes of trials that wait for others.
        """
        waits = self.scheduler.synchronous and self.scheduler.has_live_trials
        return None if waits or self.numbers else str(self.FINISHED)

    def select_seen(self, number: int) -> Sequence[Observation]:
        """Return all observations. In an ordered study, hide the results of the last trials."""
        if self.window is None:
            return self.history
        last = max(number - self.window, self.offset - 1)
        return [
            seen
            if seen.number <= last
            else Observation(seen.number, seen.point, repeat_of=seen.repeat_of)
            for seen in self.history
        ]

    @property
    def live(self) -> set[int]:
        """The numbers of the trials that have not ended."""
        return {*self.in_flight, *(trial.number for trial in self.unfinished)}

    @property
    def in_flight(self) -> list[int]:
        """The numbers of the trials that are running or paused."""
        return [number - self.offset for number in self.numbers.values()]

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Record an epoch by the trial's own count. Ray's restarts when a study is resumed."""
        if COST in result:
            super().on_trial_result(trial_id, {**result, "training_iteration": result["epoch"]})

    def read_vectors(self, result: Mapping[str, Any]) -> tuple[Vector, Vector]:
        """Return what a trial reports of several objectives and of limits."""
        return tuple(result.get(COSTS, ())), tuple(result.get(EXCESSES, ()))


def shift(seen: Observation, offset: int) -> Observation:
    """Return an observation with other numbers."""
    first = None if seen.repeat_of is None else seen.repeat_of + offset
    return replace(seen, number=seen.number + offset, repeat_of=first)


def draw_seeds(seed: int, used: Collection[int]) -> Iterator[int]:
    """Yield the seeds of repeats, in order, except those in use.

    All points share these seeds, so that they are compared on equal terms. The step keeps them
    apart from those of other studies, whose seeds are usually small and consecutive.
    """
    seeds = ((seed + _SEED_STEP * repeat) % 2**31 for repeat in itertools.count(1))
    return (each for each in seeds if each not in used)


def observe_all(plan: Plan, trials: Sequence[Trial]) -> Iterator[Observation]:
    """Yield the trials that count as observations, with points of the plan's space."""
    config, space = plan.config.as_dict(), as_tree(plan.space)
    for trial in trials:
        if not trial.outside:
            # A hyperparameter that was not searched before had the config's value.
            yield replace(observe(trial), point=space.select({**config, **trial.point}))


def observe(trial: Trial) -> Observation:
    """Return a recorded trial as an observation for a search algorithm."""
    losses = tuple(map(trial.objective.cost, trial.epochs))
    best, objective = trial.best_epoch, trial.objective
    return Observation(
        number=trial.number,
        point=trial.point,
        loss=min(filter(math.isfinite, losses), default=None),
        epochs=len(losses),
        status=trial.status,  # type: ignore[arg-type]
        losses=losses,
        repeat_of=trial.repeat_of,
        costs=objective.costs(best) if best and objective.others else (),
        excesses=objective.excesses(best) if best else (),
    )
