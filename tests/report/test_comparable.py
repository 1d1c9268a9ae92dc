"""What a comparison of studies, and a best result, may not claim."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import write_study
from helpers.results import write_results

from raytune_yesno.metrics import Limit, Metric, Objective
from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.early_stopping import measure_early_stopping
from raytune_yesno.report.front import describe_limits, summarise_front
from raytune_yesno.report.importance import measure_importance
from raytune_yesno.report.luck import describe_luck, measure_luck
from raytune_yesno.report.sentences import describe_curves, describe_importance, describe_mean
from raytune_yesno.report.study_groups import (
    Group,
    compare_groups,
    find_best,
    group_studies,
    measure_figures,
)
from raytune_yesno.report.summary import describe_studies, judge_difference
from raytune_yesno.report.tables import tabulate_studies
from raytune_yesno.study import Study, Trial


def with_objective(study: Study, objective: Objective) -> Study:
    """Return a study whose trials are judged by another objective."""
    trials = [replace(trial, objective=objective) for trial in study.trial_list]
    return replace(study, objective=objective, trial_list=trials)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = tmp_path_factory.mktemp("studies")
    return [
        write_study(folder / "few", 8, seed=1),
        write_study(folder / "many", 16, search="tpe"),
    ]


def describe(studies: list[Study]) -> str:
    groups = group_studies(studies)
    names = [study.name for study in studies]
    return " ".join(describe_studies(studies, names, groups, compare_groups(groups)))


def test_a_larger_budget_is_said_beside_the_best(studies: list[Study]) -> None:
    text = describe(studies)
    assert "8 to 16 trials" in text
    assert "budget" not in describe([studies[0], studies[0]])


@pytest.mark.parametrize("other", [Metric("valid_wer"), Metric("valid_loss", mode="max")])
def test_of_different_objectives_none_is_the_best(studies: list[Study], other: Metric) -> None:
    changed = [studies[0], with_objective(studies[1], Objective(other))]
    text = describe(changed)
    assert f"{other.name} ({other.mode})" in text
    assert "not comparable" in text
    assert "best" not in text
    assert find_best(changed) is None


def test_the_table_of_different_objectives_names_each_value(studies: list[Study]) -> None:
    changed = [studies[0], with_objective(studies[1], Objective(Metric("valid_wer")))]
    table = tabulate_studies(changed, ["a", "b"])
    column = [row[list(table.heads).index("best")] for row in table.rows]
    assert "loss" in str(column[0])
    assert "wer" in str(column[1])


def test_a_result_beyond_a_limit_is_never_the_best(studies: list[Study]) -> None:
    """The second study's best loss is the better one, but exceeds the limit."""
    loss, rate = Metric("valid_loss"), Metric("valid_wer")
    objectives = [Objective(loss, limits=(Limit(rate, "<=", most),)) for most in (1.0, 0.0)]
    limited = [with_objective(*pair) for pair in zip(studies, objectives, strict=True)]
    assert find_best(studies) == 1
    assert find_best(limited) == 0
    figures = measure_figures(limited)
    assert figures[0] is not None
    assert figures[1] is None


def test_groups_of_different_objectives_have_no_p_value() -> None:
    groups = [
        Group(name, (), tuple(range(5)), basis=(None, ((name, "min"),))) for name in ("loss", "wer")
    ]
    assert compare_groups(groups) == []


def test_too_few_studies_are_judged_for_all_pairs_together() -> None:
    """With 5 studies a p-value is at least 2/252; 28 pairs raise that above the level."""
    groups = [Group(str(k), (), tuple(10.0 * k + n for n in range(5))) for k in range(8)]
    differences = compare_groups(groups)
    assert {round(each.min_p, 3) for each in differences} == {0.222}
    assert {judge_difference(each) for each in differences} == {"too few studies to tell"}


def test_studies_of_several_objectives_without_a_feasible_trial(studies: list[Study]) -> None:
    loss, rate = Metric("valid_loss"), Metric("valid_wer")
    none = Objective(loss, others=(rate,), limits=(Limit(loss, "<=", 0.0),))
    assert "budgets" in describe([with_objective(study, none) for study in studies])


def test_only_trials_that_keep_the_limits_are_the_best_so_far(studies: list[Study]) -> None:
    loss = Metric("valid_loss")
    best = min(trial.metrics["valid_loss"] for trial in studies[1].ranking)
    limited = with_objective(
        studies[1], Objective(loss, smooth=1, limits=(Limit(loss, ">=", best + 0.01),))
    )
    assert limited.best
    for curve in trace_best(limited).values():
        assert curve[-1][1] >= limited.best.metrics["valid_loss"] - 0.01 > best - 0.01
    assert trace_best(limited)["trials"][-1][1] == limited.best.metrics["valid_loss"]


def test_what_fails_or_is_stopped_on_request_saves_nothing(studies: list[Study]) -> None:
    def change(trial: Trial) -> Trial:
        return replace(trial, is_stop_requested=True) if trial.status == "stopped" else trial

    study = replace(studies[1], trial_list=[change(trial) for trial in studies[1].trial_list])
    spent = measure_early_stopping(study)
    assert (spent.stopped, spent.saved) == (0, 0)
    last = [replace(trial, status="stopped", is_stop_requested=True) for trial in study.trial_list]
    assert "scheduler" not in describe_curves(replace(study, trial_list=last))


def test_trials_without_a_result_are_said_to_be_left_out(tmp_path: Path) -> None:
    found = measure_importance(write_study(tmp_path / "study"))
    assert found.num_left_out == 1
    assert "left out (1)" in describe_importance(found)


def build_trial(number: int, loss: float, of: int | None = None, **changes: object) -> Trial:
    epochs = [{"epoch": 1, "valid_loss": loss, "seconds": 1.0}]
    seed = None if of is None else number
    trial = Trial(number, {}, "done", epochs, repeat_of=of, seed=seed, final=of is not None)
    return replace(trial, **changes)


def build_study(*trials: Trial) -> Study:
    return Study(Path("study"), {"time": 0.0}, list(trials), None, True, 9.0, [], [])


def test_a_point_of_several_trainings_is_compared_by_their_mean() -> None:
    repeats = [build_trial(1, 0.3, 0, final=False), build_trial(2, 0.5, 0, final=False)]
    study = build_study(build_trial(0, 0.1), *repeats)
    assert measure_figures([study]) == [pytest.approx(0.3)]
    assert "3 trainings: 0.3" in describe_mean(study.candidates[0])
    assert describe_mean(build_study(build_trial(0, 0.1)).candidates[0]) == ""


def test_the_limits_are_those_of_the_mean() -> None:
    objective = Objective(Metric("valid_loss"), limits=(Limit(Metric("valid_loss"), "<=", 0.2),))
    repeat = build_trial(1, 0.5, 0, final=False, objective=objective)
    study = build_study(build_trial(0, 0.1, objective=objective), repeat)
    study = replace(study, objective=objective)
    assert "no trial keeps them" in describe_limits(study)
    assert summarise_front(study)["feasible"] is False


FINALS = [(0, 0.4), (0, 0.5), (1, 0.3), (1, 0.3)]


def test_trainings_that_diverged_are_told_beside_the_mean_without_them() -> None:
    finals = [build_trial(3 + n, y, of) for n, (of, y) in enumerate(FINALS)]
    diverged = build_trial(9, 0.1, 0, status="diverged")
    luck_study = build_study(build_trial(0, 0.1), build_trial(1, 0.2), *finals, diverged)
    luck = measure_luck(luck_study)
    assert luck
    assert (luck.trial, luck.repeats, luck.diverged) == (0, 2, 1)
    assert "diverged" in describe_luck(luck_study)


def test_a_repeat_that_failed_does_not_take_the_search_s_best_away() -> None:
    finals = [build_trial(3 + n, y, of) for n, (of, y) in enumerate(FINALS)]
    failed = build_trial(9, 0.0, 0, status="failed", final=False, epochs=[])
    luck = measure_luck(build_study(build_trial(0, 0.1), build_trial(1, 0.2), *finals, failed))
    assert luck
    assert (luck.trial, luck.result) == (0, 0.1)


def test_only_the_final_round_of_the_latest_extension_counts() -> None:
    finals = [build_trial(3 + n, y, of, planned=[(0, 10)]) for n, (of, y) in enumerate(FINALS)] + [
        build_trial(7 + n, y - 0.1, of, planned=[(0, 20)]) for n, (of, y) in enumerate(FINALS)
    ]
    luck = measure_luck(build_study(build_trial(0, 0.1), build_trial(1, 0.2), *finals))
    assert luck
    assert (luck.repeats, luck.mean) == (2, pytest.approx(0.35))


def write_pair(folder: Path, *configs: dict) -> list[Study]:
    """Write studies that differ in their config and their seed, five of each config."""
    return [
        write_results(
            folder / f"{index}-{seed}",
            [{"metrics": {"loss": 1 + 50 * index + seed / 10, "size": 5}}],
            metrics=("loss", "size"),
            config={**config, "seed": seed},
        )
        for index, config in enumerate(configs)
        for seed in range(5)
    ]


def test_studies_of_different_tasks_are_not_compared(tmp_path: Path) -> None:
    changed = write_pair(tmp_path / "two", {"task": "a.py:f"}, {"task": "b.py:g"})
    assert compare_groups(group_studies(changed)) == []
    assert find_best(changed) is None
    text = describe(changed)
    assert "different tasks (f, g)" in text
    assert "best" not in text
    moved = write_pair(tmp_path / "one", {"task": "a.py:f"}, {"task": "/b/a.py:f"})
    assert len(compare_groups(group_studies(moved))) == 1
    assert find_best(moved) == 0


def test_searches_with_different_limits_are_not_ranked(tmp_path: Path) -> None:
    changed = write_pair(tmp_path, {}, {"limits": ["size<=10"]})
    assert compare_groups(group_studies(changed)) == []
    text = describe(changed)
    assert "different limits (none; size<=10)" in text
    assert "was best" not in text
    assert find_best(changed) == 0


@pytest.mark.parametrize("num", [5, 7, 8, 10])
def test_no_p_is_below_the_smallest_possible_one(num: int) -> None:
    groups = [
        Group(name, (), tuple(low + k / 1000 for k in range(num)))
        for name, low in (("a", 0.1), ("b", 0.5))
    ]
    (difference,) = compare_groups(groups)
    assert difference.p == pytest.approx(difference.min_p)


def test_of_trials_that_all_exceed_a_limit_none_is_called_the_best(tmp_path: Path) -> None:
    studies = [
        write_results(
            tmp_path / str(size),
            [{"metrics": {"loss": 0.1, "size": size}}],
            metrics=("loss", "size"),
            config={"limits": ["size<=10"]},
        )
        for size in (12, 11)
    ]
    text = describe(studies)
    assert "No trial keeps the limits" in text
    assert "trial 0 of 11" in text
    assert "best trial" not in text


def test_more_trials_than_are_sampled_are_not_too_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raytune_yesno.report.importance._MAX_TRIALS", 40)
    draw = random.Random(1)
    trials = [
        {"metrics": {"loss": draw.random()}, "point": {"x": draw.random(), "y": draw.random()}}
        for _ in range(60)
    ]
    space = {name: {"float": [0, 1]} for name in "xy"}
    text = describe_importance(measure_importance(write_results(tmp_path, trials, space=space)))
    assert "40 trials of 60" in text
    assert "more trials" not in text
