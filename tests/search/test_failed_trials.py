"""Failed trials, and trials without all of their costs, as information for a search."""

import math

import numpy as np
import pytest

from raytune_yesno.search import Observation, build_algorithm
from raytune_yesno.search.multi_objective import Limited
from raytune_yesno.space import Float

SPACE = {"x": Float(0, 1), "y": Float(0, 1)}


@pytest.mark.parametrize("name", ["auto", "bayesian", "tpe"])
def test_a_search_returns_from_a_region_in_which_all_trials_fail(name):
    """The loss falls towards a region in which no trial succeeds."""
    algorithm, history = build_algorithm(name, SPACE, seed=0), []
    for number in range(40):
        point = algorithm.suggest(number, history)
        if point["x"] < 0.4:
            history.append(Observation(number, point, None, 0, "failed"))
        else:
            loss = point["x"] + (point["y"] - 0.5) ** 2
            history.append(Observation(number, point, loss, 1, "done", (loss,)))
    early, late = history[:20], history[20:]
    assert any(seen.status == "failed" for seen in early)
    assert any(seen.status == "done" for seen in late)
    best = [min(seen.loss for seen in part if seen.loss is not None) for part in (early, late)]
    assert best[1] < best[0]


@pytest.mark.parametrize("name", ["bayesian", "tpe", "pso", "genetic"])
def test_a_trial_without_one_of_its_costs_counts_as_bad(name):
    """Its first cost is not on the scale of the losses that stand for the costs of the others."""

    def suggest(first_cost):
        algorithm, history = build_algorithm(name, SPACE, seed=1, several=True), []
        for number in range(16):
            point = algorithm.suggest(number, history)
            costs = (point["x"], 1 - point["x"] + point["y"])
            if number % 4 == 1:
                costs = (first_cost, math.inf)
            told = {"costs": costs, "excesses": (-1.0,)}
            history.append(Observation(number, point, costs[0], 1, "done", **told))
        return [seen.point for seen in history]

    assert suggest(-1000.0) == suggest(1000.0)


def test_the_nearest_point_to_limits_is_found_if_one_is_only_known_after_training():
    def excess(point):
        return (1 + point["x"], math.nan)

    limited = Limited(build_algorithm("random", SPACE, several=True), SPACE, 0, excess)
    assert limited.num_allowed(64) == 0
    drawn = [limited.cube.draw(0, number)["x"] for number in range(64)]
    assert limited.least_excess[0] == 1 + np.min(drawn)
