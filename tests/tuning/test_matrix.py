"""Generators and functions with every kind of search, with and without early stopping."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno import tune
from raytune_yesno.space import Float

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

SPACE = {"learning_rate": Float(1e-3, 1.0, log=True)}
TRIALS, EPOCHS = 16, 4


def descend(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
    """Approach 0 at a rate, an epoch at a time."""
    epoch, value = checkpoint or (0, 1.0)
    while epoch < config["epochs"]:
        epoch, value = epoch + 1, value * (1 - config["learning_rate"])
        yield {"loss": value}, (epoch, value)


def parabola(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": (config["learning_rate"] - 0.3) ** 2}


@pytest.mark.parametrize("scheduler", ["asha", "fifo"])
@pytest.mark.parametrize("search", ["tpe", "bayesian", "random"])
@pytest.mark.parametrize("kind", [descend, parabola])
def test_a_study_has_all_its_trials_and_is_the_same_again(
    kind: Any, search: str, scheduler: str, tmp_path: Path
) -> None:
    epochs = 1 if kind is parabola else EPOCHS

    def run(name: str) -> list[Any]:
        study = tune(
            kind,
            SPACE,
            metric="loss",
            trials=TRIALS,
            search=search,
            scheduler=scheduler,
            epochs=epochs,
            ordered=True,
            out=tmp_path / name,
            quiet=True,
        )
        assert study.refit
        return [
            (trial.point, trial.status, [epoch["loss"] for epoch in trial.epochs])
            for trial in study.trial_list
        ]

    trials = run("first")
    assert len(trials) == TRIALS
    statuses = {status for _, status, _ in trials}
    assert statuses <= ({"done", "stopped"} if scheduler == "asha" else {"done"})
    assert all(len(losses) == epochs for _, status, losses in trials if status == "done")
    assert run("again") == trials
