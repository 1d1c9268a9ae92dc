"""Results of other studies and repeats: which trainings belong to one point."""

from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.space import Float, build_space
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning import warm_start
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_new_plan
from raytune_yesno.tuning.searcher import StudySearcher
from raytune_yesno.tuning.stop_conditions import StopMonitor

SPACE = {"learning_rate": Float(1e-4, 1e-1, log=True)}
ABOUT = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}


def begin(folder: Path, **settings: Any) -> tuple[Plan, StudyStore]:
    config = build_config({"task": "sine", "epochs": 2})
    plan = Plan(config, SPACE, scheduler="fifo", trials=6, **settings)
    check_new_plan(plan)
    store = StudyStore(folder)
    store.append("study", data="", corpus={}, slots=1, **plan.as_dict())
    return plan, store


@pytest.mark.parametrize("repeats", [{"min": 1, "max": 3}, {"min": 2, "max": 2}])
def test_repeats_are_of_points_of_this_study(repeats: dict[str, int], tmp_path: Path) -> None:
    known = {
        "observations": [
            {"point": {"learning_rate": 10 ** -(2 + number / 10)}, "status": "done", "losses": [1]}
            for number in range(4)
        ]
    }
    plan, store = begin(tmp_path, search="tpe", repeats=repeats, warm_start=known)
    monitor = StopMonitor(plan.stop, plan.config.objective)
    searcher = StudySearcher(plan, store, [], monitor, build_scheduler("fifo", 2))
    searcher.set_search_properties("cost", "min", {})
    for index in range(6):
        trial: Any = searcher.suggest(str(index))
        number, loss = trial["number"], 2.0 + index
        store.append("started", trial=number, attempt=1)
        store.append("epoch", trial=number, epoch=1, valid_loss=loss, train_loss=loss, **ABOUT)
        store.append("ended", trial=number, status="done")
        searcher.on_trial_complete(str(index), {"epoch": 1, "cost": loss})
    study = load(tmp_path)
    assert [trial.number for trial in study.trial_list] == list(range(6))
    firsts = {trial.number for trial in study.trial_list if trial.repeat_of is None}
    repeated = {t.repeat_of for t in study.trial_list if t.repeat_of is not None}
    assert repeated
    assert repeated <= firsts
    assert not study.problems


def write_repeats(folder: Path, trainings: list[tuple[int, str, list[float]]]) -> Study:
    """Write a study of trainings: the point's first trial, the status, the losses by epoch."""
    _, store = begin(folder, search="random")
    for number, (first, status, losses) in enumerate(trainings):
        again = {} if first == number else {"repeat_of": first, "seed": number}
        point = {"learning_rate": 1e-3 * (first + 1)}
        store.append("asked", trial=number, point=point, **again)
        store.append("started", trial=number, attempt=1)
        for epoch, loss in enumerate(losses, start=1):
            values = {"valid_loss": loss, "train_loss": loss}
            store.append("epoch", trial=number, epoch=epoch, **values, **ABOUT)
        store.append("ended", trial=number, status=status)
    return load(folder)


def test_a_warm_start_knows_each_point_once_by_the_mean_of_its_results(tmp_path: Path) -> None:
    trainings = [(0, "done", [0.9, 0.1]), (0, "done", [0.5, 0.9]), (2, "done", [0.7])]
    study = write_repeats(tmp_path, [*trainings, (0, "failed", []), (4, "failed", [])])
    known = warm_start.gather([study], build_space(SPACE), study.objective)
    seen = warm_start.build_observations(known, build_space(SPACE))
    assert [each.point for each in seen] == [{"learning_rate": 1e-3}, {"learning_rate": 3e-3}]
    assert seen[0].loss == pytest.approx(0.3)  # the mean of the best of each
    assert seen[0].losses == pytest.approx((0.7, 0.5))
    assert seen[1].loss == 0.7
    assert known["used"] == {str(tmp_path): 3}
    assert known["left_out"] == {"without a result": 2}


def test_a_point_that_diverged_with_another_seed_is_left_out(tmp_path: Path) -> None:
    trainings = [(0, "done", [0.1]), (0, "diverged", [0.1]), (2, "done", [0.7])]
    study = write_repeats(tmp_path, trainings)
    known = warm_start.gather([study], build_space(SPACE), study.objective)
    assert [seen["losses"] for seen in known["observations"]] == [[0.7]]
    assert sum(known["left_out"].values()) == 2
