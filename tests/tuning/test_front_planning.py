"""Plans of several objectives: what is refused, what is known before training, when to stop."""

import math
from pathlib import Path
from typing import Any

import pytest
from helpers.fronts import write_front

from raytune_yesno.config import build_config, declare_task, register_task
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import COST, COSTS, EXCESSES
from raytune_yesno.schedulers.asynchronous import FIFO
from raytune_yesno.space import Int, parse_space
from raytune_yesno.study import Study, Trial, load
from raytune_yesno.study.events import WarmStart
from raytune_yesno.study.store import StudyStore
from raytune_yesno.training.costs import find_costs
from raytune_yesno.tuning import warm_start
from raytune_yesno.tuning.limits import build_limited
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan
from raytune_yesno.tuning.refit import list_refits
from raytune_yesno.tuning.searcher import StudySearcher, observe
from raytune_yesno.tuning.stop_conditions import StopConditions, StopMonitor

TWO = {"task": "sine", "objectives": ["valid_loss", "num_parameters"], "hidden_layers": 1}
SPACE = {"hidden_units": Int(1, 64)}  # 5 H + 1 parameters


def plan(config: dict[str, Any] | None = None, **settings: Any) -> Plan:
    return Plan(build_config({**TWO, **(config or {})}), SPACE, **settings)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"search": "cmaes"}, "one objective"),
        ({"search": "bohb"}, "one objective"),
        ({"search": "random", "scheduler": "pbt"}, "one objective"),
        ({"prefer": "size<=3"}, "size"),
        ({"prefer": "num_parameters"}, "prefer"),
        ({"refit": "none"}, "all"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(settings, word):
    with pytest.raises(InputError, match=word):
        check_plan(plan(**settings))


def test_one_objective_has_no_front_to_choose_from():
    with pytest.raises(InputError, match="prefer"):
        check_plan(plan({"objectives": ["valid_loss"]}, prefer="valid_loss<=3"))


@pytest.mark.parametrize("search", ["auto", "grid"])
def test_parameters_are_limited_before_training(search):
    limited = build_limited(plan({"limits": ["num_parameters<=101"]}, search=search), None)
    points = [limited.suggest(number, []) for number in range(4)]
    assert points[0]
    assert all(point is None or point["hidden_units"] <= 20 for point in points)


def test_a_limit_that_no_point_keeps_is_refused_at_once():
    with pytest.raises(InputError, match="num_parameters<=5"):
        build_limited(plan({"limits": ["num_parameters<=5"]}), None)


@pytest.mark.parametrize("search", ["grid", "random", "auto"])
def test_a_single_point_within_the_limits_is_found(search):
    space = {"hidden_units": Int(1, 2000)}
    one = Plan(build_config({**TWO, "limits": ["num_parameters<=6"]}), space, search=search)
    assert build_limited(one, None).suggest(0, []) == {"hidden_units": 1}


def test_a_limit_that_is_learnt_refuses_no_point():
    limited = build_limited(plan({"limits": ["valid_loss<=5"]}), None)
    assert type(limited) is type(plan().build_algorithm())


def test_patience_counts_trials_that_no_earlier_one_dominates():
    monitor = StopMonitor(StopConditions(patience=2), plan().config.objective)
    results = [(1.0, 50), (2.0, 40), (2.5, 45), (math.nan, 1), (0.5, 60)]
    found = []
    for number, (loss, size) in enumerate(results):
        monitor.epoch(number, {"valid_loss": loss, "num_parameters": size})
        monitor.ended(number, "done")
        found.append(monitor.found is not None)
    assert found == [False, False, False, True, True]


def test_the_search_learns_costs_and_excesses_of_a_running_trial(tmp_path):
    two = plan({"limits": ["num_parameters<=101"]})
    monitor = StopMonitor(two.stop, two.config.objective)
    searcher = StudySearcher(two, StudyStore(tmp_path), [], monitor, FIFO())
    searcher.suggest("a")
    searcher.on_trial_result("a", {"epoch": 1, COST: 0.5, COSTS: (0.5, 202.0), EXCESSES: (1.0,)})
    seen = searcher.history.find(0)
    assert (seen.costs, seen.excesses) == ((0.5, 202.0), (1.0,))


def test_a_resumed_search_sees_what_it_saw(tmp_path):
    one = Plan(build_config({"task": "sine"}), SPACE)
    searcher = StudySearcher(
        one, StudyStore(tmp_path), [], StopMonitor(one.stop, one.config.objective), FIFO()
    )
    searcher.suggest("a")
    losses = (0.2, 0.1, math.inf)
    for epoch, loss in enumerate(losses, start=1):
        searcher.on_trial_result("a", {"epoch": epoch, "training_iteration": epoch, COST: loss})
    seen = searcher.history.find(0)
    epochs = [
        {"epoch": epoch, "valid_loss": loss} for epoch, loss in enumerate((0.2, 0.1, None), 1)
    ]
    resumed = observe(Trial(0, seen.point, epochs=epochs, objective=one.config.objective))
    assert (resumed.losses, resumed.epochs, resumed.loss) == (seen.losses, 3, 0.1)


def build_study(reported: list[dict[str, float]], **config: Any) -> Study:
    epochs = [{"epoch": 1, "seconds": 1.0, **metrics} for metrics in reported]
    trials = [
        Trial(number, {"hidden_units": 10 + number}, "done", [epoch])
        for number, epoch in enumerate(epochs)
    ]
    return Study(Path("other"), {"time": 0.0, "config": config}, trials, None, True, 9.0, [], [])


def test_a_warm_start_has_the_costs_and_excesses_of_this_study():
    two = plan({"limits": ["valid_loss<=2"]}).config
    known = warm_start.gather(
        [
            build_study([{"valid_loss": 3.0}, {"valid_loss": 1.0, "num_parameters": 7}]),
            build_study([{"valid_wer": 0.5}, {"valid_loss": math.nan}]),
        ],
        SPACE,
        two.objective,
        lambda point: find_costs(build_config(two.as_dict(), point), None),
    )
    assert known["used"] == {"other": 2}
    assert known["left_out"] == {"without valid_loss": 1, "without a result": 1}
    seen = warm_start.build_observations(known, SPACE)
    assert [(one.costs, one.excesses) for one in seen] == [
        ((3.0, 51.0), (0.5,)),  # 5 * 10 + 1 parameters, known without training
        ((1.0, 7.0), (-0.5,)),
    ]
    assert WarmStart.model_validate(known).observations[0].costs == [3.0, 51.0]
    warm = plan(search="genetic", warm_start=known)
    check_plan(warm)
    assert warm.build_algorithm().suggest(2, seen)["hidden_units"] in range(1, 65)


def test_a_warm_start_without_an_objective_is_refused_by_its_name():
    with pytest.raises(InputError, match="2 without train_seconds"):
        warm_start.gather(
            [build_study([{"valid_loss": 3.0}, {"valid_loss": 2.0}])],
            SPACE,
            plan({"objectives": ["valid_loss", "train_seconds"]}).config.objective,
        )


def test_another_choice_replaces_the_refit_of_the_earlier_one(tmp_path: Path) -> None:
    write_front(tmp_path, refit="all")
    store = StudyStore(tmp_path)

    def refit() -> list[int]:
        study = load(tmp_path)
        numbers = [candidate.trial.number for candidate in list_refits(study)]
        for number in numbers:
            name = "refit" if study.best and number == study.best.number else f"refit-{number}"
            store.append("refitted", trial=number, epochs=2, checkpoint=f"{tmp_path}/{name}/last")
        return numbers

    first = refit()
    knee = first[-1]
    store.append("resumed", searched=True, slots=1, trials=6, prefer="size<=10")
    second = refit()
    assert second == [knee, 0]  # the knee's checkpoint was where that of trial 0 is now
    found = {event["trial"]: event["checkpoint"] for event in load(tmp_path).refits}
    assert found.keys() == set(first)
    assert len(set(found.values())) == len(first)
    assert found[0].endswith("/refit/last")


SIZED = {"kind": {"choice": {"a": {"size": {"int": [1, 9]}}, "b": {}}}}


def objective(config):
    return {"loss": 1.0, "size": count_size(config)["size"]}


def count_size(config):
    if config["kind"] == "b":
        assert "size" not in config
        return {"size": 0}
    return {"size": 2 * config["size"]}


def fail(config):
    raise ValueError("no size")


def build(costs):
    objective.costs = costs
    register_task("sized", objective)
    space = parse_space(SIZED)
    keys = {"metric": "loss", "limits": ["size<=10"]}
    task = declare_task("sized", space=space, config=keys)
    config = build_config({"task": "sized"}, keys, declaration=task)
    return build_limited(Plan(config, space, trials=4, search="random"), None)


def test_costs_of_a_function_see_the_parameters_of_the_chosen_option():
    limited = build(count_size)
    points = [limited.suggest(number, []) for number in range(6)]
    assert all(count_size(point)["size"] <= 10 for point in points)
    assert {point["kind"] for point in points} == {"a", "b"}


def test_costs_that_cannot_be_computed_are_refused_before_a_trial():
    with pytest.raises(InputError, match=r"kind=.*ValueError: no size"):
        build(fail)
