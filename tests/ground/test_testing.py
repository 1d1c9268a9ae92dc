"""The contract tests that the package ships: they hold for its own parts and find broken ones."""

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.config import register_task
from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.search import ALGORITHMS, build_algorithm
from raytune_yesno.space import Choice, Float, Int, Space
from raytune_yesno.testing import check_scheduler, check_search, check_task

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"
LIBRARY = {"genetic": "optuna", "cmaes": "cmaes"}
SPACE: Space = {
    "rate": Float(1e-4, 1e-1, log=True),
    "layers": Int(1, 4),
    "kind": Choice("a", "b", "c"),
}


@pytest.mark.parametrize("name", sorted({*ALGORITHMS} - {"manual", "grid"}))
def test_searches_keep_their_contract(name: str) -> None:
    if name in LIBRARY and importlib.util.find_spec(LIBRARY[name]) is None:
        pytest.skip(f"{LIBRARY[name]} is not installed")
    check_search(lambda seed: build_algorithm(name, SPACE, seed=seed), SPACE, num_trials=16)


@pytest.mark.parametrize("name", ["fifo", "asha", "median"])
def test_schedulers_keep_their_contract(name: str) -> None:
    check_scheduler(lambda: build_scheduler(name, 9))


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("sine", {"epochs": 3}),
        ("yesno", {"epochs": 2, "channels": "4", "data": "synthetic:20"}),
        ("sine", {"epochs": 2, "metric": "train_seconds"}),
        (
            "yesno",
            {
                "epochs": 2,
                "channels": "4",
                "data": "synthetic:20",
                "objectives": ["valid_wer", "real_time_factor", "num_parameters"],
            },
        ),
        (f"{EXAMPLES / 'digits.py'}:Digits", {"epochs": 2}),
        (f"{EXAMPLES / 'sgd_partial_fit.py'}:objective", {"epochs": 3}),
    ],
)
def test_tasks_keep_their_contract(task: str, config: dict[str, Any]) -> None:
    check_task(task, data=config.pop("data", ""), **config)


class Drifting:
    """A search that remembers what it was asked."""

    def __init__(self, seed: int) -> None:
        self.calls = 0

    def suggest(self, number: int, history: Any) -> dict[str, Any]:
        self.calls += 1
        return {"rate": 1e-3, "layers": 1 + self.calls % 4, "kind": "a"}


def test_a_search_with_a_memory_is_found() -> None:
    with pytest.raises(AssertionError, match="same answer"):
        check_search(Drifting, SPACE)


def test_a_generator_that_forgets_its_state_is_found() -> None:
    def function(config: dict[str, Any], checkpoint: Any = None) -> Any:
        for epoch in range(5):
            yield {"loss": float(epoch)}, epoch

    register_task("test:forgets", function)
    with pytest.raises(AssertionError, match="resumed"):
        check_task("test:forgets", metric="loss", epochs=4)


def test_metrics_that_are_undefined_in_both_runs_are_equal() -> None:
    def function(config: dict[str, Any]) -> Any:
        for epoch in range(3):
            yield {"loss": float(epoch), "recall": float("nan")}

    register_task("test:undefined", function)
    check_task("test:undefined", metric="loss", epochs=3)


def test_the_metric_that_differs_between_runs_is_named() -> None:
    calls = itertools.count()

    def function(config: dict[str, Any]) -> Any:
        return {"loss": 1.0, "calls": next(calls)}

    register_task("test:counts", function)
    with pytest.raises(AssertionError, match=r"(?s)calls.*equal metrics"):
        check_task("test:counts", metric="loss")
