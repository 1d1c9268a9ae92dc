"""scikit-learn's digits with the spaces of Yang & Shami (2020), and their figures.

"On hyperparameter optimization of machine learning algorithms: theory and practice",
Neurocomputing 415: spaces of table 3, accuracies of tables 4 to 6. They call the data MNIST; the
code that they published loads scikit-learn's digits and takes the mean accuracy of three folds.
50 evaluations, 10 of k-NN, ten seeds.
"""

import functools
from typing import Any

from raytune_yesno.space import Choice, Float, Int, Point, Space

SPACES: dict[str, Space] = {
    "rf": {
        "n_estimators": Int(10, 100),
        "max_depth": Int(5, 50),
        "min_samples_split": Int(2, 11),
        "min_samples_leaf": Int(1, 11),
        "criterion": Choice("gini", "entropy"),
        "max_features": Int(1, 64),
    },
    "svm": {"C": Float(0.1, 50), "kernel": Choice("linear", "poly", "rbf", "sigmoid")},
    "knn": {"n_neighbors": Int(1, 20)},
}
NUM_EVALUATIONS = {"rf": 50, "svm": 50, "knn": 10}

# Accuracy in %, by the search of ours that is nearest to theirs.
PAPER = {
    "rf": {
        "random": 93.38,
        "bayesian": 93.38,
        "tpe": 93.88,
        "bohb": 93.38,
        "genetic": 93.83,
        "pso": 93.73,
    },
    "svm": {
        "random": 97.35,
        "bayesian": 97.50,
        "tpe": 97.44,
        "bohb": 97.44,
        "genetic": 97.44,
        "pso": 97.44,
    },
    "knn": {
        "random": 96.33,
        "bayesian": 96.83,
        "tpe": 96.83,
        "bohb": 97.44,
        "genetic": 96.83,
        "pso": 96.83,
    },
}


def measure_error(model: str, point: Point) -> float:
    """Return one minus the mean accuracy of three folds; the same for the same point."""
    return _measure(model, tuple(point.items()))


@functools.cache
def _measure(model: str, items: tuple[tuple[str, Any], ...]) -> float:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    given = dict(items)
    if model == "rf":
        classifier = RandomForestClassifier(random_state=0, **given)
    elif model == "svm":
        classifier = SVC(gamma="scale", **given)
    else:
        classifier = KNeighborsClassifier(**given)
    x_NF, y_N = _load_digits()
    return 1 - float(cross_val_score(classifier, x_NF, y_N, cv=3, scoring="accuracy").mean())


@functools.cache
def _load_digits() -> Any:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)
