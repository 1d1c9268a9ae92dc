"""Particle swarm optimisation."""

from collections.abc import Sequence

import numpy as np

from raytune_yesno.errors import InputError
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation, select_pending, select_results
from raytune_yesno.space import Point, Space

# Clerc & Kennedy (2002), eq. 4 with phi = 2 * 2.05: the swarm contracts without a speed limit.
_ATTRACTION = 2.05
_CONSTRICTION = 2 / (2 * _ATTRACTION - 2 + np.sqrt((2 * _ATTRACTION) ** 2 - 8 * _ATTRACTION))


class PSO:
    """Fly a swarm through the unit cube (Kennedy & Eberhart, 1995; Clerc & Kennedy, 2002).

    Each move is v <- chi (v + phi r1 (own best - x) + phi r2 (swarm's best - x)), x <- x + v, and
    the cube's walls reflect. Particle i flies trials i, i + P, i + 2P, ... of a swarm of P, and its
    velocity is the difference of its last two places: so the trials' records are the swarm.

    The swarm is asynchronous: nobody waits for a generation. A particle moves on from its last
    trial that came back; one that failed has not moved it. Asked for more while its trial is still
    in flight, it sets out in a direction by chance: a swarm should be no smaller than the number
    of trials at a time. An integer or a choice takes a share of the cube, and its particle lies
    somewhere in that share by chance, lest moves shorter than the share be lost.
    """

    def __init__(self, space: Space, *, seed: int, num_particles: int = 8) -> None:
        if num_particles < 2:
            raise InputError(f"a swarm has at least 2 particles, not {num_particles}")
        self.cube = UnitCube(space)
        self.seed = seed
        self.num_particles = num_particles

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of this number, having seen the history."""
        results, losses = select_results(history)
        told = list(zip(losses, results, strict=True))
        own = [pair for pair in told if self._is_own(pair[1], number)]
        if not own:
            return self.cube.draw(self.seed, number)
        generator = build_numpy_generator(self.seed, number)
        x_D = self._place(own[-1][1])
        in_flight = any(self._is_own(seen, number) for seen in select_pending(history))
        if len(own) > 1 and not in_flight:
            velocity_D = x_D - self._place(own[-2][1])
        else:
            velocity_D = (generator.random(self.cube.dim) - x_D) / 2
        to_own_D = self._place(min(own, key=_by_loss)[1]) - x_D
        to_best_D = self._place(min(told, key=_by_loss)[1]) - x_D
        pull_2D = _ATTRACTION * generator.random((2, self.cube.dim))
        velocity_D = _CONSTRICTION * (velocity_D + pull_2D[0] * to_own_D + pull_2D[1] * to_best_D)
        return self.cube.decode(1 - np.abs(1 - (x_D + velocity_D) % 2))

    def _is_own(self, seen: Observation, number: int) -> bool:
        return seen.number < number and (number - seen.number) % self.num_particles == 0

    def _place(self, seen: Observation) -> np.ndarray:
        """Return where in the cube u_D the particle was when it flew this trial."""
        (u_D,) = self.cube.encode([seen])
        widths_D = self.cube.cell_widths(u_D)
        # key 1: apart from the numbers that chose the point itself
        jitter_D = build_numpy_generator(self.seed, seen.number, 1).random(self.cube.dim) - 0.5
        return np.asarray(np.clip(u_D + widths_D * jitter_D, 0, 1))


def _by_loss(pair: tuple[float, Observation]) -> tuple[float, int]:
    return pair[0], pair[1].number
