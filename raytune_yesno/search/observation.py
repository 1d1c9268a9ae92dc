"""What a search algorithm is told: one observation a trial, and the order they are held in."""

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, overload

import numpy as np

from raytune_yesno.space import Point, Space, decode_point, encode_point

Status: TypeAlias = Literal["running", "done", "stopped", "diverged", "failed"]


@dataclass(frozen=True)
class Observation:
    """Hold what is known of one trial.

    `loss` is the best so far, least is best; None until something was reported. `losses` are
    those of epochs 1, 2, ..., as far as they are known; only `bohb` reads them.
    """

    number: int
    point: Point
    loss: float | None = None
    epochs: int = 0
    status: Status = "running"
    losses: tuple[float, ...] = ()


class History(Sequence[Observation]):
    """Hold a study's observations in the order of their numbers, one a number."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self._observations: list[Observation] = []
        self._numbers: list[int] = []
        for observation in observations:
            self.observe(observation)

    def observe(self, observation: Observation) -> None:
        """Put an observation in its place, instead of an earlier one of the same number."""
        number = observation.number
        index = bisect.bisect_left(self._numbers, number)
        if index < len(self._numbers) and self._numbers[index] == number:
            self._observations[index] = observation
        else:
            self._numbers.insert(index, number)
            self._observations.insert(index, observation)

    def find(self, number: int) -> Observation:
        """Return the observation of a number; KeyError if there is none."""
        index = bisect.bisect_left(self._numbers, number)
        if index == len(self._numbers) or self._numbers[index] != number:
            raise KeyError(number)
        return self._observations[index]

    @property
    def next_number(self) -> int:
        """Return the number after the highest one."""
        return self._numbers[-1] + 1 if self._numbers else 0

    def __len__(self) -> int:
        return len(self._observations)

    def __iter__(self) -> Iterator[Observation]:
        return iter(self._observations)

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Observation]: ...
    def __getitem__(self, index: int | slice) -> Observation | list[Observation]:
        return self._observations[index]


def build_generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one ask: the same for the same numbers, in any process."""
    return np.random.default_rng(np.random.SeedSequence([seed, *key]))


def select_results(history: Iterable[Observation]) -> tuple[list[Observation], list[float]]:
    """Return the trials that a model may learn from, and the loss to tell it of each.

    A trial that diverged, or whose loss is not finite, counts as the worst finite loss of the
    others: bad, without stretching the scale. Failed and running trials are left out.
    """
    ended = [seen for seen in history if seen.status in ("done", "stopped", "diverged")]
    ended = [seen for seen in ended if seen.loss is not None or seen.status == "diverged"]
    losses = [_finite_loss(seen) for seen in ended]
    worst = max((loss for loss in losses if loss is not None), default=0.0)
    return ended, [worst if loss is None else loss for loss in losses]


def select_pending(history: Iterable[Observation]) -> list[Observation]:
    """Return the trials in flight."""
    return [seen for seen in history if seen.status == "running"]


def _finite_loss(seen: Observation) -> float | None:
    if seen.status == "diverged" or seen.loss is None or not math.isfinite(seen.loss):
        return None
    return float(seen.loss)


class UnitCube:
    """Translate points to rows of the unit cube and back, over the domains that leave a choice.

    Axes: N observations, D domains of more than one value. Rows are remembered, so that a long
    history is not encoded anew at every ask.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.free: Space = {k: domain for k, domain in space.items() if domain.num_values > 1}
        self._rows: dict[int, tuple[Point, list[float]]] = {}

    @property
    def dim(self) -> int:
        """Return D."""
        return len(self.free)

    def encode(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return the rows u_ND of some observations."""
        rows = [self._encode(seen) for seen in observations]
        return np.array(rows, dtype=float).reshape(len(rows), self.dim)

    def _encode(self, seen: Observation) -> list[float]:
        known = self._rows.get(seen.number)
        if known is not None and (known[0] is seen.point or known[0] == seen.point):
            return known[1]
        row = encode_point(self.free, seen.point)
        self._rows[seen.number] = (seen.point, row)
        return row

    def decode(self, u_D: Iterable[float]) -> Point:
        """Return the whole point at a row, in the order of the space."""
        chosen = decode_point(self.free, u_D)
        return {
            name: chosen[name] if name in chosen else domain.decode(0.5)
            for name, domain in self.space.items()
        }

    def draw(self, seed: int, number: int) -> Point:
        """Return the point that random search would propose as this number."""
        return self.decode(build_generator(seed, number).random(self.dim))
