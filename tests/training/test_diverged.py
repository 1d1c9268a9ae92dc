"""A run diverges by what decides it: an objective or the training loss. Others may be undefined."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.config import build_config, declare_task, register_task
from raytune_yesno.metrics import Metric, Objective
from raytune_yesno.tasks.sine import Sine
from raytune_yesno.training.loop import fit
from raytune_yesno.training.resume import find_best
from raytune_yesno.training.run import run_training

NAN = math.nan


def improve(config: dict[str, Any], checkpoint: int | None = None) -> Iterator[Any]:
    """Report a loss that falls, and a recall that is known in the third epoch only."""
    epoch = checkpoint or 0
    while True:
        epoch += 1
        yield {"loss": 1 / epoch, "recall": 0.5 if epoch == 3 else NAN}, epoch


def test_a_function_with_an_undefined_metric_trains_to_its_end_and_on(tmp_path: Path) -> None:
    register_task("test:undefined", improve)
    keys = {"task": "test:undefined", "metric": "loss", "epochs": 6, "num_workers": 0}
    config = build_config(keys, declaration=declare_task("test:undefined", space={}, config=keys))
    run = run_training(config, None, tmp_path, epochs=4)
    assert not run.diverged
    assert find_best(config.objective, run.history)["epoch"] == 4
    run = run_training(config, None, tmp_path, resume=True)
    assert [metrics["epoch"] for metrics in run.history] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("reported", "epochs"), [({"recall": NAN}, 3), ({"valid_loss": NAN}, 1)])
def test_so_does_a_model(
    reported: dict[str, float], epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = Sine.metrics_of
    monkeypatch.setattr(Sine, "metrics_of", lambda *given: validated(*given) | reported)
    records = list(fit(build_config({"task": "sine", "epochs": 3})))
    assert [record.diverged for record in records] == [False] * (epochs - 1) + [epochs == 1]
    assert len(records) == epochs


@pytest.mark.parametrize(
    ("record", "has_diverged"),
    [
        ({"loss": 1.0, "size": 2.0, "train_loss": 3.0, "recall": NAN}, False),
        ({"loss": NAN, "size": 2.0}, True),
        ({"loss": 1.0, "size": math.inf}, True),
        ({"loss": 1.0, "size": 2.0, "train_loss": NAN}, True),
        ({"train_loss": 3.0}, False),  # nothing is validated in a refit
    ],
)
def test_all_objectives_and_the_training_loss_decide(
    record: dict[str, float], has_diverged: bool
) -> None:
    objective = Objective(Metric("loss"), ties=(Metric("recall"),), others=(Metric("size"),))
    assert objective.has_diverged(record) == has_diverged
