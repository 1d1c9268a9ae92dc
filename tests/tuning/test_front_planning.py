"""Plans of several objectives: what is refused, what is known before training, when to stop."""

import math
from typing import Any

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.space import Int
from raytune_yesno.tuning.limits import build_limited
from raytune_yesno.tuning.plan import Plan
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
        ({"warm_start": {"observations": []} | {"of": "x"}}, "warm_start"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(settings, word):
    with pytest.raises(InputError, match=word):
        plan(**settings).check()


def test_one_objective_has_no_front_to_choose_from():
    with pytest.raises(InputError, match="prefer"):
        plan({"objectives": ["valid_loss"]}, prefer="valid_loss<=3").check()


@pytest.mark.parametrize("search", ["auto", "grid"])
def test_parameters_are_limited_before_training(search):
    limited = build_limited(plan({"limits": ["num_parameters<=101"]}, search=search), None)
    points = [limited.suggest(number, []) for number in range(4)]
    assert points
    assert all(point is None or point["hidden_units"] <= 20 for point in points)


def test_a_limit_that_no_point_keeps_is_refused_at_once():
    with pytest.raises(InputError, match="num_parameters<=5"):
        build_limited(plan({"limits": ["num_parameters<=5"]}), None)


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
