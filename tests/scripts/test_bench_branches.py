"""The benchmark of a space with branches."""

import pytest

pytest.importorskip("optuna")

from bench.search.branches import (
    FORMS,
    TARGET,
    TREE,
    flatten,
    measure,
    search_branches,
    tell_branches,
)
from bench.search.runs import list_runs, make_run

from raytune_yesno.space import check_point


def test_the_optimum_is_in_one_branch_and_the_flat_space_has_all_parameters():
    best = {"model": "svm", "kernel": "rbf", "c": 10**1.5, "gamma": 10**-2.7}
    check_point(TREE, best)
    assert measure(best) == pytest.approx(0)
    assert measure({**best, "kernel": "linear"}) > TARGET
    assert set(flatten()) == TREE.names


@pytest.mark.parametrize("form", FORMS)
def test_each_search_runs_in_both_forms_until_the_target(form):
    losses = search_branches(form, "optuna-tpe", 3)["ended"]
    assert all(loss > TARGET for loss in losses[:-1])


def test_the_table_counts_runs():
    runs = list_runs("branches", 1, ["random"])
    table = "\n".join(tell_branches({run: make_run(run) for run in runs}))
    assert "| random | 1 |" in table
