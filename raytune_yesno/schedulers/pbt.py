"""Population-based training."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ray.tune.experiment import Trial as RayTrial

from raytune_yesno.errors import InputError
from raytune_yesno.files.remote import copy_tree, name_checkpoint
from raytune_yesno.schedulers.synchronous import SynchronousScheduler
from raytune_yesno.search.cube import build_numpy_generator
from raytune_yesno.space import (
    Choice,
    Float,
    Int,
    List,
    Point,
    Space,
    Tree,
    as_tree,
    has_options,
    walk,
)
from raytune_yesno.study import Trial

_MAX_TRIES = 100  # changes that violate a constraint are drawn again


class PBT(SynchronousScheduler):
    """Copy the best trials over the worst, and change the copies' hyperparameters.

    Jaderberg et al. (2017), "Population based training of neural networks". This version is
    synchronous: all trials of the study are the population, and every ``interval`` epochs they
    wait for the slowest one. Each trial in the worst ``quantile`` then continues with the weights,
    the optimiser's state and the point of a trial drawn from the best ``quantile``, and its point
    is changed (see :func:`explore`). Draws are seeded by (seed, trial, epoch).

    Args:
        epochs: epochs of a trial.
        space: the domains that are explored.
        seed: seed of all draws.
        interval: epochs between two comparisons; 0 for a fifth of ``epochs``.
        quantile: share of the population that is replaced, in (0, 0.5].
        resample_probability: see :func:`explore`.
        step: see :func:`explore`.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        epochs: int,
        space: Space,
        seed: int,
        *,
        interval: int,
        quantile: float,
        resample_probability: float,
        step: float,
    ) -> None:
        if epochs < 2:
            raise InputError("its trials need at least 2 epochs: they are copied between epochs")
        interval = interval or max(1, epochs // 5)
        if not 1 <= interval < epochs:
            raise InputError(
                f"interval: {interval} must be from 1 to {epochs - 1}, so that trials are copied "
                f"before they end after {epochs} epochs"
            )
        if not 0 < quantile <= 0.5:
            raise InputError(f"quantile: {quantile} must be above 0 and at most 0.5")
        if not 0 <= resample_probability <= 1:
            raise InputError(f"resample_probability: {resample_probability} must be from 0 to 1")
        if not 0 < step <= 1:
            raise InputError(f"step: {step} must be above 0 and at most 1")
        super().__init__(epochs)
        self.seed, self.interval, self.quantile = seed, interval, quantile
        self.resample_probability, self.step = resample_probability, step
        self.space = space
        self.goal = interval
        self.copied: set[int] = set()  # trials that were already replaced at this goal

    def prepare(self, earlier: Iterable[Trial], **context: Any) -> None:
        """Restore the population from a study's records; its next goal is the slowest trial's."""
        earlier = list(earlier)
        super().prepare(earlier, **context)
        standing = {n: state for n, state in self.states.items() if not state.ended}
        if standing and len(earlier) == self.num_trials:
            least = min(state.epoch for state in standing.values())
            self.goal = max(1, -(-least // self.interval)) * self.interval
            self.copied = {
                trial.number
                for trial in earlier
                for event in trial.mutations
                if event["epoch"] == self.goal
            }
            # The study may have been interrupted between two copies. The remaining copies are then
            # made with the same draws, since these depend only on (seed, trial, epoch).
            if self.copied and len(self.copied) >= self._count_worst(len(self._rank(standing))):
                self._advance()

    def milestones(self) -> dict[int, int]:
        """Return the epoch at which all trials wait for each other."""
        return dict.fromkeys(self.states, self.goal)

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """Replace the worst trials once all have reached the goal; return the next trial to run."""
        if len(self.states) >= self.num_trials and self.goal < self.epochs:
            live = {n: trial for n, trial in self.trials.items() if not trial.is_finished()}
            if live and all(
                trial.status == RayTrial.PAUSED and self.states[number].epoch >= self.goal
                for number, trial in live.items()
            ):
                self.exploit(live)
                self._advance()
        return super().choose_trial_to_run(tune_controller)

    def exploit(self, live: dict[int, RayTrial]) -> None:
        """Replace each of the worst trials at the goal by a copy of one of the best."""
        ranked = self._rank(live)
        count = self._count_worst(len(ranked))
        for number in ranked[len(ranked) - count :]:
            generator = build_numpy_generator(self.seed, number, self.goal)
            source = ranked[int(generator.integers(count))]
            if number not in self.copied:
                self.copy(live[source], live[number], generator)

    def _rank(self, numbers: Iterable[int]) -> list[int]:
        """Return the trials that have reached the goal, the best first."""
        known = {number: self.states[number].costs for number in numbers}
        reached = [number for number, costs in known.items() if self.goal in costs]
        return sorted(reached, key=lambda number: (known[number][self.goal], number))

    def _count_worst(self, size: int) -> int:
        return min(max(1, round(self.quantile * size)), size // 2)

    def _advance(self) -> None:
        self.goal = min(self.goal + self.interval, self.epochs)
        self.copied = set()
        self._cached = None

    def copy(self, source: RayTrial, target: RayTrial, generator: np.random.Generator) -> None:
        """Make ``target`` continue from the checkpoint of ``source``, with a changed point."""
        assert self.store
        folder: str = source.config["checkpoint"]
        if source.checkpoint:
            root = source.storage.storage_fs_path
            folder = name_checkpoint(source.checkpoint.path, root, self.store.out.storage)
        number, goal = target.config["number"], self.goal
        # Tune deletes the source's own checkpoints once it has written newer ones. The copies of a
        # trial have a folder of their own: instead of a damaged one, those beside it are tried.
        kept = f"{folder.rsplit('/', 2)[0]}/copied_{number:05d}/checkpoint_{goal:06d}"
        copy_tree(folder, kept)
        point = explore(
            self.space,
            source.config["point"],
            generator,
            resample_probability=self.resample_probability,
            step=self.step,
        )
        target.set_config({**target.config, "point": point, "checkpoint": kept})
        self.store.append(
            "mutated",
            trial=number,
            epoch=goal,
            source=source.config["number"],
            point=point,
            checkpoint=kept,
        )


def explore(
    space: Space,
    point: Point,
    generator: np.random.Generator,
    *,
    resample_probability: float,
    step: float,
) -> Point:
    """Return a changed copy of a point.

    Args:
        space: the domains to change; other values of the point are kept.
        point: the point to start from.
        generator: source of all draws.
        resample_probability: probability that a value is drawn uniformly from its domain.
        step: otherwise a number moves up or down by this share of its range, on its own scale, and
            an integer or a float with a step by at least its own step. A choice is kept; a choice
            whose options have parameters of their own, and the length of a list, are never drawn
            again either.
    """
    tree = as_tree(space)
    for _ in range(_MAX_TRIES):
        explored = _change(tree, point, generator, resample_probability, step)
        if tree.satisfies(explored):
            return explored
    return dict(point)


def _change(
    tree: Tree,
    point: Point,
    generator: np.random.Generator,
    resample_probability: float,
    step: float,
) -> Point:
    """Return a copy in which every parameter that is active may have changed."""
    explored = dict(point)
    for name, domain, options in walk(tree):
        is_active = has_options(point, options)
        if (
            not is_active
            or domain.num_values == 1
            or (isinstance(domain, Choice) and domain.branches)
        ):
            continue
        if isinstance(domain, List):
            each = {str(index): domain.element for index in range(len(point[name]))}
            values = {str(index): value for index, value in enumerate(point[name])}
            if each:
                changed = _change(Tree(each), values, generator, resample_probability, step)
                explored[name] = tuple(changed.values())
            continue
        resample, sign = generator.random() < resample_probability, generator.choice((-1, 1))
        resampled = generator.random()
        if resample:
            explored[name] = domain.decode(resampled)
        elif not isinstance(domain, Choice):
            explored[name] = _move(domain, point[name], int(sign), step)
    return explored


def _move(domain: Float | Int, value: Any, sign: int, step: float) -> float | int:
    moved = domain.decode(min(max(domain.encode(value) + sign * step, 0.0), 1.0))
    if domain.step is not None and moved == value:
        moved = min(max(value + sign * domain.step, domain.low), domain.high)  # 0.2 + 0.1 > 0.3
        moved = domain.decode(domain.encode(moved)) if domain.contains(moved) else value
    return moved
