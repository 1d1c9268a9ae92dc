"""Plan, record, warm start, change of space and requests with parameters of options."""

from dataclasses import replace
from pathlib import Path

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import LEGACY_OBJECTIVE
from raytune_yesno.space import Choice, Float, Int, build_space, check_point, parse_space
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.load import mark_outside
from raytune_yesno.tuning import warm_start
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan, remark_on_points
from raytune_yesno.tuning.request_handler import complete_request

SPACE = build_space(
    {
        "optimizer": Choice({"adamw": {}, "sgd": {"momentum": Float(0.5, 0.99)}}),
        "batch_size": Int(1, 8),
        "constraints": ["momentum * batch_size <= 7"],
    }
)
PLAN = Plan(build_config({"model": "cnn"}), SPACE, points=({"momentum": 0.95},))
TRIALS = [
    {"optimizer": "adamw", "batch_size": 2},
    {"optimizer": "sgd", "momentum": 0.9, "batch_size": 4},
    {"optimizer": "sgd", "momentum": 0.6, "batch_size": 8},
]


def build_study():
    epochs = [{"epoch": 1, "valid_loss": 0.5, "seconds": 1.0}]
    trials = [Trial(number, point, "done", epochs) for number, point in enumerate(TRIALS)]
    asked = {"time": 0.0, **PLAN.as_dict()}
    return Study(Path("study"), asked, trials, None, True, 9.0, [], [])


def test_a_plan_survives_its_record():
    check_plan(PLAN)
    recorded = PLAN.as_dict()
    read = Plan.from_settings(PLAN.config, parse_space(recorded["space"]), recorded)
    assert read.space == PLAN.space
    assert read.as_dict() == recorded
    wide = {"optimizer": Choice({"sgd": {"momentum": Float(0.5, 7)}})}
    impossible = [{"momentum": 0.95, "batch_size": 8}]
    rarely = build_space({**SPACE, "constraints": "batch_size < 8 or batch_size < optimizer"})
    for plan, message in (
        (replace(PLAN, space=wide, points=()), "momentum"),
        (replace(PLAN, points=impossible), "point 0"),
        (replace(PLAN, space=rarely, points=()), "'int' and 'str'"),
    ):
        with pytest.raises(InputError, match=message):
            check_plan(plan)


def test_warm_start_and_a_changed_space_take_the_active_values():
    known = warm_start.gather([build_study()], SPACE, LEGACY_OBJECTIVE)
    assert [seen["point"] for seen in known["observations"]] == TRIALS
    flat = build_space({"momentum": Float(0, 0.99), "batch_size": Int(1, 8)})
    known = warm_start.gather([build_study()], flat, LEGACY_OBJECTIVE)
    points = [seen["point"] for seen in known["observations"]]
    assert [point["momentum"] for point in points[1:]] == [0.9, 0.6]
    narrow = build_space({**SPACE, "constraints": ["momentum * batch_size <= 4"]})
    trials = build_study().trial_list
    mark_outside(trials, narrow, PLAN.config.as_dict())
    assert [bool(trial.outside) for trial in trials] == [False, False, True]


def test_a_requested_point_is_completed_from_the_config():
    config = PLAN.config.as_dict()
    point = complete_request(SPACE, config, {"momentum": 0.9, "batch_size": 2})
    check_point(SPACE, point)
    assert point == {"optimizer": "sgd", "momentum": 0.9, "batch_size": 2}
    assert "momentum" not in complete_request(
        SPACE, config, {"optimizer": "adamw", "batch_size": 2}
    )
    with pytest.raises(InputError, match="belongs to optimizer=sgd"):
        complete_request(SPACE, config, {"optimizer": "adamw", "momentum": 0.9})


def test_more_trials_than_points_are_remarked_on():
    config = build_config({"model": "cnn"})
    options = Choice({"adamw": {}, "sgd": {"momentum": Choice(0.8, 0.9)}})
    few = Plan(config, build_space({"optimizer": options}), trials=4)  # 3 points
    assert "has 3 points" in remark_on_points(few)
    for enough in (
        replace(few, trials=3),
        replace(few, repeats={"min": 1, "max": 2}),
        replace(few, search="grid"),
        replace(few, space={"momentum": Float(0, 0.9)}),
    ):
        assert not remark_on_points(enough)


def test_a_small_space_with_repeats_says_when_its_search_ends():
    space = {"hidden_layers": Choice(1, 2)}
    plan = Plan(build_config({"task": "sine"}), space, trials=9, repeats={"min": 1, "max": 3})
    assert "2 points" in remark_on_points(plan)
    assert "6 of 9 trials" in remark_on_points(plan)
    assert not remark_on_points(replace(plan, trials=6))
