"""Gradient boosting with LightGBM: one report a round, so bad trials are stopped early.

pip install '.[boosting]'
raytune-yesno tune --task scripts/examples/boosting.py:objective --trials 16 --epochs 50
"""

import lightgbm
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from raytune_yesno.metrics import Metric
from raytune_yesno.space import Float, Int

X, y = load_breast_cancer(return_X_y=True)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, random_state=0)


def objective(config, checkpoint=None):
    names = ("learning_rate", "num_leaves", "lambda_l2", "seed")
    params = {"objective": "binary", "metric": ["binary_logloss", "binary_error"]}
    params |= {name: config[name] for name in names}
    params |= {"num_threads": 1, "deterministic": True, "verbosity": -1}
    model = lightgbm.Booster(model_str=checkpoint) if checkpoint else None
    while True:
        valid = {}
        train = lightgbm.Dataset(X_train, y_train)
        model = lightgbm.train(
            params,
            train,
            num_boost_round=1,
            init_model=model,
            valid_sets=[train.create_valid(X_valid, y_valid)],
            callbacks=[lightgbm.record_evaluation(valid)],
        )
        metrics = {name: values[-1] for name, values in valid["valid_0"].items()}
        # Text is a plain value: a trial is resumed from it, and no code of a file is run.
        yield metrics, model.model_to_string()


objective.metrics = (
    Metric("binary_logloss", label="loss"),
    Metric("binary_error", format="percent", label="error"),
)
objective.space = {
    "learning_rate": Float(0.01, 1.0, log=True),
    "num_leaves": Int(2, 64, log=True),
    "lambda_l2": Float(1e-3, 10.0, log=True),
}
