"""A plan: its points, its slots, and options that it sets itself."""

from dataclasses import replace
from typing import Any

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.search.uninformed import Grid
from raytune_yesno.space import Float, Int
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_new_plan
from raytune_yesno.tuning.progress import Progress

PLAN = Plan(
    build_config({"task": "sine", "epochs": 4}),
    {"learning_rate": Float(1e-7, 1e-5, log=True)},
    search="random",
    scheduler="asha",
    trials=3,
)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scheduler_options": {"num_objectives": 2}}, "num_objectives"),
        ({"scheduler_options": {"name": "x"}}, "name"),
        ({"scheduler_options": {"epochs": 2}}, "epochs"),
        ({"search_options": {"several": True}}, "several"),
        ({"search_options": {"name": "x"}}, "name"),
        ({"search_options": {"seed": 1}}, "seed"),
        ({"search": "grid", "search_options": {"space": {}}}, "space"),
    ],
)
def test_options_that_the_plan_sets_itself_are_refused(settings: dict[str, Any], says: str) -> None:
    plan = replace(PLAN, **settings)
    with pytest.raises(InputError, match=f"'{says}' is not an option"):
        check_new_plan(plan)
    if plan.entry.is_finite:
        with pytest.raises(InputError, match=f"'{says}' is not an option"):
            plan.as_dict()


def test_pbt_says_that_one_epoch_is_too_few() -> None:
    config = build_config({"task": "sine", "epochs": 1})
    with pytest.raises(InputError, match=r"pbt.*at least 2 epochs"):
        check_new_plan(replace(PLAN, config=config, scheduler="pbt"))


def test_a_final_round_uses_all_slots() -> None:
    plan = replace(PLAN, trials=1, final_round={"points": 1, "seeds": 8})
    assert plan.limit_slots(4) == 4
    assert plan.limit_slots(99) == 8
    assert replace(plan, max_concurrent=2).limit_slots(99) == 2
    assert PLAN.limit_slots(99) == 3


def test_a_grid_is_built_once_for_its_number_of_points(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = Grid.__init__

    def count(self: Grid, *arguments: Any, **options: Any) -> None:
        built.append("grid")
        build(self, *arguments, **options)

    monkeypatch.setattr(Grid, "__init__", count)
    plan = replace(PLAN, search="grid", space={"hidden_units": Int(1, 5)}, trials=None)
    assert plan.num_points == plan.num_trials == 5
    assert len(plan.as_dict()) > 1
    assert built == ["grid"]


def test_the_best_in_the_progress_keeps_the_limits() -> None:
    objective = build_config({"task": "sine", "limits": ["train_loss>=5"]}).objective
    progress = Progress(objective, 1, 1, 1)
    metric = objective.metric.name
    progress.take(0, {"epoch": 1, metric: 9.0, "train_loss": 6.0})
    progress.take(1, {"epoch": 1, metric: 1.0, "train_loss": 1.0})
    assert progress.best_trial == 0
    progress.take(2, {"epoch": 1, metric: 8.0, "train_loss": 7.0})
    assert progress.best_trial == 2


def test_points_of_a_manual_search_are_what_it_tries() -> None:
    space, points = {"learning_rate": Float(1e-4, 1e-1)}, [{"learning_rate": 0.01}]
    own = {"points": [{"learning_rate": 0.02}]}
    plan = Plan(build_config({}), space, search="manual", search_options=own, points=points)
    check_new_plan(plan)
    assert (plan.num_trials, plan.scheduler, plan.known_points) == (2, "fifo", [])
    search = plan.build_algorithm()
    assert [search.suggest(number, [])["learning_rate"] for number in range(2)] == [0.02, 0.01]
