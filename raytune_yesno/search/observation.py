"""Observations: what a search algorithm knows of each trial."""

import bisect
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

from raytune_yesno.space import Point
from raytune_yesno.space.choice import freeze, same

_PATIENCE = 20

Status: TypeAlias = Literal["running", "done", "stopped", "diverged", "failed"]


@dataclass(frozen=True)
class Observation:
    """What a search algorithm knows of one trial.

    Example:
        >>> from raytune_yesno.search import Observation
        >>> trial = Observation(0, {"dropout": 0.1}, loss=0.3, epochs=2, status="done")
        >>> trial.loss
        0.3

    Attributes:
        number: the trial's number, from 0.
        point: its values by name.
        loss: its best loss so far, to be minimised; None before the first report.
        epochs: epochs trained.
        status: ``running``, or how it ended.
        losses: the losses of epochs 1, 2, ..., as far as they are known; only ``bohb`` reads them.
        repeat_of: the number of the first trial of the same point; None for that trial itself. A
            search never sees a repeat, see :mod:`raytune_yesno.search.repeats`.
        costs: one cost for each objective at its best epoch, the first one is ``loss``; empty for a
            study of one objective.
        excesses: by how much it exceeds each limit, at most 0 if it keeps it; empty if unknown.
        elsewhere: whether it is a trial of another study. A model learns from its result, but its
            point does not count as tried.
    """

    number: int
    point: Point
    loss: float | None = None
    epochs: int = 0
    status: Status = "running"
    losses: tuple[float, ...] = ()
    repeat_of: int | None = None
    costs: tuple[float, ...] = ()
    excesses: tuple[float, ...] = ()
    elsewhere: bool = False

    @property
    def all_costs(self) -> tuple[float, ...]:
        """One cost for each objective; empty without a result."""
        return self.costs or (() if self.loss is None else (self.loss,))

    @property
    def is_feasible(self) -> bool:
        """Whether it exceeds no limit."""
        return all(excess <= 0 for excess in self.excesses)


class History(Sequence[Observation]):
    """A study's observations in the order of trial numbers, one a trial.

    Args:
        observations: the first ones, in any order.
    """

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self._observations: list[Observation] = []
        self._numbers: list[int] = []
        self._num_reserved = 0
        for observation in observations:
            self.observe(observation)

    def observe(self, observation: Observation) -> None:
        """Insert an observation; it replaces an earlier one of the same number."""
        number = observation.number
        index = bisect.bisect_left(self._numbers, number)
        if index < len(self._numbers) and self._numbers[index] == number:
            self._observations[index] = observation
        else:
            self._numbers.insert(index, number)
            self._observations.insert(index, observation)

    def find(self, number: int) -> Observation:
        """Return the observation of a trial.

        Raises:
            KeyError: there is none of that number.
        """
        index = bisect.bisect_left(self._numbers, number)
        if index == len(self._numbers) or self._numbers[index] != number:
            raise KeyError(number)
        return self._observations[index]

    @property
    def next_number(self) -> int:
        """The number after the highest one, observed or reserved; 0 if there is none."""
        return max(self._numbers[-1] + 1 if self._numbers else 0, self._num_reserved)

    def reserve(self, number: int) -> None:
        """Keep a number, and those below, from being given to a new trial."""
        self._num_reserved = max(self._num_reserved, number + 1)

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


def select_tried(history: Iterable[Observation]) -> list[Observation]:
    """Return the trials whose points were tried in this study, or refused before training."""
    return [seen for seen in history if not seen.elsewhere]


def was_tried(point: Point, history: Iterable[Observation]) -> bool:
    """Return whether this study has tried a point; 1, 1.0 and True are different values."""
    values = _freeze_point(point)
    return any(same(values, _freeze_point(seen.point)) for seen in select_tried(history))


def _freeze_point(point: Point) -> Any:
    return freeze([[name, point[name]] for name in sorted(point)])


def select_results(history: Iterable[Observation]) -> tuple[list[Observation], list[float]]:
    """Return the ended trials that a model may learn from, and their losses.

    A trial that diverged, or whose loss is not finite, gets the worst finite loss of the others:
    bad, without stretching the scale. Failed and running trials are omitted.
    """
    ended = [seen for seen in history if seen.status in ("done", "stopped", "diverged")]
    ended = [seen for seen in ended if seen.loss is not None or seen.status == "diverged"]
    return ended, _replace_by_worst([_finite_loss(seen) for seen in ended])


def select_pending(history: Iterable[Observation]) -> list[Observation]:
    """Return the running trials."""
    return [seen for seen in history if seen.status == "running"]


def select_failed(history: Iterable[Observation]) -> list[Observation]:
    """Return the failed trials, without points that were refused before training."""
    return [seen for seen in history if seen.status == "failed" and seen.number >= 0]


def select_subset(losses: Sequence[float], num_best: int, num_latest: int) -> list[int]:
    """Return the indices of the best results and the latest of the others, in rising order.

    This limits the cost of a model for a long history.
    """
    order = sorted(range(len(losses)), key=losses.__getitem__)
    rest = sorted(order[num_best:])
    return sorted(order[:num_best] + rest[max(len(rest) - num_latest, 0) :])


def has_stalled(losses: Sequence[float]) -> bool:
    """Return whether the latest results hardly improved on the best of the earlier ones.

    An improvement counts from a hundredth of the distance between the best and the median.
    """
    if len(losses) <= _PATIENCE:
        return False
    best = min(losses)
    return min(losses[:-_PATIENCE]) - best <= 0.01 * (statistics.median(losses) - best)


def losses_at(epochs: int, history: Iterable[Observation]) -> tuple[list[Observation], list[float]]:
    """Return the trials that have trained ``epochs`` epochs, and their best losses up to there.

    Running trials are included, failed ones are not. A loss that is not finite becomes the worst
    finite one, and so does each loss of a trial that diverged. A trial without losses by epoch gets
    its best loss.
    """
    reached = [seen for seen in history if seen.epochs >= epochs and seen.status != "failed"]
    losses = [
        min((loss for loss in seen.losses[:epochs] if math.isfinite(loss)), default=None)
        if seen.losses and seen.status != "diverged"
        else _finite_loss(seen)
        for seen in reached
    ]
    return reached, _replace_by_worst(losses)


def _replace_by_worst(losses: Sequence[float | None]) -> list[float]:
    worst = max((loss for loss in losses if loss is not None), default=0.0)
    return [worst if loss is None else loss for loss in losses]


def _finite_loss(seen: Observation) -> float | None:
    if seen.status == "diverged" or seen.loss is None or not math.isfinite(seen.loss):
        return None
    return float(seen.loss)
