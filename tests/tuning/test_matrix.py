"""Tasks, generators and functions with every kind of search, with and without early stopping."""

from pathlib import Path
from typing import Any

import pytest
from helpers.killing import run_and_kill
from helpers.matrix import EPOCHS, TRIALS, run_on, run_study

from raytune_yesno.study import Study

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["task", "generator", "function"])
@pytest.mark.parametrize("scheduler", ["asha", "fifo"])
@pytest.mark.parametrize("search", ["tpe", "bayesian", "random"])
def test_a_study_is_the_same_again_and_after_a_kill(
    kind: str, search: str, scheduler: str, ray_cluster: str, tmp_path: Path
) -> None:
    epochs = 1 if kind == "function" else EPOCHS
    first = run_study(kind, search, scheduler, tmp_path / "first")
    assert first.refit
    trials = list_results(first)
    assert len(trials) == TRIALS
    statuses = {status for _, status, _ in trials}
    assert statuses <= ({"done", "stopped"} if scheduler == "asha" else {"done"})
    assert all(len(losses) == epochs for _, status, losses in trials if status == "done")

    again = run_study(kind, search, scheduler, tmp_path / "again", max_concurrent=2)
    assert list_results(again) == trials

    killed = tmp_path / "killed"
    arguments = (ray_cluster, kind, search, scheduler, killed)
    assert run_and_kill(run_on, arguments, killed, moment=20)
    assert list_results(run_study(kind, search, scheduler, killed)) == trials


def list_results(study: Study) -> list[Any]:
    return [
        (trial.point, trial.status, [epoch["loss"] for epoch in trial.epochs])
        for trial in study.trial_list
    ]
