"""What early stopping saved, and whether its rungs predicted the final result."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import norm, spearmanr

from raytune_yesno.study import Study, Trial

MIN_JUDGED = 5  # trials that a rank correlation needs
USEFUL = 0.3
"""The rank correlation above which a rung tells good trials from bad ones well enough."""
_MAX_RUNGS = 12


@dataclass(frozen=True)
class StoppingRung:
    """An epoch at which the scheduler stopped trials.

    Attributes:
        epoch: the epoch's number.
        reached: number of trials that trained this epoch.
        stopped: number of trials that were stopped after it.
        best: the best metric at this epoch.
        worst_kept: the worst metric among the trials that continued.
        agreement: Spearman's rank correlation between the metric at this epoch and the best
            metric of the whole trial, over the ``judged`` trials. None for fewer than
            ``MIN_JUDGED``.
        judged: number of trials of the search that reached this epoch and ran to the end.
    """

    epoch: int
    reached: int
    stopped: int
    best: float | None
    worst_kept: float | None
    agreement: float | None
    judged: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of ``agreement``; from -1 to 1 without one."""
        if self.agreement is None:
            return -1.0, 1.0
        return bound_correlation(self.agreement, self.judged)


@dataclass(frozen=True)
class EarlyStopping:
    """How many epochs a study trained, and how many it saved.

    Attributes:
        epochs: epochs trained by all trials together.
        full_epochs: epochs that all trials would have trained without early stopping: those
            planned for the trials that were stopped, or fewer if all trials with that plan end
            by themselves before; and those trained by all others, which end early for other
            reasons, such as an error.
        longest: epochs of a trial that runs to the end.
        stopped: number of trials that the scheduler stopped early.
        rungs: the epochs at which it stopped them, in ascending order.
    """

    epochs: int
    full_epochs: int
    longest: int
    stopped: int
    rungs: list[StoppingRung]

    @property
    def saved(self) -> float:
        """The share of the epochs that early stopping saved."""
        return 1 - self.epochs / self.full_epochs

    @property
    def first_judged(self) -> StoppingRung | None:
        """The first rung with an :attr:`StoppingRung.agreement`; None without any."""
        return next((rung for rung in self.rungs if rung.agreement is not None), None)


def was_stopped_early(trial: Trial) -> bool:
    """Return whether the scheduler stopped a trial, not a request or the end of the search."""
    return trial.status == "stopped" and not (trial.is_stop_requested or trial.is_cut_off)


def measure_early_stopping(study: Study) -> EarlyStopping:
    """Return what early stopping saved, with the rungs at which most trials stopped."""
    trials = [trial for trial in study.trial_list if trial.epochs]
    stopped = [trial for trial in trials if was_stopped_early(trial)]
    done = [trial for trial in trials if trial.status == "done"]
    judged = [trial for trial in done if not trial.final]  # no scheduler stops a final round
    counts = Counter(trial.epochs[-1]["epoch"] for trial in stopped)
    most = max((len(trial.epochs) for trial in trials), default=0)
    ends: dict[int, int] = {}  # a function may end by itself, before the epochs of its plan
    for trial in done:
        plan = _plan(trial, most)
        ends[plan] = max(ends.get(plan, 0), len(trial.epochs))
    planned = [len(trial.epochs) for trial in trials]
    for index, trial in enumerate(trials):
        if was_stopped_early(trial):
            plan = _plan(trial, most)
            planned[index] = max(planned[index], ends.get(plan, plan))
    kept = sorted(epoch for epoch, _ in counts.most_common(_MAX_RUNGS))
    sign = -1 if study.mode == "max" else 1
    rungs = []
    for epoch in kept:
        values: dict[int, float] = {}
        for trial in trials:
            for record in trial.epochs:
                if record["epoch"] == epoch and record.get(study.metric) is not None:
                    values[trial.number] = record[study.metric]
        ended = {trial.number for trial in stopped if trial.epochs[-1]["epoch"] == epoch}
        continued = [value for number, value in values.items() if number not in ended]
        pairs = [
            (values[trial.number], trial.best_epoch[study.metric])
            for trial in judged
            if trial.number in values and trial.best_epoch
        ]
        rungs.append(
            StoppingRung(
                epoch=epoch,
                reached=sum(trial.epochs[-1]["epoch"] >= epoch for trial in trials),
                stopped=len(ended),
                best=min(values.values(), key=lambda value: sign * value, default=None),
                worst_kept=max(continued, key=lambda value: sign * value, default=None),
                agreement=_correlate(pairs),
                judged=len(pairs),
            )
        )
    return EarlyStopping(
        epochs=sum(len(trial.epochs) for trial in trials),
        full_epochs=sum(planned),
        longest=max(planned, default=0),
        stopped=len(stopped),
        rungs=rungs,
    )


def _plan(trial: Trial, default: int) -> int:
    """Return the number of epochs that a trial was to train."""
    return trial.planned[-1][1] if trial.planned else default


def bound_correlation(correlation: float, count: int) -> tuple[float, float]:
    """Return the 95% interval of a rank correlation (Bonett and Wright 2000).

    The interval has no width at -1 and 1. Few trials are often in perfect order by chance, so a
    perfect correlation counts as one between it and the next smaller value that ranks can have.
    """
    most = 1 - 6 / (count**3 - count)
    clipped = max(-most, min(most, correlation))
    error = math.sqrt((1 + clipped**2 / 2) / max(1, count - 3))
    half = float(norm.ppf(0.975)) * error
    return math.tanh(math.atanh(clipped) - half), math.tanh(math.atanh(clipped) + half)


def _correlate(pairs: Sequence[tuple[float, float]]) -> float | None:
    if len(pairs) < MIN_JUDGED or any(len(set(column)) < 2 for column in zip(*pairs, strict=True)):
        return None
    return float(spearmanr([a for a, _ in pairs], [b for _, b in pairs]).statistic)
