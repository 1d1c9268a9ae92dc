"""The contract that all search algorithms share, without Ray; then tests of each one."""

import dataclasses
import functools
import importlib.util
import itertools
import json
import math
import os
import pickle
import random
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.errors import InputError
from raytune_yesno.search import ALGORITHMS, History, Observation, build_algorithm
from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.gaussian import GaussianProcess
from raytune_yesno.search.parzen import Parzen
from raytune_yesno.space import Choice, Float, Int, List, build_space, check_point, parse_space

SPACE = build_space(
    {
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "dropout": Float(0, 0.5),
        "layers": Int(1, 4),
        "units": Int(8, 256, log=True),
        "activation": Choice("relu", "tanh", "gelu"),
        "channels": Choice([16, 32], [32, 64]),
        "nesterov": Choice(True, False),
        "momentum": Float(0.9, 0.9),
        "epochs": 20,
    }
)
NUM = 24  # enough for every model to be in use
LIBRARY = {"genetic": "optuna", "cmaes": "cmaes"}
FINITE = ("manual", "grid")
AVOIDING = ("auto", "bayesian", "tpe")
"""Searches that learn where trials fail."""
LEARNING = tuple(name for name in ALGORITHMS if name not in (*FINITE, "random"))


def build(name, space=SPACE, seed=0, **options):
    if name in LIBRARY and importlib.util.find_spec(LIBRARY[name]) is None:
        pytest.skip(f"{LIBRARY[name]} is not installed")
    if name == "manual":
        source = build_algorithm("random", space, seed=99)
        options.setdefault("points", [source.suggest(number, []) for number in range(200)])
    return build_algorithm(name, space, seed=seed, **options)


def loss_of(point):
    """Return the loss of a point: a smooth bowl with its minimum, 0, away from the centre."""
    return (
        (math.log10(point["learning_rate"]) + 1.8) ** 2
        + 8 * (point["dropout"] - 0.1) ** 2
        + 0.2 * (point["layers"] - 4) ** 2
        + 0.1 * math.log2(point["units"] / 24) ** 2
        + 0.5 * (point["activation"] != "tanh")
        + 0.3 * (tuple(point["channels"]) != (32, 64))
        + 0.1 * point["nesterov"]
    )


def ended(number, point, loss=None, status="done"):
    loss = loss_of(point) if loss is None and status != "failed" else loss
    epochs = (1, 3, 9)[number % 3]
    falling = [0.0 if loss is None else loss * (1.2 - k / 50) for k in range(epochs - 1)]
    losses = () if loss is None else (*falling, loss)
    return Observation(number, point, loss, epochs, status, losses)


def ask(algorithm, history, numbers, in_flight=1):
    """Run trials, ``in_flight`` at a time, and return their points.

    The results are added to ``history``. Every fifth trial takes twice as long as the others.
    """
    points = []
    running = [seen for seen in history if seen.status == "running"]
    for number in numbers:
        point = algorithm.suggest(number, history)
        points.append(point)
        running.append(Observation(number, point))
        history.observe(running[-1])
        if len(running) >= in_flight:
            slow = len(running) > 1 and running[0].number % 5 == 2
            seen = running.pop(1 if slow else 0)
            history.observe(ended(seen.number, seen.point))
    return points


@functools.cache
def tried(name, in_flight=1):
    """Return a search that has proposed `NUM` points, these points, and their history."""
    algorithm, history = build(name), History()
    points = ask(algorithm, history, range(NUM), in_flight)
    return algorithm, points, history


def types_of(value):
    return (type(value), *map(types_of, value)) if isinstance(value, tuple) else type(value)


@pytest.fixture(scope="module")
def elsewhere():
    """Return the points of all algorithms from another process with another hash seed."""
    code = (
        "import json, tests.search.test_search as t\n"
        "names = [n for n in t.ALGORITHMS\n"
        "         if n not in t.LIBRARY or t.importlib.util.find_spec(t.LIBRARY[n])]\n"
        "print(json.dumps({n: t.ask(t.build(n), t.History(), range(t.NUM), 4) for n in names}))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ALGORITHMS)
class TestContract:
    def test_points_are_complete_inside_and_of_native_types(self, name):
        expected = {k: types_of(domain.decode(0.5)) for k, domain in SPACE.items()}
        for point in tried(name)[1]:
            check_point(SPACE, point)
            assert {k: types_of(value) for k, value in point.items()} == expected
            assert list(point) == list(SPACE)

    @pytest.mark.parametrize(
        "space",
        [
            {"a": Float(1, 1), "b": Int(2, 2), "c": Choice("x"), "d": 4},
            {"a": Float(1, 1), "k": Int(1, 2)},
            {"a": Choice("x", "y"), "b": Choice(1, 2, 3)},
            {"a": Float(1e-9, 1e9, log=True)},
            {"k": Int(1, 10**6), "l": Int(1, 10**6, log=True)},
        ],
        ids=["constant", "one int", "choices", "one float", "wide ints"],
    )
    def test_narrow_and_wide_spaces(self, name, space):
        space = build_space(space)
        history = History()
        algorithm = build(name, space)
        for number in range(NUM):
            point = algorithm.suggest(number, history)
            if point is None:
                assert name == "grid"
                assert number == algorithm.num_points
                break
            check_point(space, point)
            history.observe(Observation(number, point, number * 0.37 % 1, 1, "done"))

    @pytest.mark.long
    def test_another_process_gives_equal_points(self, name, elsewhere):
        assert json.loads(json.dumps(tried(name, 4)[1])) == elsewhere[name]

    def test_another_seed_gives_other_points(self, name):
        other = ask(build(name, seed=2), History(), range(NUM), in_flight=4)
        assert (tried(name, 4)[1] == other) == (name in FINITE)

    def test_it_continues_identically_if_pickled_or_rebuilt_from_records(self, name):
        algorithm, history = build(name), History()
        ask(algorithm, history, range(NUM // 2), in_flight=4)
        pickled, its_history = pickle.loads(pickle.dumps((algorithm, history)))
        records = json.loads(json.dumps([dataclasses.asdict(seen) for seen in history]))
        rebuilt = build(name, parse_and_format(SPACE))
        rebuilt_history = History(Observation(**record) for record in records)
        rest = range(NUM // 2, NUM)
        expected = tried(name, 4)[1][NUM // 2 :]
        assert ask(pickled, its_history, rest, in_flight=4) == expected
        assert ask(rebuilt, rebuilt_history, rest, in_flight=4) == expected

    def test_a_point_depends_only_on_number_and_history(self, name):
        used, _, history = tried(name)
        prefix = history[: NUM - 5]
        # The same numbers with other results.
        other = [dataclasses.replace(seen, loss=1 / (1 + seen.loss), losses=()) for seen in history]
        moved = [
            dataclasses.replace(seen, point=history[-1 - seen.number].point) for seen in history
        ]
        for number, known in ((NUM + 7, prefix), (NUM - 5, prefix), (NUM, other), (NUM, moved)):
            assert used.suggest(number, known) == build(name).suggest(number, known)

    def test_only_finite_searches_are_exhausted(self, name):
        algorithm = build(name, levels=2) if name == "grid" else build(name)
        total = algorithm.num_points if name in FINITE else NUM
        assert all(algorithm.suggest(number, []) is not None for number in range(total))
        assert (algorithm.suggest(total, []) is None) == (name in FINITE)

    @pytest.mark.parametrize("status", ["failed", "diverged", "running"])
    def test_it_continues_if_all_trials_fail(self, name, status):
        algorithm, history = build(name), History()
        for number in range(NUM):
            point = algorithm.suggest(number, history)
            check_point(SPACE, point)
            history.observe(Observation(number, point, math.nan, 0, status))
        assert len({repr(seen.point) for seen in history}) > NUM * 0.9

    def test_unusual_results_in_any_order_are_accepted(self, name):
        algorithm, history = build(name), History()
        generator = random.Random(0)
        kinds = itertools.cycle(
            [
                (None, "done"),
                (math.nan, "diverged"),
                (None, "stopped"),
                (math.inf, "done"),
                (None, "failed"),
                (-math.inf, "done"),
                (1e300, "done"),
                (None, "diverged"),
            ]
        )
        running = []
        for number in range(2 * NUM):
            point = algorithm.suggest(number, history)
            check_point(SPACE, point)
            history.observe(Observation(number, point))
            running.append((number, point))
            if len(running) == 8:
                number, point = running.pop(generator.randrange(8))
                history.observe(ended(number, point, *next(kinds)))

    def test_diverged_trials_count_as_the_worst_and_failed_ones_leave_no_gaps(self, name):
        _, _, history = tried(name)
        worst = max(seen.loss for seen in history)
        bad = {number: history[number].point for number in (11, 17, 23)}
        # Failed trials leave gaps in the numbers, which must have no influence.
        told_worst = History(history)
        diverged = History(history)
        failed = History(history)
        for number, point in bad.items():
            seen = history.find(number)
            flat = dataclasses.replace(seen, loss=worst, losses=(worst,) * seen.epochs)
            told_worst.observe(flat)
            nan = (math.nan,) * seen.epochs
            diverged.observe(dataclasses.replace(seen, loss=None, losses=nan, status="diverged"))
            failed.observe(Observation(number, point, None, 0, "failed"))
        absent = History(seen for seen in history if seen.number not in bad)
        for number in range(NUM, NUM + 3):
            if name not in AVOIDING:
                assert build(name).suggest(number, failed) == build(name).suggest(number, absent)
            if name != "bohb":  # it uses the worst loss at one budget
                expected = build(name).suggest(number, told_worst)
                assert build(name).suggest(number, diverged) == expected

    def test_32_suggestions_without_a_result(self, name):
        algorithm, history = build(name), History()
        ask(algorithm, history, range(12))
        points = ask(algorithm, history, range(12, 44), in_flight=100)
        assert sum(seen.status == "running" for seen in history) == 32
        for point in points:
            check_point(SPACE, point)
        assert len({repr(point) for point in points}) >= 30


def parse_and_format(space):
    from raytune_yesno.space import format_space

    return parse_space(json.loads(json.dumps(format_space(space))))


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in FINITE])
def test_no_point_is_tried_twice_while_others_remain(name):
    space = build_space({"k": Int(1, 4), "c": Choice(*"abc"), "l": Int(1, 3, log=True)})
    algorithm, history = build(name, space), History()
    for number in range(40):
        point = algorithm.suggest(number, history)
        check_point(space, point)
        history.observe(Observation(number, point, point["k"] + point["l"] / 10, 1, "done"))
    points = [tuple(seen.point.values()) for seen in history]
    assert len(set(points[:36])) == 36


@pytest.mark.parametrize("name", LEARNING)
def test_points_of_other_studies_are_results_and_may_be_tried(name):
    space = build_space({"k": Int(0, 5), "m": Int(0, 3)})
    known = [
        Observation(number, {"k": k, "m": m}, loss, 1, "done", (loss,), elsewhere=True)
        for number, (k, m) in enumerate(itertools.product(range(6), range(4)))
        for loss in [float(abs(k - 2) + abs(m - 1))]
    ]
    history, algorithm = History(known), build(name, space)
    for number in range(24, 48):
        point = algorithm.suggest(number, history)
        assert point not in [seen.point for seen in history][24:]
        loss = float(abs(point["k"] - 2) + abs(point["m"] - 1))
        history.observe(Observation(number, point, loss, 1, "done", (loss,)))
    if name == "auto":
        assert {"k": 2, "m": 1} in [seen.point for seen in history][24:28]


@pytest.mark.long
@pytest.mark.parametrize("name", LEARNING)
def test_models_beat_random_search(name):
    """The median over seeds of the best of 50 losses is at most half that of random search."""

    def median_best(name, num_seeds):
        histories = [History() for _ in range(num_seeds)]
        for seed, history in enumerate(histories):
            ask(build(name, seed=seed), history, range(50))
        return statistics.median(min(seen.loss for seen in history) for history in histories)

    assert median_best(
        name, {"bayesian": 3, "auto": 5, "tpe": 5}.get(name, 15)
    ) < 0.5 * median_best("random", 15)


class TestGrid:
    def test_its_points_are_the_product(self):
        space = {"x": Float(0, 1), "k": Int(1, 2), "c": Choice("a", (1, 2)), "one": 3}
        grid = build_algorithm("grid", space, levels=3)
        expected = [
            {"x": x, "k": k, "c": c, "one": 3}
            for x, k, c in itertools.product([0, 0.5, 1], [1, 2], ["a", (1, 2)])
        ]
        assert grid.num_points == 12
        assert [grid.suggest(number, []) for number in range(13)] == [*expected, None]

    def test_a_huge_grid_is_counted_without_being_built(self):
        space = {f"x{i}": Float(0, 1) for i in range(30)}
        grid = build_algorithm("grid", space, levels=10)
        assert grid.num_points == 10**30
        assert grid.suggest(10**30 - 1, []) == dict.fromkeys(space, 1)

    def test_lists_are_by_length_and_the_last_value_changes_fastest(self):
        space = {"c": List(Choice("a", "b", "c"), 0, 3), "k": Int(1, 2)}
        grid = build_algorithm("grid", space)
        lists = [c for length in range(4) for c in itertools.product("abc", repeat=length)]
        expected = [{"c": c, "k": k} for c in lists for k in (1, 2)]
        assert [grid.suggest(number, []) for number in range(81)] == [*expected, None]

    def test_a_huge_grid_of_lists_is_counted_without_being_built(self):
        branch = {"sizes": List(Float(0, 1), 1, 64)}
        grid = build_algorithm("grid", {"net": Choice({"deep": branch, "flat": {}})}, levels=5)
        assert grid.num_points == sum(5**length for length in range(1, 65)) + 1
        assert grid.suggest(5, []) == {"net": "deep", "sizes": (0, 0)}
        last = [grid.suggest(grid.num_points - back, []) for back in (2, 1)]
        assert last == [{"net": "deep", "sizes": (1,) * 64}, {"net": "flat"}]


class TestManual:
    def test_its_points_are_those_given_and_may_be_partial(self):
        points = [{"layers": 2, "dropout": 0}, {"activation": "tanh"}]
        manual = build("manual", points=points)
        assert [manual.suggest(number, []) for number in range(3)] == [*points, None]

    def test_an_invalid_point_is_reported_by_number_and_key(self):
        with pytest.raises(InputError, match="point 1: layers: 9"):
            build("manual", points=[{"layers": 2}, {"layers": 9}])
        with pytest.raises(InputError, match="point 0: 'layer'"):
            build("manual", points=[{"layer": 2}])
        with pytest.raises(InputError, match="points"):
            build_algorithm("manual", SPACE)


class TestBayesian:
    def test_running_trials_are_never_proposed_again(self):
        """Of 48 points, none is proposed again, whether its trial runs or has ended."""
        space = build_space({"k": Int(1, 4), "c": Choice(*"abc"), "l": Int(1, 4, log=True)})
        history = History()
        algorithm = build("bayesian", space)
        for number in range(8):
            point = algorithm.suggest(number, history)
            history.observe(Observation(number, point, point["k"] + number / 100, 1, "done"))
        model = build("bayesian", space, num_initial=4)
        for number in range(8, 40):
            history.observe(Observation(number, model.suggest(number, history)))
        points = [tuple(seen.point.values()) for seen in history]
        assert len(set(points)) == 40

    def test_suggestions_keep_away_from_running_trials(self):
        """With one minimum, independent suggestions would all be close to it."""
        space = build_space({"x": Float(0, 1), "y": Float(0, 1)})
        history = History()
        algorithm = build("bayesian", space)
        for number in range(14):
            point = algorithm.suggest(number, history)
            loss = (point["x"] - 0.3) ** 2 + (point["y"] - 0.6) ** 2
            history.observe(Observation(number, point, loss, 1, "done"))
        points = ask(algorithm, history, range(14, 20), in_flight=100)
        pairs = itertools.combinations([tuple(point.values()) for point in points], 2)
        assert min(math.dist(*pair) for pair in pairs) > 0.02

    @pytest.mark.long
    @pytest.mark.parametrize("acquisition", ["ei", "poi", "ucb"])
    def test_each_acquisition_function_finds_the_minimum(self, acquisition):
        history = History()
        ask(build("bayesian", acquisition=acquisition), history, range(25))
        assert min(seen.loss for seen in history) < 0.3

    def test_acquisition_functions_differ_and_are_checked(self):
        history = History()
        ask(build("random"), history, range(20))
        points = [
            build("bayesian", acquisition=name).suggest(20, history) for name in ("ei", "ucb")
        ]
        assert points[0] != points[1]
        with pytest.raises(InputError, match=r"acquisition 'eii'.*'ei'"):
            build("bayesian", acquisition="eii")

    def test_a_long_history_is_modelled_in_part(self):
        """Results that are neither recent nor good have no influence."""
        history = History()
        ask(build("random"), history, range(60))
        ranked = sorted(history, key=lambda seen: seen.loss)
        old_and_bad = next(seen for seen in history if seen in ranked[30:])
        changed = History(history)
        changed.observe(dataclasses.replace(old_and_bad, point=ranked[-1].point))
        short = {"max_results": 20, "max_fitted": 20}
        assert build("bayesian", **short).suggest(60, history) == build(
            "bayesian", **short
        ).suggest(60, changed)
        assert build("bayesian").suggest(60, history) != build("bayesian").suggest(60, changed)


class TestPSO:
    def test_a_particle_moves_from_its_last_position_and_its_best(self):
        space = build_space({"x": Float(0, 1), "y": Float(0, 1)})
        history = History()
        swarm = build("pso", space, num_particles=4)
        for number in range(8):
            point = swarm.suggest(number, history)
            loss = 0.0 if number == 7 else 1.0 + number  # the last is the swarm's best
            history.observe(Observation(number, point, loss, 1, "done"))
        before = swarm.suggest(8, history)

        def after(number, **changes):
            changed = History(history)
            changed.observe(dataclasses.replace(history.find(number), **changes))
            return swarm.suggest(8, changed)

        elsewhere = {"x": 0.123, "y": 0.456}
        assert after(5, point=elsewhere) == before  # another particle's
        assert after(4, point=elsewhere) != before  # its own last
        assert after(7, point=elsewhere) != before  # the swarm's best
        assert after(5, status="running") == before
        assert after(4, status="failed") != before

    def test_a_particle_whose_trial_is_running_does_not_repeat_itself(self):
        """This holds for the best particle, too, which all attraction leaves in place."""
        space = build_space({"x": Float(0, 1), "y": Float(0, 1)})
        history = History(
            Observation(number, {"x": 0.5, "y": 0.5}, 0.0, 1, "done") for number in range(16)
        )
        swarm = build("pso", space)
        points = ask(swarm, history, range(16, 48), in_flight=100)
        assert len({repr(point) for point in points[8:]}) == 24

    def test_the_swarm_contracts_to_the_minimum(self):
        space = build_space({"x": Float(0, 1), "y": Float(0, 1)})
        history = History()
        swarm = build("pso", space, num_particles=5)
        for number in range(150):
            point = swarm.suggest(number, history)
            loss = (point["x"] - 0.7) ** 2 + (point["y"] - 0.2) ** 2
            history.observe(Observation(number, point, loss, 1, "done"))
        late = [seen for seen in history[-15:] if seen.number % 5 >= 2]  # the others explore
        assert statistics.median(abs(seen.point["x"] - 0.7) for seen in late) < 0.03
        assert statistics.median(abs(seen.point["y"] - 0.2) for seen in late) < 0.03


class TestCMAES:
    def test_it_contracts_to_the_minimum_and_explores_then(self):
        space = build_space({"x": Float(0, 1), "y": Float(0, 1)})
        algorithm, history = build("cmaes", space), History()
        for number in range(500):
            point = algorithm.suggest(number, history)
            loss = (point["x"] - 0.3) ** 2 + (point["y"] - 0.2) ** 2
            history.observe(Observation(number, point, loss, 1, "done"))
        away = [abs(seen.point["x"] - 0.3) for seen in history]
        late = range(400, 500)
        assert statistics.median(away[number] for number in late if number % 3) < 1e-2
        assert max(away[number] for number in late if number % 3 == 0) > 0.1


class TestBOHB:
    def test_the_largest_budget_with_enough_results_decides(self):
        """After 1 epoch, the best trials are at x = 0; after 9 epochs, at x = 1."""
        space = build_space({"x": Float(0, 1)})

        def mean_proposal(num_long):
            generator = random.Random(0)
            history = History()
            for number in range(60):
                x = generator.random()
                losses = (1 + x,) + (1 - x,) * (8 if number < num_long else 0)
                seen = Observation(number, {"x": x}, losses[-1], len(losses), "stopped", losses)
                history.observe(seen)
            model = build("bohb", space, random_fraction=0, min_results=4)
            return statistics.mean(model.suggest(60 + i, history)["x"] for i in range(20))

        assert mean_proposal(0) < 0.3
        assert mean_proposal(5) < 0.3  # one too few
        assert mean_proposal(6) > 0.6
        assert mean_proposal(60) > 0.7

    def test_trials_without_a_report_teach_nothing(self):
        space = build_space({"x": Float(0, 1)})
        model = build("bohb", space, random_fraction=0)
        running = [Observation(number, {"x": 0.3}) for number in range(30)]
        random = build_algorithm("random", space, seed=0)
        for number in range(30, 34):
            assert model.suggest(number, running) == random.suggest(number, running)

    def test_running_trials_count_at_the_budget_they_have_reached(self):
        space = build_space({"x": Float(0, 1)})
        model = build("bohb", space, random_fraction=0)
        rows = [Observation(n, {"x": n / 30}, n / 30, 1, "running", (n / 30,)) for n in range(30)]
        proposals = [model.suggest(number, rows)["x"] for number in range(30, 50)]
        assert statistics.mean(proposals) < 0.3


class TestBuilding:
    def test_names_options_and_seeds_are_checked(self):
        with pytest.raises(InputError, match=r"search 'baysian'.*'bayesian'"):
            build_algorithm("baysian", SPACE)
        with pytest.raises(InputError, match=r"grid: .*'level'.*'levels'"):
            build_algorithm("grid", SPACE, level=3)
        with pytest.raises(InputError, match="seed"):
            build_algorithm("random", SPACE, seed=-1)
        with pytest.raises(InputError, match="empty"):
            build_algorithm("random", {})

    @pytest.mark.parametrize(
        ("name", "option", "value"),
        [
            ("auto", "max_fitted", 1),
            ("auto", "max_results", 1),
            ("bayesian", "xi", -1.0),
            ("bayesian", "max_fitted", 0),
            ("bayesian", "max_results", 0),
            ("tpe", "prior_weight", -1.0),
            ("bohb", "num_candidates", 0),
            ("cmaes", "population_size", 1),
            ("genetic", "population_size", 1),
            ("pso", "num_particles", 1),
        ],
    )
    def test_options_out_of_range_are_refused_before_the_study(self, name, option, value):
        with pytest.raises(InputError, match=f"{option}: {value} must be at least"):
            build_algorithm(name, SPACE, **{option: value})

    @pytest.mark.parametrize(("name", "library"), LIBRARY.items())
    def test_the_error_for_a_missing_library_contains_the_command_to_install_it(
        self, name, library, monkeypatch
    ):
        monkeypatch.setitem(sys.modules, library, None)  # marks a module as not importable
        with pytest.raises(InputError, match=f"{library}.*pip install .*{library}"):
            build_algorithm(name, SPACE)

    def test_importing_search_imports_no_search_library(self):
        code = (
            "import sys, raytune_yesno.search as s\n"
            "s.build_algorithm('random', {'k': 1})\n"
            "print({'ray', 'torch', 'hyperopt', 'bayes_opt', 'sklearn', 'optuna'}"
            " & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "set()", done.stderr


def test_history_keeps_one_observation_a_number_in_order():
    history = History([Observation(3, {}), Observation(1, {})])
    history.observe(Observation(2, {}))
    history.observe(Observation(1, {}, loss=0.5, status="done"))
    assert [seen.number for seen in history] == [1, 2, 3]
    assert history.find(1).loss == 0.5
    assert history.next_number == 4
    with pytest.raises(KeyError):
        history.find(0)


class TestAuto:
    def test_heavy_tails_do_not_hide_the_minimum(self):
        """Losses over ten orders of magnitude need another scale than a parabola."""
        space = build_space({"x": Float(0, 1), "y": Float(0, 1)})
        algorithm, history = build("auto", space), History()
        for number in range(35):
            point = algorithm.suggest(number, history)
            far = abs(point["x"] - 0.7) + abs(point["y"] - 0.2)
            history.observe(Observation(number, point, (10 * far) ** 8, 1, "done"))
        best = min(history, key=lambda seen: seen.loss).point
        assert math.hypot(best["x"] - 0.7, best["y"] - 0.2) < 0.05

    def test_its_model_predicts_over_numbers_and_choices(self):
        generator = np.random.default_rng(0)
        rows_ND = UnitCube(build_space({"x": Float(0, 1), "c": Choice(*"abc")})).snap(
            generator.random((40, 2))
        )
        y_N = np.sin(6 * rows_ND[:, 0]) + (rows_ND[:, 1] > 2 / 3)
        y_N = (y_N - y_N.mean()) / y_N.std()
        process = GaussianProcess(np.array([False, True]))
        process.fit(rows_ND[:30], y_N[:30])
        process.condition(rows_ND[:30], y_N[:30])
        mean_N, std_N = process.predict(rows_ND)
        assert np.abs(mean_N - y_N)[30:].max() < 0.2
        assert std_N[:30].max() < std_N[30:].max()
        left_out = process.predict_left_out(y_N[:30])
        process.condition(rows_ND[1:30], y_N[1:30])
        assert process.predict_mean(rows_ND[:1]) == pytest.approx(left_out[:1], abs=1e-6)


class TestParzen:
    CUBE = UnitCube({"x": Float(0, 1), "n": Int(1, 5), "c": Choice("a", "b", "c")})

    @given(st.integers(0, 6), st.integers(0, 99), st.floats(0.1, 3))
    def test_is_a_density_over_the_cube(self, num_rows: int, seed: int, prior: float) -> None:
        """Its mean over evenly spaced points is one."""
        generator = np.random.default_rng(seed)
        rows = self.CUBE.snap(generator.random((num_rows, 3)))
        density = Parzen(self.CUBE, rows, prior)
        grids = (np.arange(120) + 0.5) / 120, (np.arange(5) + 0.5) / 5, (np.arange(3) + 0.5) / 3
        even = np.stack(np.meshgrid(*grids), axis=-1).reshape(-1, 3)
        assert np.exp(density.log_density(even)).mean() == pytest.approx(1, abs=1e-2)
        drawn = density.draw(generator, 50)
        assert ((drawn >= 0) & (drawn <= 1)).all()

    def test_gives_tpe_a_joint_model(self) -> None:
        space = self.CUBE.space
        history = History(
            Observation(number, self.CUBE.draw(0, number), 1.0, 1, "done") for number in range(12)
        )
        points = [
            build_algorithm("tpe", space, model=model).suggest(12, history)
            for model in ("joint", "hyperopt")
        ]
        for point in points:
            assert point is not None
            check_point(space, point)
        assert points[0] != points[1]
