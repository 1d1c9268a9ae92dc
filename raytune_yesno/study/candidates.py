"""Candidates: the points of a study, each with all of its trainings.

The best of many noisy results is partly luck. A point that was trained several times is judged by
the mean of its results: of its trainings in a final round if it has any, since these played no part
in choosing it, else of all. If the study was extended to more epochs, only its longest trainings
decide: results after different numbers of epochs have no common mean.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from raytune_yesno.metrics import Limit, Metric, find_best_epoch, sum_excesses
from raytune_yesno.study.trial import RANKED, Trial


@dataclass(frozen=True)
class Candidate:
    """A point and its trainings.

    Attributes:
        trial: the first training, which the search proposed.
        repeats: further trainings during the search.
        finals: trainings of the final round.
    """

    trial: Trial
    repeats: tuple[Trial, ...] = ()
    finals: tuple[Trial, ...] = ()

    @cached_property
    def judged(self) -> tuple[Trial, ...]:
        """The trainings that decide: the longest ones, without those that failed."""
        known = _select_longest(filter(_has_result, self._all))
        return tuple(trial for trial in known if trial.final) or tuple(known) or (self.trial,)

    @property
    def _all(self) -> tuple[Trial, ...]:
        return self.trial, *self.repeats, *self.finals

    @property
    def results(self) -> list[float]:
        """The costs of :attr:`judged`; infinity for a training that diverged."""
        return [result_costs(trial)[0] for trial in self.judged]

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """The mean of the results in each objective, as costs; the first one is :attr:`mean`."""
        return _mean_columns([result_costs(trial) for trial in self.judged])

    @property
    def mean(self) -> float:
        """The mean of :attr:`results`."""
        return self.costs[0]

    @cached_property
    def excesses(self) -> tuple[float, ...]:
        """By how much the mean of the results exceeds each limit; negative if it keeps it."""
        objective = self.trial.objective
        return _mean_columns([objective.excesses(trial.best_epoch or {}) for trial in self.judged])

    @cached_property
    def excess(self) -> float:
        """By how much the mean of the results exceeds the limits in all; 0 if it keeps them."""
        return sum_excesses(self.excesses)

    def excess_over(self, limit: Limit) -> float:
        """Return by how much the mean of the results exceeds a limit; at most 0 if it keeps it."""
        return _mean_columns([(limit.excess(t.best_epoch or {}),) for t in self.judged])[0]

    def mean_of(self, metric: Metric) -> float:
        """Return the mean of the results in any metric, as a value of it, not as a cost."""
        return metric.value_of(
            _mean_columns([(metric.cost(t.best_epoch or {}),) for t in self.judged])[0]
        )

    @property
    def value(self) -> float:
        """The mean as a value of the deciding metric, not as a cost."""
        return self.trial.objective.metric.value_of(self.mean)

    @cached_property
    def epochs(self) -> int:
        """The epochs that the trainings support: the best epoch of their mean curve.

        The curve is the mean over the longest completed trainings, up to the last epoch that each
        of them has reached. With one training, it is that training's best epoch.
        """
        whole = _select_longest(trial for trial in self._all if trial.status == "done")
        best = (whole[0] if len(whole) == 1 else self.trial).best_epoch
        if len(whole) < 2 or best is None:
            return int(best["epoch"]) if best else 0
        curves = [dict(trial.costs) for trial in whole]
        shared = sorted(set.intersection(*map(set, curves)))
        means = [math.fsum(curve[epoch] for curve in curves) / len(curves) for epoch in shared]
        found = find_best_epoch(means, self.trial.objective.smooth)
        return shared[found] if found is not None else int(best["epoch"])

    @property
    def standing(self) -> tuple[float, bool, float]:
        """A sort key of the result alone; points with the same one tie.

        Points that keep all limits precede the others, which are ordered by their excess. Points of
        the final round precede the others.
        """
        return self.excess, not any(map(_has_result, self.finals)), self.mean

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """A sort key; the smallest is best.

        It is :attr:`standing`, then what the objective says of a tie, see
        :meth:`Objective.break_tie`, then the number.
        """
        records = [best for trial in self.judged if (best := trial.best_epoch)]
        ties = self.trial.objective.break_tie(records, self.epochs)
        return *self.standing, *ties, self.trial.number


def list_candidates(trials: Sequence[Trial], ranked: Sequence[str] = RANKED) -> list[Candidate]:
    """Return the points whose first training has a result, the best first.

    Args:
        trials: all trials of a study.
        ranked: the statuses that a first training may have.
    """
    repeats: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.repeat_of is not None:
            repeats.setdefault(trial.repeat_of, []).append(trial)
    candidates = [
        Candidate(
            trial,
            tuple(again for again in repeats.get(trial.number, ()) if not again.final),
            tuple(again for again in repeats.get(trial.number, ()) if again.final),
        )
        for trial in trials
        if trial.repeat_of is None and trial.status in ranked and trial.best_epoch
    ]
    return sorted(candidates, key=lambda candidate: candidate.sort_key)


def rank_trials(
    trials: Iterable[Trial], ranked: Sequence[str] = RANKED, *, repeats: bool = False
) -> list[Trial]:
    """Return the trials that count and have a result, the best first.

    Those that keep all limits precede the others.

    Args:
        trials: trials of a study, by number.
        ranked: the statuses that a trial may have.
        repeats: whether to include repeats.
    """
    scored = [
        ((trial.objective.excess(best), *trial.objective.score(best)), trial)
        for trial in trials
        if (repeats or trial.repeat_of is None)
        and trial.status in ranked
        and not trial.outside
        and (best := trial.best_epoch)
    ]
    return [trial for _, trial in sorted(scored, key=lambda pair: pair[0])]


def result_costs(trial: Trial) -> tuple[float, ...]:
    """Return the costs of a trial in each objective; infinity if it diverged."""
    best = {} if trial.status == "diverged" else trial.best_epoch or {}
    return tuple(metric.cost(best) for metric in trial.objective.objectives)


def _mean_columns(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))


def _select_longest(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that were planned for the most epochs."""
    planned = [(trial.planned[-1][1] if trial.planned else 0, trial) for trial in trials]
    most = max((epochs for epochs, _ in planned), default=0)
    return [trial for epochs, trial in planned if epochs == most]


def _has_result(trial: Trial) -> bool:
    return trial.status == "diverged" or (trial.status in RANKED and trial.best_epoch is not None)
