"""What a class or a function declares is read once; a misspelt part of it is named."""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from raytune_yesno.config import find_task, register_task, setting
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.space import Float
from raytune_yesno.task_declaration import TaskDeclaration


class Line:
    """Has what a task needs, and nothing more."""

    metrics: ClassVar[Any] = (Metric("loss"),)

    def build_model(self) -> None: ...

    def steps(self) -> None: ...

    def loss(self) -> None: ...

    def validate(self) -> None: ...

    def metrics_of(self) -> None: ...


def declare(task: Any) -> TaskDeclaration:
    register_task("test:declared", task)
    return find_task("test:declared")


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("cost_metric", (Metric("flops"),), "cost_metrics"),
        ("cost_metric", Metric("flops"), "cost_metrics"),
        ("default", {"epochs": 8}, "defaults"),
        ("desribe_test", staticmethod(str), "describe_test"),
        ("loaddata", staticmethod(str), "load_data"),
        ("laod_data", lambda source, **options: None, "load_data"),
        ("cost", lambda config, data: {}, "costs"),
        ("measure_cost", lambda config, data: {}, "measure_costs"),
        ("setting", type("setting", (), {}), "Settings"),
        ("settings", type("settings", (), {}), "Settings"),
        ("spaces", {"x": Float(0, 1)}, "space"),
        ("refit", False, "refits"),
        ("next_command", ["evaluate {}"], "next_commands"),
    ],
)
def test_a_misspelt_part_is_named_with_the_one_that_was_meant(
    name: str, value: Any, meant: str
) -> None:
    with pytest.raises(InputError, match=f"test:declared: '{name}' .*{meant}"):
        declare(type("Misspelt", (Line,), {name: value}))


def test_a_misspelt_part_that_is_required_is_named() -> None:
    parts = {key: value for key, value in vars(Line).items() if key != "metrics_of"}
    with pytest.raises(InputError, match=r"'metric_of' .*'metrics_of'"):
        declare(type("Misspelt", (), {**parts, "metric_of": Line.metrics_of}))


def test_a_misspelt_part_of_a_base_is_named() -> None:
    class Base(Line):
        default: ClassVar[Any] = {"epochs": 8}

    with pytest.raises(InputError, match="'default'"):
        declare(type("Derived", (Base,), {}))


@pytest.mark.parametrize(
    "own",
    [
        {"loader": None, "model": None, "steps_total": 7, "test_loader": None, "data": {}},
        {"cost": lambda self, x: x, "tests": lambda self: [], "refit": lambda self: None},
        {"load_dataset": staticmethod(str), "load": staticmethod(str), "test_size": 0.2},
        {"costs_of": None, "cost": None, "TEST": "test.csv", "DEFAULTS": {"a": 1}, "default": 0.1},
        {"test_metrics": (Metric("a"),), "train_metrics": [], "metric": "loss", "losses": []},
        {"defaults": {"epochs": 2}, "default": {"epochs": 3}, "_default": {}},
        {"spaces": property(lambda self: {}), "describe": staticmethod(str), "loops": 3},
        {"scale": 1.0, "train_steps": 3, "step": 1, "validation": None, "build": staticmethod(str)},
    ],
)
def test_other_attributes_of_a_class_are_its_own_affair(own: dict[str, Any]) -> None:
    assert declare(type("Mine", (Line,), own)).name == "test:declared"


def test_attributes_of_an_installed_base_are_not_the_users(monkeypatch: Any) -> None:
    monkeypatch.setattr(functools.partialmethod, "default", {"epochs": 2}, raising=False)
    assert declare(type("Mine", (Line, functools.partialmethod), {})).defaults == {}


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("metric", (Metric("loss"),), "metrics"),
        ("spaces", {"x": Float(0, 1)}, "space"),
        ("cost", lambda config: {}, "costs"),
    ],
)
def test_a_misspelt_attribute_of_a_function_is_named(name: str, value: Any, meant: str) -> None:
    def objective(config: dict[str, Any]) -> dict[str, float]:
        return {"loss": config["x"]}

    vars(objective).update({"calls": 0, "saved": [], "best": None})
    assert declare(objective).function
    setattr(objective, name, value)
    with pytest.raises(InputError, match=f"'{name}' .*{meant}"):
        declare(objective)


def test_a_class_and_a_function_are_declared_by_the_same_fields() -> None:
    @dataclass(frozen=True)
    class Settings:
        width: int = setting(4, "units")

    made = {"Settings": Settings, "test": staticmethod(str), "defaults": {"epochs": 3}}
    task = declare(type("Mine", (Line,), made))
    assert (task.Settings, task.test, task.defaults) == (Settings, str, {"epochs": 3})
    assert (task.trains_model, task.refits, task.function) == (True, True, None)

    def objective(config: dict[str, Any]) -> dict[str, float]:
        return {"loss": config["x"]}

    vars(objective).update(space={"x": Float(0, 1)}, metrics=(Metric("loss"),))
    task = declare(objective)
    assert (task.trains_model, task.refits) == (False, False)
    assert (task.metrics, task.space) == ((Metric("loss"),), {"x": Float(0, 1)})


def test_a_part_that_is_none_is_not_there() -> None:
    task = declare(type("Mine", (Line,), {"test": None, "load_data": None, "space": None}))
    assert (task.test, task.load_data, task.space) == (None, None, {})
