"""PyTorch tasks of the user's own that do something wrong: one line says what."""

from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from raytune_yesno.config import build_config, register_task, setting
from raytune_yesno.errors import EveryTrialFails, InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.tasks.task import Step
from raytune_yesno.training.loop import fit


class Good:
    """Fits a line to a constant."""

    metrics: Any = (Metric("loss", mode="min"),)
    steps_per_epoch = steps_per_pass = 2
    train_scale = 1.0

    def __init__(self, config: Any, data: Any, device: Any, *, refit: bool = False) -> None:
        pass

    def build_model(self) -> Any:
        return nn.Linear(1, 1)

    def steps(self, epoch: int, rank: int, world_size: int) -> Any:
        for _ in range(2):
            yield Step(torch.ones(4, 1), 0.25)

    def loss(self, model: nn.Module, shard: Any, progress: float) -> Any:
        return (model(shard) - 2).pow(2).sum()

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Any:
        return torch.ones(1, dtype=torch.float64)

    def metrics_of(self, sums: Tensor) -> Any:
        return {"loss": sums[0]}


class WithoutMetrics(Good):
    metrics = ()


class WithoutValidation(Good):
    validate = None  # type: ignore[assignment]


class NoModel(Good):
    def build_model(self) -> Any:
        return "linear"


class NoSteps(Good):
    def steps(self, epoch: int, rank: int, world_size: int) -> Any:
        return None


class PlainLoss(Good):
    def loss(self, model: nn.Module, shard: Any, progress: float) -> Any:
        return 1.0


class LossPerExample(Good):
    def loss(self, model: nn.Module, shard: Any, progress: float) -> Any:
        return (model(shard) - 2).pow(2)


class ListOfSums(Good):
    def validate(self, model: nn.Module, rank: int, world_size: int) -> Any:
        return [1.0]


class NoReport(Good):
    def metrics_of(self, sums: Tensor) -> Any:
        return None


class OtherMetrics(Good):
    def metrics_of(self, sums: Tensor) -> Any:
        return {"lost": 1.0}


class SingleMetric(Good):
    metrics = Metric("loss")


class UnknownMode(Good):
    metrics = (Metric("loss", mode="maximise"),)  # type: ignore[arg-type]


class ReservedMetric(Good):
    metrics = (Metric("error"),)


class PlainSettings(Good):
    @dataclass(frozen=True)
    class Settings:
        hidden: int = 32


class UnknownType(Good):
    Settings = make_dataclass("Settings", [("sizes", list[int], setting(None, ""))], frozen=True)


class NameOfTheEngine(Good):
    @dataclass(frozen=True)
    class Settings:
        objective: str = setting("mse", "a loss")


class UnknownDefault(Good):
    defaults: ClassVar[Any] = {"batchsize": 4}


class PlainSteps(Good):
    def steps(self, epoch: int, rank: int, world_size: int) -> Any:
        return [(torch.ones(4, 1), 0.25)]


class EmptySteps(Good):
    def steps(self, epoch: int, rank: int, world_size: int) -> Any:
        return []


class NoCount(Good):
    steps_per_epoch = 0


def test_a_task_that_ignores_double_precision_is_refused() -> None:
    with pytest.raises(EveryTrialFails, match="dtype=float64"):
        next(train(Good, dtype="float64"))


@pytest.mark.parametrize("task", [NoModel, NoSteps, PlainLoss, ListOfSums])
def test_what_a_method_returns_fails_every_trial(task: type) -> None:
    with pytest.raises(EveryTrialFails):
        next(train(task))


def train(task: type, **changes: Any) -> Iterator[Any]:
    name = f"tests:{task.__name__}"
    register_task(name, task)
    return fit(build_config({"task": name, "epochs": 2, **changes}), None)


def test_a_tensor_of_one_number_is_a_metric() -> None:
    assert [record.metrics["loss"] for record in train(Good)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (WithoutMetrics, "lacks metrics"),
        (WithoutValidation, "lacks validate"),
        (NoModel, "build_model .* not a str"),
        (NoSteps, "steps .* not a NoneType"),
        (PlainLoss, "loss .* not a float"),
        (LossPerExample, r"loss .* shape \(4, 1\)"),
        (ListOfSums, "validate .* not a list"),
        (NoReport, "metrics.* NoneType"),
        (OtherMetrics, "'loss' .* 'lost'"),
        (SingleMetric, r"metrics is .*write metrics = \("),
        (UnknownMode, "'maximise'.*'max'"),
        (ReservedMetric, "'error' is a reserved name"),
        (PlainSettings, "hidden .*setting"),
        (UnknownType, "sizes .*list"),
        (NameOfTheEngine, "'objective' .*objective_"),
        (UnknownDefault, "defaults .*'batchsize'.*'batch_size'"),
        (PlainSteps, "steps .*Step.* not a tuple"),
        (EmptySteps, "steps .*nothing"),
        (NoCount, "steps_per_epoch .* 0"),
    ],
)
def test_the_method_and_what_it_returned_are_named(task: type, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        list(train(task))
    assert len(str(raised.value).splitlines()) == 1
