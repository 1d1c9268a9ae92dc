"""Branches of a space, each of which gets early trials from the search ``auto``."""

from collections import Counter

import numpy as np

from raytune_yesno.search import History, Observation, build_algorithm
from raytune_yesno.search.branches import Branches
from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.multi_objective import Limited
from raytune_yesno.space import Choice, Float, List, build_space, check_point

SPACE = build_space(
    {
        "rate": Float(0, 1),
        "model": Choice(
            {
                "plain": {},
                "deep": {"width": Float(0, 1), "depth": Float(0, 1)},
                "kernel": {"shape": Choice({"flat": {}, "round": {"gamma": Float(0, 1)}})},
            }
        ),
        "layers": List(Float(0, 1), 1, 2),
        "constraints": ["shape != 'flat' or rate < 2"],
    }
)
FLAT, ROUND = (2, 0), (2, 1)  # of the kernel; its shape is not active in the others: -1


def test_a_branch_needs_trials_by_its_own_parameters():
    needed = Branches(UnitCube(SPACE), 0).needed
    assert needed == {(0, -1): 3, (1, -1): 9, FLAT: 3, ROUND: 6}


def test_a_branch_needs_no_more_trials_than_it_has_points():
    model = Choice({"one": {}, "two": {"bit": Choice(0, 1)}, "many": {"c": Float(0, 1)}})
    assert Branches(UnitCube(build_space({"model": model})), 0).needed == {
        (0,): 1,
        (1,): 2,
        (2,): 6,
    }


def test_branches_that_no_valid_point_has_need_nothing():
    space = build_space({**SPACE, "constraints": ["shape != 'flat'"]})
    assert FLAT not in Branches(UnitCube(space), 0).needed


def test_spaces_without_parameters_of_options_or_with_too_many_have_no_branches():
    flat = {"rate": Float(0, 1), "kind": Choice("a", "b"), "layers": List(Float(0, 1), 1, 2)}
    many = {"kind": Choice({f"k{n}": {"x": Float(0, 1)} for n in range(40)})}
    assert [Branches(UnitCube(build_space(each)), 0).needed for each in (flat, many)] == [{}, {}]


def test_candidates_move_to_a_branch_and_its_new_parameters_are_drawn():
    cube = UnitCube(SPACE)
    branches, generator = Branches(cube, 0), np.random.default_rng(0)
    u_CD = cube.snap(generator.random((200, cube.dim)))
    points = [cube.decode(row) for row in branches.move(u_CD, ROUND, generator)]
    assert {(point["model"], point["shape"]) for point in points} == {("kernel", "round")}
    assert len({point["gamma"] for point in points}) > 150
    assert [point["rate"] for point in points] == [cube.decode(row)["rate"] for row in u_CD]


def test_auto_tries_every_branch_although_one_is_best_from_the_beginning():
    algorithm, history = build_algorithm("auto", SPACE, seed=0), History()
    for number in range(24):
        point = algorithm.suggest(number, history)
        check_point(SPACE, point)
        bad = point["model"] != "deep"
        loss = bad + point.get("width", 0.0) + point["rate"]
        status = "failed" if point.get("shape") == "flat" else "done"  # counts as tried
        history.observe(Observation(number, point, loss, 1, status))
    cube = UnitCube(SPACE)
    branches = Branches(cube, 0)
    tried = Counter(branches.find(cube.encode(history)))
    assert all(tried[branch] >= min(needed, 3) for branch, needed in branches.needed.items())
    assert tried[1, -1] > 24 / 3


def test_a_branch_that_a_limit_excludes_leaves_the_others_their_trials():
    models = {name: {name * 2: Float(0, 1)} for name in "abcd"}
    space = build_space({"model": Choice(models)})
    limited = Limited(
        build_algorithm("auto", space, several=True, seed=1),
        space,
        1,
        lambda point: (1.0 if point["model"] == "c" else -1.0,),
    )
    history = History()
    for number in range(40):
        point = limited.suggest(number, history)
        model, x = point.values()
        loss = (x - 0.3) ** 2 + (model != "a")
        told = {"losses": (loss,), "excesses": (-1.0,)}
        history.observe(Observation(number, point, loss, 1, "done", **told))
    tried = Counter(seen.point["model"] for seen in history)
    assert tried["c"] == 0
    assert min(tried[model] for model in ("a", "b", "d")) >= 6
