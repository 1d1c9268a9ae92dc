"""The contract of searches for several objectives and limits, without Ray."""

import math

import numpy as np
import pytest

from raytune_yesno import pareto
from raytune_yesno.errors import InputError
from raytune_yesno.search import ALGORITHMS, History, Observation, build_algorithm
from raytune_yesno.search.auto import Auto
from raytune_yesno.search.hypervolume_improvement import build_boxes, score_hypervolume
from raytune_yesno.search.multi_objective import Limited, LimitedGrid, order_losses, order_results
from raytune_yesno.space import Choice, Float, Int, build_space, check_point

SPACE = {"x": Float(0, 1), "y": Float(0, 1), "kind": Choice("a", "b"), "layers": Int(1, 4)}
LEARNING = ("auto", "tpe", "bayesian", "pso", "genetic", "genetic:nsga3")
REFERENCE = (2.5, 2.5)


def costs_of(point):
    """Return two costs whose front has y = 0, kind a and one layer, for any x."""
    away = point["y"] + 0.5 * (point["kind"] == "b") + 0.2 * (point["layers"] - 1)
    return point["x"] + away, 1 - point["x"] + away


def build(name, seed, space=SPACE):
    """Build a search for several objectives; ``NAME:SELECTION`` sets its selection."""
    name, _, selection = name.partition(":")
    options = {"selection": selection} if selection else {}
    return build_algorithm(name, space, seed=seed, several=True, **options)


def run(name, num, seed=0, in_flight=1, limit=None):
    """Run ``num`` trials, ``in_flight`` at a time, and return them."""
    algorithm = build(name, seed)
    history = []
    for number in range(num):
        point = algorithm.suggest(number, history)
        check_point(SPACE, point)
        history.append(Observation(number, point))
        ready = number - in_flight + 1
        if ready >= 0:
            point = history[ready].point
            costs = costs_of(point)
            excesses = () if limit is None else (limit(point),)
            failed = ready % 7 == 3
            history[ready] = Observation(
                ready,
                point,
                None if failed else costs[0],
                epochs=0 if failed else 1,
                status="failed" if failed else "done",
                costs=() if failed else costs,
                excesses=() if failed else excesses,
            )
    return history


def volume(history):
    return pareto.hypervolume([seen.costs for seen in history if seen.costs], REFERENCE)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in LEARNING if name != "genetic:nsga3"])
def test_learning_searches_find_a_larger_front_than_random_search(name):
    num, seeds = (90, range(6)) if name == "genetic" else (30, range(2))  # it needs generations
    ours = [volume(run(name, num, seed)) for seed in seeds]
    random = [volume(run("random", num, seed)) for seed in range(6)]
    assert np.mean(ours) > np.mean(random)


@pytest.mark.parametrize("name", ["random", *LEARNING])
def test_points_depend_on_the_records_alone_and_trials_run_in_parallel(name):
    history = run(name, 20, in_flight=4)
    fresh = build(name, 0)
    known = [
        seen if seen.number <= 15 else Observation(seen.number, seen.point) for seen in history[:19]
    ]
    assert fresh.suggest(19, known) == history[19].point


@pytest.mark.parametrize("name", LEARNING)
def test_a_limit_that_is_known_after_training_is_learnt(name):
    history = run(name, 40, limit=lambda point: 0.6 - point["x"])  # x >= 0.6
    late = [seen for seen in history[20:] if seen.costs]
    early = [seen for seen in history[:8] if seen.costs]
    share = [np.mean([seen.is_feasible for seen in part]) for part in (early, late)]
    assert share[1] >= max(share[0], 0.5)


@pytest.mark.parametrize("name", ["random", "auto", "tpe", "pso", "genetic", "genetic:nsga3"])
def test_a_limit_that_is_known_before_costs_no_trial(name):
    def excess(point):
        return (point["x"] + point["y"] - 0.3, math.nan)  # a twentieth of the space

    algorithm = build(name, 3)
    limited = Limited(algorithm, SPACE, 3, excess)
    history = []
    for number in range(20):
        point = limited.suggest(number, history)
        assert point["x"] + point["y"] <= 0.3
        costs = costs_of(point)
        told = {"costs": costs, "excesses": (excess(point)[0], -1.0)}
        history.append(Observation(number, point, costs[0], 1, "done", **told))
    again = Limited(build(name, 3), SPACE, 3, excess)
    assert again.suggest(19, history[:19]) == history[19].point


def test_nsga3_finds_a_larger_front_of_three_objectives_than_random_search():
    space = {name: Float(0, 1) for name in ("x", "y", "a", "b", "c", "d")}

    def measure(name, seed):
        algorithm, history = build(name, seed, space), []
        for number in range(40):
            point = algorithm.suggest(number, history)
            away = sum(point[key] for key in "abcd")
            low, high = sorted((point["x"], point["y"]))
            costs = (low + away, high - low + away, 1 - high + away)
            history.append(Observation(number, point, costs[0], 1, "done", costs=costs))
        return pareto.hypervolume([seen.costs for seen in history], (3, 3, 3))

    ours, random = (
        np.mean([measure(name, seed) for seed in range(5)]) for name in ("genetic:nsga3", "random")
    )
    assert ours > random


def test_an_unknown_selection_is_refused():
    with pytest.raises(InputError, match="nsga3"):
        build_algorithm("genetic", SPACE, several=True, selection="nsga4")


def test_a_grid_keeps_only_the_points_within_its_limits():
    grid = build_algorithm("grid", {"layers": Int(1, 4)}, several=True)
    limited = LimitedGrid(grid, {"layers": Int(1, 4)}, 0, lambda point: (point["layers"] - 2.5,))
    points = [limited.suggest(number, []) for number in range(3)]
    assert points == [{"layers": 1}, {"layers": 2}, None]


def test_a_grid_checks_no_more_points_than_are_needed():
    space = {"layers": Int(1, 10**6), "units": Int(1, 10**6)}
    checked = []

    def exceed(point):
        checked.append(point)
        return (point["units"] % 2 - 0.5,)

    limited = LimitedGrid(build_algorithm("grid", space, levels=100), space, 0, exceed)
    points = [limited.suggest(number, []) for number in (2, 0)]
    assert all(point and point["units"] % 2 == 0 for point in points)
    assert len(checked) < 20


def test_all_points_within_narrow_limits_are_found_once():
    space = {"x": Int(0, 199)}
    limited = Limited(
        build_algorithm("random", space, seed=0),
        space,
        0,
        lambda point: (abs(point["x"] - 90) - 4,),
    )
    history = []
    for number in range(9):
        history.append(Observation(number, limited.suggest(number, history), 0.0, 1, "done"))
    assert sorted(seen.point["x"] for seen in history) == list(range(86, 95))
    assert limited.suggest(9, history) is not None  # all are tried: one of them again


def test_a_trial_that_diverged_is_no_parent():
    history = [
        Observation(number, {"x": 0.1 * number}, 1.0, 1, "done", costs=(1.0, 1.0))
        for number in range(4)
    ]
    history[2] = Observation(2, {"x": 0.2}, 0.1, 2, "diverged", costs=(0.1, 0.1))
    assert order_results(history)[2] == max(order_results(history))


def test_no_point_within_the_limits_ends_the_search():
    algorithm = build_algorithm("random", SPACE, several=True)
    limited = Limited(algorithm, SPACE, 0, lambda point: (1.0,))
    assert limited.suggest(0, []) is None


@pytest.mark.parametrize("name", [name for name, e in ALGORITHMS.items() if e.one_only])
def test_searches_for_one_point_are_refused_with_the_reason(name):
    with pytest.raises(InputError, match="one objective"):
        build_algorithm(name, SPACE, several=True)


def test_every_search_is_decided():
    assert all(bool(entry.several) != bool(entry.one_only) for entry in ALGORITHMS.values())


def test_feasible_trials_precede_the_others():
    known = [
        Observation(0, {}, 1.0, costs=(1, 1), excesses=(0.2,)),
        Observation(1, {}, 5.0, costs=(5, 5), excesses=(0.0,)),
        Observation(2, {}, 0.0, costs=(0, 0), excesses=(0.1,)),
    ]
    assert order_losses(known, 0) == [2.0, 0.0, 1.0]


@pytest.mark.parametrize("num", [1, 2, 3])
def test_expected_hypervolume_improvement_is_that_of_samples(num):
    generator = np.random.default_rng(num)
    front = generator.random((6, num))
    front = front[pareto.find_front(front.tolist())]
    mean, std = generator.random((3, num)), np.full((3, num), 0.3)
    reference = np.ones(num)
    score = np.exp(score_hypervolume(mean, std, front, reference))
    before = pareto.hypervolume(front.tolist(), reference)
    for candidate in range(3):
        draws = mean[candidate] + 0.3 * generator.standard_normal((1500, num))
        gains = [pareto.hypervolume([*front.tolist(), y], reference) - before for y in draws]
        error = np.std(gains) / math.sqrt(len(gains))
        assert score[candidate] == pytest.approx(np.mean(gains), abs=4 * error)


def test_boxes_are_what_the_front_does_not_dominate():
    front, reference = [(0.2, 0.7, 0.5), (0.6, 0.1, 0.4), (0.3, 0.3, 0.8)], (1.0, 1.0, 1.0)
    boxes = build_boxes(front, reference)
    for y in np.random.default_rng(0).random((200, 3)):
        inside = sum(
            all(low <= c < high for c, low, high in zip(y, *box, strict=True)) for box in boxes
        )
        assert inside == (not any(pareto.weakly_dominates(v, y) for v in front))


def record_costs(search, costs, count=40):
    """Return the records of trials whose costs are a function of the number and the point."""
    history = History()
    for number in range(count):
        point = search.suggest(number, history)
        vector = costs(number, point)
        history.observe(Observation(number, point, vector[0], 1, "done", costs=vector))
    return history


def test_auto_extends_a_front_beyond_its_ends():
    space = build_space({"x": Float(0, 1)})
    history = History()
    for number in range(10):
        x = 0.03 * number
        costs = (1 - x, x)
        history.observe(Observation(number, {"x": x}, costs[0], 1, "done", costs=costs))
    search = Auto(space, seed=3)
    assert max(search.suggest(number, history)["x"] for number in range(10, 14)) > 0.4


def test_auto_with_a_limit_and_one_objective_prefers_good_points_to_unknown_ones():
    space = build_space({"x": Float(0, 1)})
    history = History()
    for number, x in enumerate((0.0, 0.1, 0.2, 0.3, 0.4, 0.47, 0.55, 0.6, 0.7)):
        loss = (x - 0.5) ** 2
        history.observe(Observation(number, {"x": x}, loss, 1, "done", excesses=(-1.0,)))
    search = Auto(space, seed=3)
    for number in range(9, 13):
        assert search.suggest(number, history)["x"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_auto_leaves_every_second_point_to_the_order_if_the_results_are_noisy(noise):
    space = build_space({"x": Float(0, 1), "y": Float(0, 1)})
    generator = np.random.default_rng(1)
    luck = generator.random(42).tolist()

    def costs(number, point):
        error = (1 - noise) * (1 - point["x"]) ** 2 + noise * luck[number]
        return error, point["x"] + point["y"]

    history = record_costs(Auto(space, seed=3), costs)
    search = Auto(space, seed=3)
    by_order = [search.by_order.suggest(number, history) for number in (40, 41)]
    points = [search.suggest(number, history) for number in (40, 41)]
    same = [point == ordered for point, ordered in zip(points, by_order, strict=True)]
    assert same == [False, noise > 0]


def test_branches_that_are_due_precede_the_order():
    space = build_space({"model": Choice({name: {f"x_{name}": Float(0, 1)} for name in "abc"})})
    luck = np.random.default_rng(2).random((24, 2)).tolist()
    history = History()
    for number in range(24):
        point = {"model": "a", "x_a": number / 24}
        costs = tuple(luck[number])
        history.observe(Observation(number, point, costs[0], 1, "done", costs=costs))
    search = Auto(space, seed=3)
    assert search.branches.find_due(history) is not None
    assert search.suggest(25, history)["model"] != "a"
