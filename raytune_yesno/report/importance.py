"""Which hyperparameters mattered: permutation importance of a random forest.

Breiman (2001), "Random forests", section 10. The forest predicts a trial's rank from its config.
In cross-validation, one hyperparameter at a time is shuffled among the trials that were left out of
the fit; how much worse they are then predicted is its importance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raytune_yesno.report.axes import Axis, build_axes
from raytune_yesno.study import Study, Trial

MIN_TRIALS = 20
_MOST_TRIALS = 1500
_FOLDS = 5
_SHUFFLES = 5
_MIN_SCORE = 0.05


@dataclass(frozen=True)
class Importance:
    """What each hyperparameter is worth to the prediction of trials that were left out.

    Attributes:
        refused: why there is no answer; empty if there is one.
        names: the hyperparameters, the most important first.
        means: the growth of the squared error when one is shuffled, as a share of the variance.
        spreads: its standard deviation over the fits.
        num_trials: how many trials the answer rests on.
        score: R² of the forest on the trials left out.
        score_error: its standard error, by the folds.
        num_fits: how many forests were fitted.
        num_results: how many trials there were to draw those from.
    """

    refused: str = ""
    names: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    num_trials: int = 0
    score: float = 0.0
    score_error: float = 0.0
    num_fits: int = 0
    num_results: int = 0


def measure_importance(study: Study, *, seed: int = 0) -> Importance:
    """Measure, on the trials that came to a result; ``seed`` is of folds, forests and shuffles."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import RepeatedKFold

    axes = build_axes(study)
    ranking = study.ranking
    num_trials = len(ranking)
    if not axes:
        return Importance("no hyperparameter was varied", num_trials=num_trials)
    if num_trials < MIN_TRIALS:
        few = f"it takes at least {MIN_TRIALS} trials with a result, and there are {num_trials}"
        return Importance(few, num_trials=num_trials)
    values = np.array([trial.score(trial.best_epoch or {})[0] for trial in ranking])
    if values[0] == values[-1]:
        return Importance("all trials came to the same result", num_trials=num_trials)
    # Ranks: a loss of 1000 weighs no more than it should.
    _, order = np.unique(values, return_inverse=True)
    target = order / order.max()
    features = np.column_stack([_encode(axis, ranking) for axis in axes])
    generator = np.random.default_rng(seed)
    if num_trials > _MOST_TRIALS:
        kept = generator.choice(num_trials, _MOST_TRIALS, replace=False)
        target, features = target[kept], features[kept]
    repeats = 2 if len(target) <= 100 else 1
    folds = RepeatedKFold(n_splits=_FOLDS, n_repeats=repeats, random_state=seed)
    variance = target.var()
    drops, errors = [], []
    for fit, left_out in folds.split(features):
        forest = RandomForestRegressor(100, max_features=0.5, random_state=seed, n_jobs=1)
        forest.fit(features[fit], target[fit])
        x, y = features[left_out], target[left_out]
        shuffled = np.repeat(x[None], len(axes) * _SHUFFLES, axis=0)
        for column in range(len(axes)):
            for block in shuffled[column * _SHUFFLES : (column + 1) * _SHUFFLES]:
                block[:, column] = generator.permutation(block[:, column])
        guesses = forest.predict(np.concatenate([x, shuffled.reshape(-1, len(axes))]))
        losses = ((guesses.reshape(-1, len(y)) - y) ** 2).mean(axis=1) / variance
        errors.append(losses[0])
        drops.append(losses[1:].reshape(len(axes), _SHUFFLES).mean(axis=1) - losses[0])
    score = 1 - float(np.mean(errors))
    if score < _MIN_SCORE:
        return Importance(
            f"a random forest fitted on the {num_trials} trials predicts those left out no better "
            f"than a guess (R² {score:.2f}): more trials are needed to tell",
            num_trials=num_trials,
            score=score,
        )
    means, spreads = np.mean(drops, axis=0), np.std(drops, axis=0, ddof=1)
    ranked = np.argsort(-means, kind="stable")
    return Importance(
        names=tuple(axes[index].name for index in ranked),
        means=tuple(float(means[index]) for index in ranked),
        spreads=tuple(float(spreads[index]) for index in ranked),
        num_trials=len(target),
        score=score,
        score_error=float(np.std(errors, ddof=1) / math.sqrt(_FOLDS)),
        num_fits=len(drops),
        num_results=num_trials,
    )


def _encode(axis: Axis, trials: Sequence[Trial]) -> Any:
    """Return an axis's column; a value that a trial does not have lies below all others."""
    places = [axis.place(trial.point.get(axis.name)) for trial in trials]
    column = np.array([np.nan if place is None else place for place in places], dtype=float)
    if axis.kind == "log":
        column = np.log(np.where(column > 0, column, np.nan))
    lowest = np.nanmin(column) if np.isfinite(column).any() else 0.0
    return np.where(np.isfinite(column), column, lowest - 1.0)
