"""What studies with limits say if their best figures exceed the limits."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.results import write_results

from raytune_yesno.commands.tune import describe_result
from raytune_yesno.metrics import Metric, Objective, read_limit
from raytune_yesno.report.attainment import measure_attainment
from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.front import (
    build_front_payload,
    count_members,
    describe_choice,
    describe_limits,
    tabulate_front,
)
from raytune_yesno.report.leaderboard import format_leaderboards
from raytune_yesno.report.study_groups import compare_groups, find_best, group_studies
from raytune_yesno.report.summary import (
    answer_gain,
    answer_more_trials,
    describe_common_front,
    describe_studies,
)
from raytune_yesno.report.tuning_gain import describe_gain
from raytune_yesno.search import Observation
from raytune_yesno.search.repeats import Repeats
from raytune_yesno.study import Study, Trial
from raytune_yesno.tuning.stop_conditions import StopConditions, StopMonitor

ERROR, SIZE = Metric("error"), Metric("size")


def build_study(results, bound, others=(), name="study"):
    """Return a study of trials with pairs of an error and a size, which has an upper bound."""
    limits = (read_limit(f"size<={bound}", (ERROR, SIZE)),)
    objective = Objective(ERROR, others=others, limits=limits)
    trials = []
    for number, (error, size) in enumerate(results):
        timed = {"trial": number, "attempt": 1, "began": 0.0, "ended": float(number)}
        told = {"epoch": 1, "error": error, "size": size, "seconds": 1.0}
        where = {"host": "a", "node": "a", "pid": 1}
        point = {"x": number}
        trials.append(
            Trial(number, point, "done", [{**told, **timed, **where}], objective=objective)
        )
    asked = {"time": 0.0, "space": {"x": {"int": [0, 99]}}, "config": {}, "search": name}
    return Study(Path(name), asked, trials, None, True, 99.0, [], [], objective=objective)


def test_the_best_so_far_and_the_best_of_all_keep_the_limits():
    small = build_study([(0.1, 50), (0.4, 5), (0.3, 5)], 10)
    large = build_study([(0.2, 50)], 10, name="large")
    assert [value for _, value in trace_best(small)["trials"]] == [0.4, 0.3]
    assert find_best([large, small]) == 1
    assert [group.bests for group in group_studies([large, small])] == [(), (0.3,)]


def test_trials_beyond_a_limit_are_not_counted_among_those_that_could_be_best():
    study = build_study([(0.5, 5)] * 8 + [(0.001, 50)] * 8, 10)
    assert "0.001" not in answer_more_trials(study).text


@pytest.mark.parametrize("others", [(), (SIZE,)])
@pytest.mark.parametrize("size", [50.0, float("inf")])
def test_studies_in_which_no_trial_keeps_the_limits_are_compared(others, size):
    studies = [build_study([(0.1, size), (0.2, size)], 10, others, name) for name in "ab"]
    groups = group_studies(studies)
    texts = describe_studies(studies, ["a", "b"], groups, compare_groups(groups))
    assert not any("was best" in text for text in texts)
    assert "a" in format_leaderboards(studies)
    assert len(build_front_payload(studies)) == 2
    assert measure_attainment(studies, groups) == []


@pytest.mark.parametrize("others", [(), (SIZE,)])
def test_more_trials_are_judged_by_how_many_keep_the_limits(others):
    for sizes, kept in (([50] * 9, 0), ([5] * 3 + [50] * 9, 3)):
        study = build_study([(n / 10, size) for n, size in enumerate(sizes)], 10, others)
        text = answer_more_trials(study).text
        assert f"{kept} of {len(sizes)}" in text
        assert "limit" in text


def test_trials_of_which_none_keeps_the_limits_are_no_front():
    study = build_study([(0.1, 50), (0.2, 20)], 10, (SIZE,))
    text = count_members(study)
    assert "limit" in text
    assert "0 trials" not in text
    assert "dominates" not in text


def find_gain(study, x):
    """Return what is said of tuning if the point ``x`` is the one without tuning."""
    tuned = replace(study, settings={**study.settings, "config": {"x": x}})
    text = describe_gain(tuned)
    assert [answer.text for answer in answer_gain(tuned)] == [text]
    assert text in list(describe_result(tuned, {}, "study"))
    return text


def test_the_gain_names_the_limit_that_the_settings_without_tuning_exceed():
    text = find_gain(build_study([(0.1, 50), (0.4, 5)], 10), 0)
    untuned, chosen = text.split(";")
    assert "size<=10" in untuned
    assert "size" not in chosen
    assert "luck" not in text  # the chosen point is the worse one without the limit
    # Equal errors, of which one keeps the limit
    text = find_gain(build_study([(0.1, 50), (0.1, 5)], 10), 0)
    assert "size<=10" in text
    assert "nothing" not in text
    assert "luck" not in text


def test_the_gain_is_luck_only_if_there_is_one():
    kept = build_study([(0.5, 5), (0.4, 5)], 10)
    assert "luck" in find_gain(kept, 0)
    assert "size" not in find_gain(kept, 0)
    assert "luck" in find_gain(build_study([(0.5, 50), (0.4, 5)], 10), 0)
    # Nothing keeps the limit, and the settings without tuning are the nearest to it.
    text = find_gain(build_study([(0.5, 20), (0.4, 50)], 10), 0)
    assert "nothing" in text
    assert "size<=10" in text


def test_the_gain_of_several_objectives_is_luck_only_if_all_are_better():
    study = build_study([(0.1, 9), (0.2, 8), (0.9, 9)], 10, others=(SIZE,))
    assert study.best.number in (0, 1)
    assert "luck" not in find_gain(study, 1 - study.best.number)
    assert "luck" in find_gain(study, 2)


def test_each_study_with_a_result_of_the_common_front_is_counted():
    first = build_study([(0.1, 9), (0.2, 5), (0.2, 5), (0.3, 4)], 10, (SIZE,), "a")
    second = build_study([(0.1, 9), (0.2, 5), (0.9, 9), (0.01, 50)], 10, (SIZE,), "b")
    there = describe_common_front([first, second], ["a", "b"])
    back = describe_common_front([second, first], ["b", "a"])
    for text in (there, back):
        assert "6 trials" in text
        assert "4 of a" in text
        assert "2 of b" in text


def test_patience_and_target_count_results_that_keep_the_limits():
    objective = build_study([], 10).objective
    monitor = StopMonitor(StopConditions(patience=2, target="error=0.1"), objective)
    for number, (error, size) in enumerate([(0.05, 50), (0.06, 30), (0.5, 5), (0.3, 5)]):
        monitor.epoch(number, {"error": error, "size": size})
        monitor.ended(number, "done")
        assert monitor.reason is None
    monitor.epoch(4, {"error": 0.1, "size": 10})
    assert "reached" in (monitor.reason or "")


def test_a_point_beyond_a_limit_is_not_repeated():
    history = [
        Observation(0, {"x": 0}, 0.1, 1, "done", excesses=(0.5,)),
        Observation(1, {"x": 1}, 0.3, 1, "done", excesses=(-0.5,)),
        Observation(2, {"x": 2}, 0.4, 1, "done", excesses=(-0.5,)),
    ]
    again = Repeats(1, 3).propose(lambda number, seen: None, 3, history)
    assert again is not None
    assert again.repeat_of == 1


@pytest.mark.parametrize(("first", "again", "is_kept"), [(0.04, 0.08, False), (0.06, 0.03, True)])
def test_limits_and_choice_are_told_of_the_mean_that_decides(tmp_path, first, again, is_kept):
    trials = [
        {"metrics": {"wer": first, "size": 9}},
        {"metrics": {"wer": again, "size": 9}, "repeat_of": 0, "seed": 3},
    ]
    names = ("wer", "size")
    limited = {"limits": ["wer<=0.05"]}
    study = write_results(tmp_path / "one", trials, metrics=names, config=limited)
    text = describe_limits(study)
    assert ("kept" in text) == is_kept
    assert is_kept or "0.06, mean of 2 trainings" in text
    assert study.trial_rows[0]["feasible"] == is_kept
    several = {"objectives": ["size", "wer"]}
    study = write_results(
        tmp_path / "two", trials, metrics=names, config=several, prefer="wer<=0.05"
    )
    assert ("no member keeps it" not in describe_choice(study)) == is_kept
    (row,) = tabulate_front(study).rows
    assert row[2] == f"{(first + again) / 2:.4g}"


def test_tuning_gains_the_other_members_of_the_front():
    study = build_study([(0.5, 50), (0.1, 100), (0.9, 5), (0.8, 90)], 999, (SIZE,))
    assert study.best.number == 0
    text = find_gain(study, 0)
    assert "nothing" not in text
    assert "2 other members" in text
    alone = build_study([(0.1, 5), (0.2, 9)], 999, (SIZE,))
    assert "nothing" in find_gain(alone, 0)
