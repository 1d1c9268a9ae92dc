"""A plain function: the Rosenbrock valley, and the same from Python.

raytune-yesno tune --task scripts/examples/plain_function.py:rosenbrock \
    --space scripts/examples/plain_function.yaml --metric value --mode min --trials 32
"""

from raytune_yesno import tune
from raytune_yesno.space import Float


def rosenbrock(config):
    x, y = config["x"], config["y"]
    return {"value": (1 - x) ** 2 + 100 * (y - x * x) ** 2, "distance": abs(x - 1) + abs(y - 1)}


if __name__ == "__main__":
    space = {"x": Float(-2.0, 2.0), "y": Float(-1.0, 3.0)}
    study = tune(rosenbrock, space, metric="value", mode="min", trials=32, search="bayesian")
    print(study)
