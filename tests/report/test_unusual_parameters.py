"""A report on parameters whose values are None, close together, or fixed for some options."""

from pathlib import Path

import numpy as np
import pytest

from raytune_yesno.metrics import Metric, Objective
from raytune_yesno.report.axes import build_axes
from raytune_yesno.report.front import count_members, tabulate_front
from raytune_yesno.report.importance import encode_axis
from raytune_yesno.report.plot_data import build_payload
from raytune_yesno.space import Choice, Float, build_space, format_space
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.front import trace_hypervolume
from raytune_yesno.tuning.refit import list_refits

SPACE = build_space(
    {
        "schedule": Choice(None, "cosine"),
        "decay": Choice(0.99999, 1.0),
        "width": Float(1_000_000, 1_000_100),
        "optimizer": Choice({"adamw": {}, "sgd": {"momentum": 0.9}}),
    }
)
OBJECTIVE = Objective(Metric("valid_loss"), others=(Metric("size"),))


def build_study(sizes=(None,) * 4, **asked):
    """Return a study of four trials; the odd ones have no schedule, and use sgd."""
    trials = []
    for number, size in enumerate(sizes):
        point = {
            "schedule": None if number % 2 else "cosine",
            "decay": (0.99999, 1.0)[number // 2 % 2],
            "width": 1_000_010.0 + number,
            "optimizer": "sgd" if number % 2 else "adamw",
            **({"momentum": 0.9} if number % 2 else {}),
        }
        told = {} if size is None else {"size": size}
        timed = {"trial": number, "attempt": 1, "began": 0.0, "ended": float(number)}
        timed |= {"host": "a", "node": "a", "pid": 1}
        epoch = {"epoch": 1, "valid_loss": float(number), "seconds": 1.0, **timed, **told}
        trials.append(Trial(number, point, "done", [epoch], objective=OBJECTIVE))
    asked = {"time": 0.0, "space": format_space(SPACE), "config": {}, "search": "random", **asked}
    objective = OBJECTIVE
    return Study(Path("study"), asked, trials, None, True, 9.0, [], [], objective=objective)


def test_none_is_an_option_and_close_values_differ():
    study = build_study()
    axes = {axis.name: axis for axis in build_axes(study)}
    assert set(axes) == {"schedule", "decay", "width", "optimizer"}
    assert len(axes["decay"].options) == 2
    column = encode_axis(axes["schedule"], study.trial_list)
    assert not np.isnan(column).any()
    assert len(set(column)) == 2


def test_a_fixed_value_of_an_option_is_not_copied_to_trials_without_the_option():
    (study,) = build_payload([build_study(sizes=(4, 3, 2, 1))], ["study"], [], [[]])["studies"]
    assert study["fixed"] == {"momentum": 0.9}
    assert study["absent"] == {"momentum": [0, 2]}


def test_the_table_of_the_front_is_blank_where_a_parameter_is_not_active():
    table = tabulate_front(build_study(sizes=(4, 3, 2, 1)))
    assert not any("null" in str(cell) for row in table.rows[:1] for cell in row[4:])


@pytest.mark.parametrize("refit", ["best", "all"])
def test_one_point_is_trained_again_if_no_trial_has_all_objectives(refit):
    study = build_study(refit=refit)
    assert study.front == []
    assert count_members(study).startswith("front of valid loss and size: 0 of 0")
    assert [each.trial.number for each in list_refits(study)] == [0]


def test_trials_outside_a_changed_space_add_no_hypervolume():
    study = build_study(sizes=(4, 3, 2, 1))
    study.trial_list[3].outside = "width: it lies outside"
    assert trace_hypervolume(study.trial_list)[-1][2] == study.hypervolume[0]
