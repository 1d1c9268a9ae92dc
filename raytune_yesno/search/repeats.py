"""Repeats: train promising points again with other seeds.

A layer between a search and a study's trials. Every trial is one training of a point; a trial with
``repeat_of`` trains the point of an earlier one again. The layer decides, from the records alone,
whether the next trial repeats a point or tries a new one, and it shows the search one observation
per point: the mean of its results. A search therefore needs to know nothing about repeats.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from raytune_yesno.metrics import sum_excesses
from raytune_yesno.search.observation import Observation, was_tried
from raytune_yesno.space import Point

Suggest = Callable[[int, Sequence[Observation]], Point | None]

CLEAR_GAP = 2.0
"""Standard errors by which the best point must lead, so that it is not repeated."""
MIN_REPEATS = 2
"""The fewest repeats from which the noise is estimated; until then, the best is repeated."""

_RESULTS = ("done", "stopped", "diverged")


@dataclass(frozen=True)
class Repeats:
    """How often points are trained.

    Every point is trained ``least`` times. The point with the best mean is trained again, up to
    ``most`` times, while chance may explain its lead: while the gap to the second best is below
    :data:`CLEAR_GAP` standard errors. The noise is estimated from all points with several results.
    If another point takes the lead, that one is repeated. A point whose first results are bad is
    never repeated, nor one whose mean exceeds a limit, and without noise there are hardly any
    repeats. A point whose first training failed cannot be chosen in the end, so it is not repeated
    either. Related: the intensification of Hutter et al. (2011), "Sequential model-based
    optimization for general algorithm configuration".

    Attributes:
        least: trainings of every point.
        most: trainings of the best point.
    """

    least: int = 1
    most: int = 1

    def propose(
        self, suggest: Suggest, number: int, history: Sequence[Observation]
    ) -> Observation | None:
        """Return the trial to start next, or None if the search is exhausted.

        Where no new point is left, it repeats the best of those that may be trained again. The
        search learns from points of other studies, but they are never repeated.

        Args:
            suggest: the search, see :meth:`Algorithm.suggest`. It is given one observation per
                point, numbered from 0.
            number: the trial's number.
            history: the observations of all trials, in the order of their numbers.
        """
        points = group_repeats(history)
        own = [trials for trials in points if not trials[0].elsewhere]
        repeatable = [trials for trials in own if trials[0].status != "failed"]
        again = self._choose(repeatable)
        if again is None:
            pooled = [pool(trials, index) for index, trials in enumerate(points)]
            point = suggest(len(pooled), pooled)
            firsts = [trials[0] for trials in own]
            # A search returns a known point where it finds no other.
            if point is not None and not (self.most > 1 and was_tried(point, firsts)):
                return Observation(number, point)
            open_points = (trials for trials in repeatable if len(trials) < self.most)
            again = min(open_points, key=_order, default=[None])[0]
        if again is None:
            return None
        return Observation(number, again.point, repeat_of=again.number)

    def _choose(self, points: Sequence[Sequence[Observation]]) -> Observation | None:
        """Return the first trial of the point to repeat now, or None."""
        for trials in points:
            if len(trials) < self.least:
                return trials[0]
        if self.most == self.least:
            return None
        results = [trials for trials in points if any(seen.status in _RESULTS for seen in trials)]
        results = [trials for trials in results if pool(trials, 0).is_feasible]
        if len(results) < 2:
            return None
        best, second = heapq.nsmallest(2, results, key=_mean_loss)
        if not math.isfinite(_mean_loss(best)):  # all have diverged
            return None
        running = sum(seen.status == "running" for seen in best)
        # Parallel trials at most double the results of a point before it is judged again.
        if len(best) >= self.most or running >= len(best) - running:
            return None
        variance = estimate_variance([_finite_losses(trials) for trials in results])
        if variance is not None:
            counts = [max(1, len(_finite_losses(trials))) for trials in (best, second)]
            error = math.sqrt(variance * sum(1 / count for count in counts))
            if _mean_loss(second) - _mean_loss(best) > CLEAR_GAP * error:
                return None
        return best[0]


def estimate_variance(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the variance of results of the same point, pooled over points.

    Args:
        groups: the results of each point.

    Returns:
        The variance; None with fewer than :data:`MIN_REPEATS` repeats in all.
    """
    squares, repeats = 0.0, 0
    for losses in groups:
        if len(losses) > 1:
            mean = math.fsum(losses) / len(losses)
            deviations = (loss - mean for loss in losses)
            squares += math.fsum(each * each for each in deviations)  # `**` would raise if huge
            repeats += len(losses) - 1
    return squares / repeats if repeats >= MIN_REPEATS else None


def group_repeats(history: Iterable[Observation]) -> list[list[Observation]]:
    """Return the trials of each point, in the order of the points' first trials."""
    points: dict[int, list[Observation]] = {}
    for seen in history:
        first = seen.number if seen.repeat_of is None else seen.repeat_of
        points.setdefault(first, []).append(seen)
    return list(points.values())


def pool(trials: Sequence[Observation], number: int) -> Observation:
    """Return the trials of a point as one observation, with the mean of its results.

    A loss by epoch is the mean over the trials that reached the epoch. A point has diverged if one
    of its trials has. Failed trials, and running ones beside ended ones, are omitted.
    """
    results = [seen for seen in trials if seen.status in _RESULTS and seen.loss is not None]
    diverged = any(seen.status == "diverged" for seen in trials)
    if len(trials) == 1 or not results:
        running = (seen for seen in trials if seen.status == "running")
        only = next(running, trials[0])
        status = "diverged" if diverged else only.status
        return replace(only, number=number, status=status, repeat_of=None)
    columns = zip_longest(*(seen.losses for seen in results))
    losses = ([loss for loss in column if loss is not None] for column in columns)
    return Observation(
        number=number,
        point=trials[0].point,
        loss=math.fsum(seen.loss or 0.0 for seen in results) / len(results),
        epochs=max(seen.epochs for seen in results),
        status="diverged" if diverged else results[0].status,
        losses=tuple(math.fsum(column) / len(column) for column in losses),
        costs=_mean_vector([seen.costs for seen in results]),
        excesses=_mean_vector([seen.excesses for seen in results]),
        elsewhere=trials[0].elsewhere,
    )


def _mean_vector(vectors: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the means of vectors by their elements; empty if one of them is."""
    if not all(vectors):
        return ()
    return tuple(math.fsum(column) / len(column) for column in zip(*vectors, strict=True))


def _finite_losses(trials: Iterable[Observation]) -> list[float]:
    return [
        seen.loss
        for seen in trials
        if seen.status in ("done", "stopped") and seen.loss is not None and math.isfinite(seen.loss)
    ]


def _order(trials: Sequence[Observation]) -> tuple[float, float]:
    """Return a sort key of points: by their excess over the limits, then by their loss."""
    return sum_excesses(pool(trials, 0).excesses), _mean_loss(trials)


def _mean_loss(trials: Sequence[Observation]) -> float:
    """Return the mean loss of a point's results; infinity if one of them diverged."""
    seen = pool(trials, 0)
    if seen.status == "diverged" or seen.loss is None or not math.isfinite(seen.loss):
        return math.inf
    return seen.loss
