"""A generator: a linear classifier of handwritten digits, trained with ``partial_fit``.

raytune-yesno tune --task scripts/examples/sgd_partial_fit.py:objective --trials 16 --epochs 9
"""

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from raytune_yesno.metrics import Metric
from raytune_yesno.space import Choice, Float

X, y = load_digits(return_X_y=True)
X_train, X_valid, y_train, y_valid = train_test_split(X / 16, y, random_state=0)


def objective(config, checkpoint=None):
    model = checkpoint or SGDClassifier(
        alpha=config["alpha"], penalty=config["penalty"], random_state=config["seed"]
    )
    while True:  # the scheduler, or --epochs, ends it
        model.partial_fit(X_train, y_train, classes=range(10))
        accuracy = model.score(X_valid, y_valid)
        yield {"accuracy": accuracy, "train_accuracy": model.score(X_train, y_train)}, model


objective.metrics = (Metric("accuracy", mode="max", format="percent"),)
objective.space = {"alpha": Float(1e-6, 1.0, log=True), "penalty": Choice("l1", "l2")}
# A fitted model is no plain value. joblib.load runs code of the file, so you have to name it.
objective.save, objective.load = joblib.dump, joblib.load
