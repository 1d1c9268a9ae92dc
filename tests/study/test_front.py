"""The front of a recorded study: its members, its hypervolume, the choice from it."""

import dataclasses
import math
import random

import pytest
from helpers.fronts import write_front

from raytune_yesno import pareto
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric, Objective
from raytune_yesno.study import Study, Trial, load
from raytune_yesno.study.front import list_vectors, measure_hypervolume, trace_hypervolume
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.refit import list_refits


def numbers(study: Study) -> list[int]:
    return [trial.number for trial in study.front]


def test_the_front_holds_the_trials_that_none_dominates(tmp_path):
    study = write_front(tmp_path)
    assert numbers(study) == [4, 1, 2, 0]
    rows = {row["trial"]: row["front"] for row in study.trial_rows}
    assert [number for number in rows if rows[number]] == [0, 1, 2, 4]
    # 0.8 with 100: nearest to the best of both, with sizes on a logarithmic scale
    assert study.best.number == 2
    assert [each.trial.number for each in study.candidates][:4] == [2, 4, 1, 0]


def test_hypervolume_grows_with_the_trials_and_states_its_reference(tmp_path):
    study = write_front(tmp_path)
    volume, reference = study.hypervolume
    assert reference == pytest.approx((-0.5 + 0.041, 9000 + 899))
    # (0.8, 100) adds to (0.5, 10); each slab between two accuracies has its own smallest size
    slabs = [(0.041, 10), (0.3, 100), (0.1, 1000), (0.01, 9000)]
    assert volume == pytest.approx(sum(width * (9899 - size) for width, size in slabs))
    rows = trace_hypervolume(study.trial_list)
    assert [row[:2] for row in rows] == [(n, 2 * n) for n in range(1, 7)]
    volumes = [row[2] for row in rows]
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(volume, rel=1e-12)


def test_the_hypervolume_of_many_objectives_is_traced():
    """Computed anew for each member of the front, that of this one would take minutes."""
    draw, names = random.Random(0), "abcdef"
    objective = Objective(Metric("a"), others=tuple(map(Metric, names[1:])))
    trials = []
    for number in range(100):
        values = [abs(draw.gauss(0, 1)) for _ in names]
        epoch = {"epoch": 1, "ended": float(number)}
        epoch |= dict(zip(names, (value / math.hypot(*values) for value in values), strict=True))
        trials.append(Trial(number, {}, "done", [epoch], objective=objective))
    volume, reference = measure_hypervolume(trials)
    rows = trace_hypervolume(trials)
    assert rows[-1][2] == pytest.approx(volume)
    assert rows[9][2] == pytest.approx(pareto.hypervolume(list_vectors(trials[:10]), reference))


@pytest.mark.parametrize(
    ("prefer", "number"), [("size<=1000", 1), ("size<=5", 0), ("accuracy>=0.75", 4)]
)
def test_a_preference_chooses_from_the_front(tmp_path, prefer, number):
    assert write_front(tmp_path, prefer=prefer).best.number == number


def test_limits_keep_trials_off_the_front(tmp_path):
    study = write_front(tmp_path, limits=["size<=500"])
    assert numbers(study) == [2, 0]
    assert [row["feasible"] for row in study.trial_rows] == [True, False, True, True, False, True]


def test_without_a_feasible_trial_the_nearest_one_is_best(tmp_path):
    study = write_front(tmp_path, limits=["accuracy>=0.95"])
    assert study.best.number == 4
    assert not study.objective.is_feasible(study.best.metrics)


def test_repeats_are_judged_by_their_means(tmp_path):
    study = write_front(tmp_path, repeats=[((0.3, 100), 2)])  # trial 2 was lucky: its mean is 0.55
    assert 2 not in numbers(study)
    assert 3 in numbers(study)


def test_a_report_by_one_metric_has_no_front(tmp_path):
    write_front(tmp_path)
    study = load(tmp_path, metric="accuracy")
    assert numbers(study) == [4]
    assert "front" not in study.trial_rows[0]


def test_a_preference_needs_a_known_metric(tmp_path):
    with pytest.raises(InputError, match="prefer"):
        write_front(tmp_path, prefer="speed<=3").best  # noqa: B018


def test_a_kill_between_the_refits_of_a_front_repeats_none_and_misses_none(tmp_path):
    def list_missing():
        return [each.trial.number for each in list_refits(load(tmp_path))]

    write_front(tmp_path, refit="all")
    missing = [4, 1, 0, 2]  # the chosen trial is the last
    while missing:
        assert list_missing() == missing
        assert load(tmp_path).refit is None
        StudyStore(tmp_path).append("refitted", trial=missing.pop(0))
    assert load(tmp_path).refit["trial"] == 2
    assert len(load(tmp_path).refits) == 4
    # Another choice from the front needs its own refit, and no other one again.
    StudyStore(tmp_path).append("resumed", searched=True, prefer="size<=1000")
    assert load(tmp_path).searched
    assert load(tmp_path).refit is None
    assert list_missing() == [1]


def test_only_first_trainings_that_ended_with_a_result_count_in_the_hypervolume(tmp_path):
    """A repeat would add its luck, and a trial that runs or diverged is in no front."""
    study = write_front(tmp_path)
    before = study.hypervolume
    lucky = study.trial_list[0]
    changes = ({"repeat_of": 0}, {"status": "running"}, {"status": "diverged"})
    for change in changes:
        epochs = [{**epoch, "accuracy": 1.0, "size": 1} for epoch in lucky.epochs]
        other = dataclasses.replace(lucky, number=99, epochs=epochs, **change)
        assert measure_hypervolume([*study.trial_list, other]) == before
        traced = trace_hypervolume([*study.trial_list, other])
        assert traced[-1][2] == pytest.approx(before[0], rel=1e-12)


@pytest.mark.parametrize("given", [{"metric": "accuracy"}, {"metric": "size", "mode": "max"}])
def test_limits_hold_by_whatever_metric_trials_are_judged(tmp_path, given):
    write_front(tmp_path, limits=["size<=500"])
    study = load(tmp_path, **given)
    assert study.objective.others == ()
    assert study.best.metrics["size"] <= 500
    assert [trial.is_feasible for trial in study.ranking] == [True] * 4 + [False] * 2
