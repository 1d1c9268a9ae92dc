"""Particle swarm optimisation."""

from collections.abc import Sequence

import numpy as np

from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import (
    Observation,
    has_stalled,
    select_pending,
    select_results,
)
from raytune_yesno.space import Point, Space
from raytune_yesno.values import check_at_least

# Clerc & Kennedy (2002), eq. 4 with phi = 2 * 2.05: the swarm contracts without a speed limit.
_ATTRACTION = 2.05
_CONSTRICTION = 2 / (2 * _ATTRACTION - 2 + np.sqrt((2 * _ATTRACTION) ** 2 - 8 * _ATTRACTION))


class PSO:
    """A particle swarm in the unit cube (Kennedy & Eberhart, 1995; Clerc & Kennedy, 2002).

    Each move is v <- chi (v + phi r1 (own best - x) + phi r2 (swarm's best - x)), x <- x + v;
    particles are reflected at the walls of the cube. In a swarm of P, particle i runs the trials
    i, i + P, i + 2P, ..., and its velocity is the difference of its last two positions. The state
    of the swarm is therefore contained in the trials' records.

    The swarm is asynchronous: no trial waits for a generation. A particle moves from the position
    of its last result; a failed trial does not move it. If its trial is still running, it moves in
    a random direction, so a swarm should have at least as many particles as trials run at a time.
    An integer or a choice is a cell of the cube. The particle's position within the cell is random,
    because moves shorter than the cell would otherwise have no effect; so is its coordinate in a
    dimension that is not active. While results no longer improve, a third of the particles moves
    at random: a swarm does not leave a valley by itself.

    Args:
        space: the search space.
        seed: seed of all draws.
        num_particles: size of the swarm, at least 2.

    Raises:
        InputError: the swarm is too small.
    """

    def __init__(self, space: Space, *, seed: int, num_particles: int = 8) -> None:
        check_at_least(2, num_particles=num_particles)
        self.cube = UnitCube(space)
        self.seed = seed
        self.num_particles = num_particles

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        results, losses = select_results(history)
        scored = list(zip(losses, results, strict=True))
        own = [pair for pair in scored if self._is_same_particle(pair[1], number)]
        explores = number % self.num_particles < self.num_particles / 3
        if not own or (explores and has_stalled(losses)):
            return self.cube.draw(self.seed, number)
        generator = build_numpy_generator(self.seed, number)
        x_D = self.cube.spread(self.seed, own[-1][1])
        in_flight = any(self._is_same_particle(seen, number) for seen in select_pending(history))
        if len(own) > 1 and not in_flight:
            velocity_D = x_D - self.cube.spread(self.seed, own[-2][1])
        else:
            velocity_D = (generator.random(self.cube.dim) - x_D) / 2
        to_own_D = self.cube.spread(self.seed, min(own, key=_by_loss)[1]) - x_D
        to_best_D = self.cube.spread(self.seed, min(scored, key=_by_loss)[1]) - x_D
        pull_2D = _ATTRACTION * generator.random((2, self.cube.dim))
        velocity_D = _CONSTRICTION * (velocity_D + pull_2D[0] * to_own_D + pull_2D[1] * to_best_D)
        return self.cube.decode(1 - np.abs(1 - (x_D + velocity_D) % 2))

    def _is_same_particle(self, seen: Observation, number: int) -> bool:
        return seen.number < number and (number - seen.number) % self.num_particles == 0


def _by_loss(pair: tuple[float, Observation]) -> tuple[float, int]:
    return pair[0], pair[1].number
