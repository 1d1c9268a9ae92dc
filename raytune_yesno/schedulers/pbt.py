"""Population based training."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ray.tune.experiment import Trial as RayTrial

from raytune_yesno.errors import InputError
from raytune_yesno.files.remote import copy_tree, name_checkpoint
from raytune_yesno.schedulers.synchronous import Rounds
from raytune_yesno.search.cube import build_generator
from raytune_yesno.space import Choice, Float, Int, Point, Space
from raytune_yesno.study import Trial


class PBT(Rounds):
    """Copy the best trials over the worst, and change the copies' hyperparameters.

    Jaderberg et al. (2017), "Population based training of neural networks"; here in step: all
    trials of the study are the population, and every ``interval`` epochs all wait for the last
    one. Then those in the worst ``quantile`` go on with the weights, the optimiser's state and the
    point of one of the best, drawn by chance, and the point is explored (see :func:`explore`).
    Draws are seeded by (seed, trial, epoch).
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
        interval = interval or max(1, epochs // 5)
        if not 1 <= interval < epochs:
            raise InputError(
                f"interval: {interval} must be from 1 to {epochs - 1}, so that trials meet before "
                f"they end, at {epochs} epochs"
            )
        if not 0 < quantile <= 0.5:
            raise InputError(f"quantile: {quantile} must be above 0 and at most 0.5")
        if not 0 <= resample_probability <= 1:
            raise InputError(f"resample_probability: {resample_probability} is no probability")
        if not 0 < step <= 1:
            raise InputError(f"step: {step} must be above 0 and at most 1")
        super().__init__(epochs)
        self.seed, self.interval, self.quantile = seed, interval, quantile
        self.resample_probability, self.step = resample_probability, step
        self.space = {key: domain for key, domain in space.items() if domain.num_values > 1}
        self.goal = interval
        self.copied: set[int] = set()  # of those that meet there, who goes on as a copy already

    def prepare(self, earlier: Iterable[Trial], **context: Any) -> None:
        """Take what a study's records say: the population meets next where the last one stood."""
        earlier = list(earlier)
        super().prepare(earlier, **context)
        standing = {n: entrant for n, entrant in self.entrants.items() if not entrant.ended}
        if standing and len(earlier) == self.num_trials:
            least = min(entrant.epoch for entrant in standing.values())
            self.goal = max(1, -(-least // self.interval)) * self.interval
            self.copied = {
                trial.number
                for trial in earlier
                for event in trial.mutations
                if event["epoch"] == self.goal
            }
            # It may have been cut off between two copies; the draws of the others are as they were.
            if self.copied and len(self.copied) >= self._count_worst(len(self._rank(standing))):
                self._go_on()

    def milestones(self) -> dict[int, int]:
        """Return the epoch at which all trials meet next."""
        return dict.fromkeys(self.entrants, self.goal)

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """Judge the population if it has met; return who goes on."""
        if len(self.entrants) >= self.num_trials and self.goal < self.epochs:
            live = {n: trial for n, trial in self.trials.items() if not trial.is_finished()}
            if live and all(
                trial.status == RayTrial.PAUSED and self.entrants[number].epoch >= self.goal
                for number, trial in live.items()
            ):
                self.exploit(live)
                self._go_on()
        return super().choose_trial_to_run(tune_controller)

    def exploit(self, live: dict[int, RayTrial]) -> None:
        """Copy the best over the worst of those who have met."""
        ranked = self._rank(live)
        count = self._count_worst(len(ranked))
        for number in ranked[len(ranked) - count :]:
            generator = build_generator(self.seed, number, self.goal)
            source = ranked[int(generator.integers(count))]
            if number not in self.copied:
                self.copy(live[source], live[number], generator)

    def _rank(self, numbers: Iterable[int]) -> list[int]:
        """Return the trials that have come to the goal, the best first."""
        known = {number: self.entrants[number].losses for number in numbers}
        met = [number for number, losses in known.items() if self.goal in losses]
        return sorted(met, key=lambda number: (known[number][self.goal], number))

    def _count_worst(self, met: int) -> int:
        return min(max(1, round(self.quantile * met)), met // 2)

    def _go_on(self) -> None:
        self.goal = min(self.goal + self.interval, self.epochs)
        self.copied = set()
        self._known = None

    def copy(self, source: RayTrial, target: RayTrial, generator: np.random.Generator) -> None:
        """Let one trial go on from another's checkpoint, with a point near the other's."""
        assert self.store
        folder: str = source.config["checkpoint"]
        if source.checkpoint:
            root = source.storage.storage_fs_path
            folder = name_checkpoint(source.checkpoint.path, root, self.store.storage)
        number, goal = target.config["number"], self.goal
        # The source's own checkpoints go when it has written newer ones.
        kept = f"{folder.rsplit('/', 2)[0]}/copied_{number:05d}_{goal:06d}"
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
    """Return a point near another, over the domains of ``space``; the rest is kept.

    Each value is drawn anew with some probability; else a number moves up or down by ``step`` of
    its range, on its own scale, an integer by at least one, and a choice stays.
    """
    explored = dict(point)
    for name, domain in space.items():
        resample, sign = generator.random() < resample_probability, generator.choice((-1, 1))
        anew = generator.random()
        if resample:
            explored[name] = domain.decode(anew)
        elif not isinstance(domain, Choice):
            explored[name] = _move(domain, point[name], int(sign), step)
    return explored


def _move(domain: Float | Int, value: Any, sign: int, step: float) -> float | int:
    moved = domain.decode(min(max(domain.encode(value) + sign * step, 0.0), 1.0))
    if isinstance(domain, Int) and moved == value:
        moved = min(max(value + sign, domain.low), domain.high)
    return moved
