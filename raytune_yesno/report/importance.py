"""Importance of hyperparameters: permutation importance of a random forest.

Breiman (2001), "Random forests", section 10. The forest predicts a trial's rank from its config.
In cross-validation, one hyperparameter at a time is shuffled among the held-out trials. Its
importance is the increase of the prediction error. The values of a hyperparameter that belongs to
an option are shuffled among the trials with that option: its importance is that of its value, and
the importance of the option is that of the choice.

The level of chance comes from the same fits on permuted results (Altmann et al. 2010, "Permutation
importance: a corrected feature importance measure"). A hyperparameter is significant if its
importance exceeds the largest importance of any hyperparameter in any permutation. The maximum
corrects for testing many hyperparameters (Westfall and Young 1993).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from raytune_yesno.report.axes import Axis, build_axes
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.trial import UNSUCCESSFUL
from raytune_yesno.text import plural

MIN_TRIALS = 10  # two held-out trials per fold; the permutations tell whether more are needed
NUM_PERMUTATIONS = 19  # exceeding the maximum of 19 permutations means p <= 1/20
_MAX_TRIALS = 400
_FOLDS = 5
_SHUFFLES = 5
_TREES = 100
_PERMUTED_TREES = 40  # fewer trees scatter more, so the level of chance is rather too high


@dataclass(frozen=True)
class Importance:
    """The importance of each hyperparameter for the prediction of held-out trials.

    Attributes:
        refused: why there is no answer and what would help, without a full stop; empty if there
            is an answer.
        names: the hyperparameters, the most important first.
        means: mean increase of the squared error when the hyperparameter is shuffled, as a share
            of the variance.
        spreads: standard deviation of the increase over the fits.
        chance_level: the largest mean of any hyperparameter under permuted results.
        num_trials: number of trials used.
        score: R² of the forest on held-out trials.
        score_error: standard error of the score over the folds.
        num_fits: number of forests.
        num_results: number of trials with a result, from which ``num_trials`` were sampled.
        num_left_out: number of trials that failed or diverged, which have no result.
    """

    refused: str = ""
    names: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    chance_level: float = 0.0
    num_trials: int = 0
    score: float = 0.0
    score_error: float = 0.0
    num_fits: int = 0
    num_results: int = 0
    num_left_out: int = 0

    @property
    def clear(self) -> tuple[str, ...]:
        """The hyperparameters that matter more than chance explains (p <= 0.05)."""
        named = zip(self.names, self.means, strict=True)
        return tuple(name for name, mean in named if mean > self.chance_level)


def measure_importance(study: Study) -> Importance:
    """Measure the importance of the hyperparameters of a study from its trials with a result."""
    axes = build_axes(study)
    ranking = study.ranking
    num_trials = len(ranking)
    refuse = partial(Importance, num_trials=num_trials, num_results=num_trials)
    if not axes:
        return refuse("no hyperparameter was varied. Add one to the search space")
    if num_trials < MIN_TRIALS:
        return refuse(
            f"only {plural(num_trials, 'trial')} with a result. Run at least {MIN_TRIALS}"
        )
    values = np.array([trial.score(trial.best_epoch or {})[0] for trial in ranking])
    # Ranks, so that a single huge loss does not dominate the fit.
    _, order = np.unique(values, return_inverse=True)
    target = order / max(1, order.max())
    features = np.column_stack([encode_axis(axis, ranking) for axis in axes])
    generator = np.random.default_rng(0)
    if num_trials > _MAX_TRIALS:
        kept = generator.choice(num_trials, _MAX_TRIALS, replace=False)
        target, features = target[kept], features[kept]
    if target.min() == target.max():
        return refuse("nearly all trials have the same result. Widen the search space")
    repeats = 2 if len(target) <= 100 else 1
    errors, increases = cross_validate(features, target, _TREES, repeats, generator)
    score = 1 - float(np.mean(errors))
    chance_level = 0.0
    for _ in range(NUM_PERMUTATIONS):
        permuted = generator.permutation(target)
        chance_errors, chance_increases = cross_validate(
            features, permuted, _PERMUTED_TREES, 1, generator
        )
        chance_score = 1 - float(np.mean(chance_errors))
        if score <= chance_score:
            is_whole = len(target) == num_trials
            few = "are too few" if is_whole else f"of {num_trials} tell nothing"
            return refuse(
                f"{len(target)} trials {few}. A random forest predicts held-out trials no "
                f"better than chance (R² {score:.2f}; {chance_score:.2f} with permuted results). "
                + ("Run more trials" if is_whole else "Widen the search space, or repeat points"),
                num_trials=len(target),
                score=score,
            )
        chance_level = max(chance_level, float(np.mean(chance_increases, axis=0).max()))
    means, spreads = np.mean(increases, axis=0), np.std(increases, axis=0, ddof=1)
    ranked = np.argsort(-means, kind="stable")
    return Importance(
        names=tuple(axes[index].name for index in ranked),
        means=tuple(float(means[index]) for index in ranked),
        spreads=tuple(float(spreads[index]) for index in ranked),
        chance_level=chance_level,
        num_trials=len(target),
        score=score,
        score_error=float(np.std(errors, ddof=1) / math.sqrt(_FOLDS)),
        num_fits=len(increases),
        num_results=num_trials,
        num_left_out=sum(trial.status in UNSUCCESSFUL for trial in study.trial_list),
    )


def cross_validate(
    features: Any, target: Any, trees: int, repeats: int, generator: np.random.Generator
) -> tuple[list[float], list[Any]]:
    """Fit and evaluate forests in repeated cross-validation.

    Args:
        features: [trials, hyperparameters].
        target: [trials].
        trees: number of trees per forest.
        repeats: number of repetitions, each with other folds.
        generator: source of randomness.

    Returns:
        For each fit, the squared error on held-out trials as a share of the variance, and the
        increase of that error for each shuffled column.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import RepeatedKFold

    seed = int(generator.integers(2**31))
    folds = RepeatedKFold(n_splits=_FOLDS, n_repeats=repeats, random_state=seed)
    num_columns, variance = features.shape[1], target.var()
    is_known = ~np.isnan(features)
    features = _fill(features)
    errors, increases = [], []
    for fit, held_out in folds.split(features):
        forest = RandomForestRegressor(trees, max_features=0.5, random_state=seed, n_jobs=1)
        forest.fit(features[fit], target[fit])
        x, y = features[held_out], target[held_out]
        shuffled = np.repeat(x[None], num_columns * _SHUFFLES, axis=0)
        for column in range(num_columns):
            known = is_known[held_out, column]
            for block in shuffled[column * _SHUFFLES : (column + 1) * _SHUFFLES]:
                block[known, column] = generator.permutation(block[known, column])
        predicted = forest.predict(np.concatenate([x, shuffled.reshape(-1, num_columns)]))
        losses = ((predicted.reshape(-1, len(y)) - y) ** 2).mean(axis=1) / variance
        errors.append(float(losses[0]))
        increases.append(losses[1:].reshape(num_columns, _SHUFFLES).mean(axis=1) - losses[0])
    return errors, increases


def encode_axis(axis: Axis, trials: Sequence[Trial]) -> Any:
    """Return the column of an axis; not a number for missing values."""
    values = [axis.read(trial.best_point) for trial in trials]
    column = np.array([np.nan if value is None else value for value in values], dtype=float)
    if axis.kind == "log":
        column = np.log(np.where(column > 0, column, np.nan))
    return np.where(np.isfinite(column), column, np.nan)


def _fill(features: Any) -> Any:
    """Return the columns with the median of the known values in place of missing ones.

    A value of its own would tell which option a trial has, and take the importance of the choice.
    """
    missing = np.isnan(features)
    medians = np.nanmedian(np.where(missing.all(axis=0), 0.0, features), axis=0)
    return np.where(missing, medians, features)
