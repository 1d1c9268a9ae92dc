"""Every search over spaces whose parameters depend on each other."""

import json
import math

import numpy as np
import pytest
from helpers.trees import trees
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_yesno.errors import InputError
from raytune_yesno.schedulers.pbt import explore
from raytune_yesno.search import ALGORITHMS, History, Observation, build_algorithm, build_searcher
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.gaussian import GaussianProcess
from raytune_yesno.space import (
    Choice,
    Float,
    Int,
    List,
    build_space,
    check_point,
    decode_point,
    encode_point,
)
from raytune_yesno.testing import check_search

SPACE = build_space(
    {
        "optimizer": Choice(
            {
                "adamw": {"beta": Float(0.8, 0.999)},
                "sgd": {
                    "momentum": Float(0.5, 0.99),
                    "schedule": Choice({"flat": {}, "cosine": {"warmup": Int(0, 5)}}),
                },
            }
        ),
        "learning_rate": Float(1e-4, 1.0, prior="lognormal", mean=1e-2),
        "channels": List(Int(8, 64, log=True), 1, 3),
        "dropout": Float(0, 0.5, step=0.1),
        "constraints": ["sum(channels) <= 120", "momentum + dropout <= 1.2"],
    }
)
SEARCHES = [name for name in ALGORITHMS if name not in ("manual", "grid")]


def loss_of(point):
    penalty = abs(point["momentum"] - 0.9) if point["optimizer"] == "sgd" else 1 + point["beta"]
    return penalty + abs(np.log10(point["learning_rate"]) + 2) / 3 + len(point["channels"]) / 9


@pytest.mark.parametrize("name", [*SEARCHES, "tpe:joint"])
def test_each_search_keeps_its_promises_in_a_conditional_space(name):
    name, _, model = name.partition(":")
    options = {"model": model} if model else {}
    if name in ("auto", "bayesian", "tpe"):
        options["num_initial"] = 3
    check_search(
        lambda seed: build_algorithm(name, SPACE, seed=seed, **options), SPACE, num_trials=9
    )


@pytest.mark.parametrize("name", SEARCHES)
def test_values_that_are_not_active_have_no_influence(name):
    algorithm, first = build_algorithm(name, SPACE, seed=1), build_algorithm("random", SPACE)
    generator = np.random.default_rng(0)
    seen, padded = [], []
    for number in range(24):
        point = first.suggest(number, seen)
        result = {"loss": loss_of(point), "epochs": 1, "status": "done"}
        seen.append(Observation(number, point, **result))
        junk = decode_point(SPACE, generator.random(len(SPACE.dimensions)))
        padded.append(Observation(number, {**junk, **point}, **result))
    assert build_algorithm(name, SPACE, seed=1).suggest(24, padded) == algorithm.suggest(24, seen)


@settings(max_examples=8)
@given(trees(), st.sampled_from(SEARCHES), st.integers(0, 99))
def test_each_search_proposes_valid_points_in_any_space(space, name, seed):
    algorithm = build_algorithm(name, space, seed=seed)
    history = History()
    for number in range(12):
        point = algorithm.suggest(number, history)
        check_point(space, point)
        loss = float(np.sum(encode_point(space, point)))
        point = json.loads(json.dumps(point))  # as it is read from a record
        history.observe(Observation(number, point, loss, 1, "done", (loss,)))


@settings(max_examples=15)
@given(trees(discrete=True))
def test_a_grid_has_each_active_combination_once(space):
    grid = build_algorithm("grid", space, levels=9)
    points = [grid.suggest(number, []) for number in range(min(grid.num_points, 200))]
    for point in points:
        check_point(space, point)
    rows = {tuple(encode_point(space, point)) for point in points}
    assert len(rows) == len(points)
    cube = UnitCube(space)
    if math.prod(domain.num_values for domain in cube.free.values()) <= 500:
        assert len(list(cube.list_rows())) == grid.num_points
    assert grid.suggest(grid.num_points, []) is None


@pytest.mark.parametrize("name", SEARCHES)
def test_a_space_may_have_more_combinations_than_a_float_can_count(name):
    space = {"sizes": List(Int(1, 2**40), 1, 64), "x": Float(0, 1)}
    algorithm, history = build_algorithm(name, space, seed=1), History()
    for number in range(10):
        point = algorithm.suggest(number, history)
        check_point(space, point)
        history.observe(Observation(number, point, point["x"], 1, "done", (point["x"],)))


def test_a_grid_leaves_out_what_a_constraint_forbids():
    space = {"a": Int(1, 3), "b": Int(1, 3), "constraints": ["a <= b"]}
    grid = build_algorithm("grid", space)
    points = [grid.suggest(number, []) for number in range(grid.num_points)]
    assert points == [{"a": a, "b": b} for a in (1, 2, 3) for b in (1, 2, 3) if a <= b]
    with pytest.raises(InputError, match="no combination"):
        build_algorithm("grid", {**space, "constraints": ["a > b + 3"]})
    with pytest.raises(InputError, match="constraints"):
        build_algorithm("random", {**space, "constraints": ["a > b + 3"]}).suggest(0, [])


def test_rows_of_a_conditional_dimension_differ_by_a_constant_where_one_is_inactive():
    cube = UnitCube(
        build_space({"o": Choice({"a": {}, "s": {"x": Float(0, 1), "c": Choice(1, 2)}})})
    )
    process = GaussianProcess(cube.is_choice_D, sorted(cube.conditions), cube.find_active)
    rows = cube.snap(np.random.default_rng(0).random((40, 3)))
    square = process._squares(rows, rows)
    active = cube.find_active(rows)[:, 1]
    for dim in (1, 2):
        assert np.all(square[dim][np.ix_(~active, ~active)] == 0)
        assert np.ptp(square[dim][np.ix_(active, ~active)]) == pytest.approx(0)
        # The distances are those of points in a Euclidean space, so kernels of them are valid.
        centred = square[dim] - square[dim].mean(0) - square[dim].mean(0)[:, None]
        assert np.linalg.eigvalsh(-(centred + square[dim].mean())).min() > -1e-9


@pytest.mark.parametrize("name", ["auto", "tpe"])
def test_a_known_point_brings_its_option(name):
    searcher = build_searcher(name, SPACE, known_points=[{"warmup": 3}, {"channels": [8, 8]}])
    first, second = searcher.suggest("a"), searcher.suggest("b")
    check_point(SPACE, first)
    assert (first["optimizer"], first["schedule"], first["warmup"]) == ("sgd", "cosine", 3)
    assert second["channels"] == (8, 8)


def test_pbt_changes_active_values_and_keeps_the_structure():
    point = {
        "optimizer": "sgd",
        "momentum": 0.9,
        "schedule": "flat",
        "learning_rate": 0.01,
        "channels": [16, 32],
        "dropout": 0.1,
    }
    explored = [
        explore(SPACE, point, build_numpy_generator(seed), resample_probability=0.5, step=0.2)
        for seed in range(20)
    ]
    for each in explored:
        check_point(SPACE, each)
        assert (each["optimizer"], each["schedule"], len(each["channels"])) == ("sgd", "flat", 2)
    assert len({each["momentum"] for each in explored}) > 3
    assert len({tuple(each["channels"]) for each in explored}) > 3
