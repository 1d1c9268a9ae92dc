"""Which hyperparameters mattered: permutation importance of a random forest.

Breiman (2001), "Random forests", section 10. The forest predicts a trial's rank from its config.
In cross-validation, one hyperparameter at a time is shuffled among the trials that were left out of
the fit; how much worse they are then predicted is its importance.

Luck is measured by the same fits on results that are dealt out anew among the configs (Altmann et
al. 2010, "Permutation importance: a corrected feature importance measure"). An importance counts
where it is greater than the greatest of any hyperparameter in any deal, so that not one of many
stands out by luck alone (Westfall and Young 1993).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raytune_yesno.report.axes import Axis, build_axes
from raytune_yesno.study import Study, Trial

MIN_TRIALS = 10  # two to predict in each fold; whether more are needed is for the test of luck
_MOST_TRIALS = 400
_FOLDS = 5
_SHUFFLES = 5
_TREES = 100
_DEALS = 19  # what beats the best of 19 deals has p of 1/20 at most
_LUCK_TREES = 40  # fewer scatter more, so that luck is rather thought too great than too small


@dataclass(frozen=True)
class Importance:
    """What each hyperparameter is worth to the prediction of trials that were left out.

    Attributes:
        refused: why there is no answer; empty if there is one.
        names: the hyperparameters, the most important first.
        means: the growth of the squared error when one is shuffled, as a share of the variance.
        spreads: its standard deviation over the fits.
        luck: the greatest of any hyperparameter with the results dealt out anew.
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
    luck: float = 0.0
    num_trials: int = 0
    score: float = 0.0
    score_error: float = 0.0
    num_fits: int = 0
    num_results: int = 0

    @property
    def clear(self) -> tuple[str, ...]:
        """The hyperparameters that matter more than luck explains, p at most 0.05."""
        named = zip(self.names, self.means, strict=True)
        return tuple(name for name, mean in named if mean > self.luck)


def measure_importance(study: Study, *, seed: int = 0) -> Importance:
    """Measure, on the trials that came to a result; ``seed`` is of folds, forests and shuffles."""
    axes = build_axes(study)
    ranking = study.ranking
    num_trials = len(ranking)
    if not axes:
        return Importance(
            "no hyperparameter was varied", num_trials=num_trials, num_results=num_trials
        )
    if num_trials < MIN_TRIALS:
        few = f"it takes at least {MIN_TRIALS} trials with a result, and there are {num_trials}"
        return Importance(few, num_trials=num_trials, num_results=num_trials)
    values = np.array([trial.score(trial.best_epoch or {})[0] for trial in ranking])
    if values[0] == values[-1]:
        return Importance(
            "all trials came to the same result", num_trials=num_trials, num_results=num_trials
        )
    # Ranks: a loss of 1000 weighs no more than it should.
    _, order = np.unique(values, return_inverse=True)
    target = order / order.max()
    features = np.column_stack([_encode(axis, ranking) for axis in axes])
    generator = np.random.default_rng(seed)
    if num_trials > _MOST_TRIALS:
        kept = generator.choice(num_trials, _MOST_TRIALS, replace=False)
        target, features = target[kept], features[kept]
    repeats = 2 if len(target) <= 100 else 1
    errors, drops = _cross_validate(features, target, _TREES, repeats, generator)
    score = 1 - float(np.mean(errors))
    luck = 0.0
    for _ in range(_DEALS):
        dealt = generator.permutation(target)
        lucky_errors, lucky_drops = _cross_validate(features, dealt, _LUCK_TREES, 1, generator)
        lucky_score = 1 - float(np.mean(lucky_errors))
        if score <= lucky_score:
            return Importance(
                f"a random forest fitted on the {num_trials} trials predicts those left out no "
                f"better than luck (R² {score:.2f}; {lucky_score:.2f} with the results dealt out "
                "anew among the configs): more trials are needed to tell",
                num_trials=num_trials,
                num_results=num_trials,
                score=score,
            )
        luck = max(luck, float(np.mean(lucky_drops, axis=0).max()))
    means, spreads = np.mean(drops, axis=0), np.std(drops, axis=0, ddof=1)
    ranked = np.argsort(-means, kind="stable")
    return Importance(
        names=tuple(axes[index].name for index in ranked),
        means=tuple(float(means[index]) for index in ranked),
        spreads=tuple(float(spreads[index]) for index in ranked),
        luck=luck,
        num_trials=len(target),
        score=score,
        score_error=float(np.std(errors, ddof=1) / math.sqrt(_FOLDS)),
        num_fits=len(drops),
        num_results=num_trials,
    )


def _cross_validate(
    features: Any, target: Any, trees: int, repeats: int, generator: np.random.Generator
) -> tuple[list[float], list[Any]]:
    """Return, of each fit, the squared error on what was left out, as a share of the variance, and
    by how much it grows with each column shuffled."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import RepeatedKFold

    seed = int(generator.integers(2**31))
    folds = RepeatedKFold(n_splits=_FOLDS, n_repeats=repeats, random_state=seed)
    num_columns, variance = features.shape[1], target.var()
    errors, drops = [], []
    for fit, left_out in folds.split(features):
        forest = RandomForestRegressor(trees, max_features=0.5, random_state=seed, n_jobs=1)
        forest.fit(features[fit], target[fit])
        x, y = features[left_out], target[left_out]
        shuffled = np.repeat(x[None], num_columns * _SHUFFLES, axis=0)
        for column in range(num_columns):
            for block in shuffled[column * _SHUFFLES : (column + 1) * _SHUFFLES]:
                block[:, column] = generator.permutation(block[:, column])
        guesses = forest.predict(np.concatenate([x, shuffled.reshape(-1, num_columns)]))
        losses = ((guesses.reshape(-1, len(y)) - y) ** 2).mean(axis=1) / variance
        errors.append(float(losses[0]))
        drops.append(losses[1:].reshape(num_columns, _SHUFFLES).mean(axis=1) - losses[0])
    return errors, drops


def _encode(axis: Axis, trials: Sequence[Trial]) -> Any:
    """Return an axis's column; a value that a trial does not have lies below all others."""
    places = [axis.place(trial.best_point.get(axis.name)) for trial in trials]
    column = np.array([np.nan if place is None else place for place in places], dtype=float)
    if axis.kind == "log":
        column = np.log(np.where(column > 0, column, np.nan))
    lowest = np.nanmin(column) if np.isfinite(column).any() else 0.0
    return np.where(np.isfinite(column), column, lowest - 1.0)
