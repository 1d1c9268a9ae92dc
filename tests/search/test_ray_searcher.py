"""The Ray Tune searcher of an algorithm, called as Ray Tune does, without a cluster."""

import dataclasses
import math
import pickle

import pytest
from ray import tune
from ray.tune.experiment import Experiment
from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator

from raytune_yesno.errors import InputError
from raytune_yesno.search import Observation, build_algorithm, build_searcher
from raytune_yesno.space import Choice, Float, Int

SPACE = {"x": Float(0, 1), "k": Int(1, 3), "c": Choice("a", (1, 2)), "fixed": 7}


def report(searcher, trial_id, *values, metric="valid_loss", last=True, error=False):
    """Report values as Ray does: the last one is reported only with the end of the trial."""
    results = [{metric: v, "training_iteration": i + 1} for i, v in enumerate(values)]
    for result in results[:-1] if last else results:
        searcher.on_trial_result(trial_id, result)
    if last:
        searcher.on_trial_complete(trial_id, results[-1] if results else None, error)


def test_points_are_those_of_the_algorithm_numbered_from_0():
    searcher = build_searcher("random", SPACE, seed=3)
    algorithm = build_algorithm("random", SPACE, seed=3)
    points = [searcher.suggest(trial_id) for trial_id in "abc"]
    assert points == [algorithm.suggest(number, []) for number in range(3)]
    assert [seen.number for seen in searcher.history] == [0, 1, 2]
    assert {seen.status for seen in searcher.history} == {"running"}


def test_the_score_is_the_best_value_and_each_epoch_counts_once():
    searcher = build_searcher("random", SPACE)
    searcher.suggest("a")
    report(searcher, "a", 0.5, 0.2, last=False)
    assert searcher.history.find(0).loss == 0.2
    assert searcher.history.find(0).status == "running"
    again = {"valid_loss": 0.1, "training_iteration": 2}
    searcher.on_trial_result("a", again)
    searcher.on_trial_complete("a", {"valid_loss": 0.4, "training_iteration": 3})
    seen = searcher.history.find(0)
    assert (seen.loss, seen.epochs, seen.losses, seen.status) == (0.2, 3, (0.5, 0.2, 0.4), "done")


def test_mode_max_maximises():
    searcher = build_searcher("random", SPACE, metric="score", mode="max")
    searcher.suggest("a")
    report(searcher, "a", 0.5, 0.9, 0.7, metric="score")
    assert searcher.history.find(0).loss == -0.9


@pytest.mark.parametrize(
    ("values", "error", "status", "loss"),
    [
        ((0.3, 0.2), False, "done", 0.2),
        ((0.3, math.nan), False, "diverged", 0.3),
        ((math.nan, 0.3), False, "done", 0.3),
        ((math.nan,), False, "diverged", None),
        ((math.inf, math.inf), False, "diverged", None),
        ((), False, "failed", None),
        ((), True, "failed", None),
        ((0.3, 0.2), True, "failed", 0.2),
    ],
)
def test_the_status_of_ended_trials(values, error, status, loss):
    searcher = build_searcher("random", SPACE)
    searcher.suggest("a")
    report(searcher, "a", *values, error=error)
    assert (searcher.history.find(0).status, searcher.history.find(0).loss) == (status, loss)


def test_a_trial_that_says_so_has_diverged():
    searcher = build_searcher("random", SPACE)
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"valid_loss": 0.3, "diverged": True})
    assert (searcher.history.find(0).status, searcher.history.find(0).loss) == ("diverged", 0.3)


def test_results_without_the_metric_or_of_unknown_trials_are_ignored():
    searcher = build_searcher("random", SPACE)
    searcher.suggest("a")
    searcher.on_trial_result("a", {"training_iteration": 1})
    searcher.on_trial_result("stranger", {"valid_loss": 1.0, "training_iteration": 1})
    searcher.on_trial_complete("stranger")
    assert [(seen.number, seen.loss) for seen in searcher.history] == [(0, None)]


def test_other_metrics_of_a_trial_may_have_any_name():
    searcher = build_searcher("random", SPACE)
    searcher.suggest("a")
    others = {"costs": 3.0, "excesses": "none", "cost": [1.0]}
    searcher.on_trial_complete("a", {"valid_loss": 0.5, "training_iteration": 1, **others})
    seen = searcher.history.find(0)
    assert (seen.loss, seen.costs, seen.excesses) == (0.5, (), ())


def test_a_grid_finishes_after_its_last_point():
    searcher = build_searcher("grid", {"k": Int(1, 3)})
    assert [searcher.suggest(trial_id) for trial_id in "abc"] == [{"k": 1}, {"k": 2}, {"k": 3}]
    assert searcher.suggest("d") == Searcher.FINISHED


def test_suggestions_equal_those_without_ray():
    searcher = build_searcher("tpe", SPACE, num_initial=4)
    algorithm = build_algorithm("tpe", SPACE, num_initial=4)
    for number in range(12):
        expected = algorithm.suggest(number, list(searcher.history))
        point = searcher.suggest(str(number))
        assert point == expected
        report(searcher, str(number), (point["x"] - 0.8) ** 2)


@pytest.mark.parametrize("limited", [False, True])
def test_ray_runs_exactly_the_number_of_samples(limited):
    searcher = build_searcher("random", SPACE)
    generator = SearchGenerator(ConcurrencyLimiter(searcher, 3) if limited else searcher)
    generator.add_configurations(
        Experiment("test", tune.with_parameters(train), config={"z": 1}, num_samples=7)
    )
    configs = []
    for _ in range(50):
        trial = generator.next_trial()
        if trial is None:
            break
        configs.append(trial.config)
        generator.on_trial_complete(trial.trial_id, {"valid_loss": 0.5, "training_iteration": 1})
    assert len(configs) == 7
    assert generator.is_finished()
    assert configs == [seen.point | {"z": 1} for seen in searcher.history]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_space_in_param_space_is_refused_in_a_sentence(tmp_path):
    searcher = build_searcher("random", SPACE)
    config = tune.TuneConfig(search_alg=searcher, num_samples=1)
    folder = tune.RunConfig(storage_path=str(tmp_path))
    for chosen in (config, dataclasses.replace(config, max_concurrent_trials=1)):
        tuner = tune.Tuner(train, param_space=SPACE, tune_config=chosen, run_config=folder)
        with pytest.raises(Exception, match="param_space: leave out c, k, x; the searcher has"):
            tuner.fit()
    point = {"other": object()}  # anything that the searcher does not search
    assert not searcher.set_search_properties(None, None, point)


def train(config):
    tune.report({"valid_loss": config["x"]})


def test_a_saved_search_continues_identically(tmp_path):
    searcher = build_searcher("tpe", SPACE, num_initial=4)
    for number in range(10):
        point = searcher.suggest(str(number))
        if number < 8:
            report(searcher, str(number), math.nan if number == 5 else point["x"])
    searcher.save_to_dir(str(tmp_path))
    restored = build_searcher("tpe", SPACE, num_initial=4)
    restored.restore_from_dir(str(tmp_path))
    pickled = pickle.loads(pickle.dumps(searcher))
    for other in (searcher, restored, pickled):
        report(other, "8", 0.25)  # started before saving, ended after restoring
    expected = [searcher.suggest(trial_id) for trial_id in "xyz"]
    assert [restored.suggest(trial_id) for trial_id in "xyz"] == expected
    assert [pickled.suggest(trial_id) for trial_id in "xyz"] == expected
    assert restored.history.find(8).status == "done"


def test_numbering_continues_after_earlier_trials():
    earlier = [Observation(n, {"k": n % 3 + 1}, float(n), 1, "done") for n in (0, 1, 4)]
    searcher = build_searcher("random", {"k": Int(1, 3)}, history=earlier)
    searcher.suggest("a")
    assert [seen.number for seen in searcher.history] == [0, 1, 4, 5]


def test_metric_and_mode_of_the_tune_config_take_precedence():
    searcher = build_searcher("random", SPACE, metric="loss")
    assert (
        searcher.set_search_properties("score", "max", {"z": 1}) is False
    )  # it has a space of its own
    searcher.suggest("a")
    report(searcher, "a", 0.5, metric="score")
    assert searcher.history.find(0).loss == -0.5
    searcher.set_search_properties(None, None, {})
    assert (searcher.metric, searcher.mode) == ("score", "max")


def test_an_invalid_mode_is_refused():
    with pytest.raises(InputError, match=r"mode.*least"):
        build_searcher("random", SPACE, mode="least")


class TestKnownPoints:
    POINTS = ({"x": 0.25}, {"x": "0.5", "k": 2.0, "c": "a"})

    @pytest.mark.parametrize("name", ["random", "tpe", "auto", "pso"])
    def test_are_tried_first_and_learned_from(self, name):
        searcher = build_searcher(name, SPACE, seed=3, known_points=self.POINTS)
        points = [searcher.suggest(str(number)) for number in range(3)]
        assert points[0]["x"] == 0.25
        assert points[1] == {"x": 0.5, "k": 2, "c": "a", "fixed": 7}
        assert list(points[0]) == list(points[1]) == list(SPACE)
        algorithm = build_algorithm(name, SPACE, seed=3)
        assert points[2] == algorithm.suggest(2, list(searcher.history)[:2])
        assert [seen.point for seen in searcher.history] == points

    def test_follow_the_trials_of_earlier_runs(self):
        earlier = [Observation(0, {"x": 0.1, "k": 1, "c": "a", "fixed": 7}, 0.5, 1, "done")]
        searcher = build_searcher("random", SPACE, history=earlier, known_points=self.POINTS)
        assert [searcher.suggest(trial)["x"] for trial in "ab"] == [0.25, 0.5]

    @pytest.mark.parametrize("name", ["grid", "manual"])
    def test_are_refused_by_a_search_of_its_own_points(self, name):
        options = {"points": [{"k": 1}]} if name == "manual" else {}
        with pytest.raises(InputError, match="known_points"):
            build_searcher(name, SPACE, known_points=[{"k": 2}], **options)

    def test_that_are_equal_are_tried_once(self):
        twice = [{"x": 0.25, "k": 2, "c": "a"}] * 2
        searcher = build_searcher("random", SPACE, seed=3, known_points=twice)
        points = [searcher.suggest(trial) for trial in "ab"]
        assert points[1] == build_algorithm("random", SPACE, seed=3).suggest(1, [])

    def test_are_checked(self):
        with pytest.raises(InputError, match="point 1: k"):
            build_searcher("random", SPACE, known_points=[{}, {"k": 9}])
