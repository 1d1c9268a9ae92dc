"""A refit that learns much less than its trial is detected and repeated with another seed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from raytune_yesno.config import build_config
from raytune_yesno.metrics import TRAIN_LOSS, Metric
from raytune_yesno.space import Float, Int, Space
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE, StudyStore
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.task import Step
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.refit import MAX_REFITS, list_refits, run_refit


class Plateau:
    """One weight that gradient descent moves to 1, except with seeds that keep it at 0."""

    metrics = (Metric("valid_loss"), TRAIN_LOSS)
    defaults = {"epochs": 3, "num_workers": 0, "optimizer": "sgd", "learning_rate": 0.4}  # noqa: RUF012
    stuck: frozenset[int] = frozenset()
    steps_per_epoch = steps_per_pass = 1
    train_scale = 1.0

    def __init__(self, config: Any, data: None, device: torch.device, *, refit: bool = False):
        self.scale = 0.0 if refit and config.seed in self.stuck else 1.0

    def build_model(self) -> torch.nn.Module:
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(model.weight)
        return model

    def steps(self, epoch: int, rank: int, world_size: int) -> list[Step]:
        return [Step(torch.ones(1, 1), 1.0)]

    def loss(self, model: torch.nn.Module, shard: Any, progress: float) -> torch.Tensor:
        return (self.scale * model(shard) - 1).square().sum()

    def validate(self, model: torch.nn.Module, rank: int, world_size: int) -> torch.Tensor:
        return torch.zeros(1, dtype=torch.float64)

    def metrics_of(self, sums: torch.Tensor) -> dict[str, float]:
        return {"valid_loss": 0.1}


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """Record a study with one trial that learned."""
    name = f"{__name__}:Plateau"
    TASKS.trust(name)
    config = build_config({"task": name, "warmup": 0})
    store = StudyStore(tmp_path)
    space: Space = {"learning_rate": Float(0.4, 0.4)}
    plan = Plan(config, space, search="random", trials=1)
    store.append("study", slots=1, data="", corpus={}, versions={}, **plan.as_dict())
    store.append("asked", trial=0, point={"learning_rate": 0.4})
    store.append("started", trial=0)
    where = {"host": "here", "pid": 1, "began": 0.0, "ended": 1.0, "seconds": 1.0}
    for epoch, loss in enumerate((1.0, 0.3, 0.1), start=1):
        figures = {"train_loss": loss, "valid_loss": loss}
        store.append("epoch", trial=0, epoch=epoch, attempt=1, **figures, **where)
    store.append("ended", trial=0, status="done")
    store.append("searched")
    return tmp_path


@pytest.mark.parametrize("parent", ["refit", "studies"])
def test_members_of_the_front_are_trained_once_wherever_the_study_is(
    parent: str, tmp_path: Path
) -> None:
    folder = tmp_path / parent / "study"
    config = build_config({"task": "sine", "objectives": ["valid_loss", "num_parameters"]})
    plan = Plan(config, {"hidden_units": Int(1, 9)}, search="random", trials=2, refit="all")
    store = StudyStore(folder)
    store.append("study", slots=1, data="", corpus={}, versions={}, **plan.as_dict())
    for number in (0, 1):
        figures = {"valid_loss": 1.0 - number, "num_parameters": 1 + number, "train_loss": 1.0}
        about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1, "epoch": 1}
        store.append("asked", trial=number, point={"hidden_units": 1 + number})
        store.append("started", trial=number, attempt=1)
        store.append("epoch", trial=number, **figures, **about)
        store.append("ended", trial=number, status="done")
    first, last = [each.trial.number for each in list_refits(load(folder))]
    folder_of_first = str(folder / f"refits/trial_{first}/last")
    store.append("refitted", trial=first, checkpoint=folder_of_first, test=None)
    assert [each.trial.number for each in list_refits(load(folder))] == [last]


@pytest.mark.parametrize("stuck", [0, 1, 2])
def test_it_is_tried_with_the_next_seed(
    study_folder: Path, monkeypatch: pytest.MonkeyPatch, stuck: int
) -> None:
    monkeypatch.setattr(Plateau, "stuck", frozenset(range(stuck)))
    notes: list[str] = []
    refit = run_refit(load(study_folder), None, note=notes.append)
    assert refit["seed"] == stuck
    assert len(notes) == stuck
    assert load(study_folder).refit is not None


def test_the_last_is_kept_and_said(study_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plateau, "stuck", frozenset(range(MAX_REFITS)))
    notes: list[str] = []
    refit = run_refit(load(study_folder), None, note=notes.append)
    assert refit["seed"] == MAX_REFITS - 1
    assert len(notes) == MAX_REFITS
    assert Path(refit["checkpoint"]).is_dir()


def test_the_seed_after_the_largest_one_is_0(
    study_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, largest = study_folder / STORE, 2**31 - 1
    record.write_text(record.read_text().replace('"seed": 0', f'"seed": {largest}', 1))
    monkeypatch.setattr(Plateau, "stuck", frozenset({largest}))
    assert run_refit(load(study_folder), None)["seed"] == 0


def test_a_refit_of_other_code_trains_again(study_folder: Path) -> None:
    class Changed(Plateau):
        def metrics_of(self, sums: torch.Tensor) -> dict[str, float]:
            return {"valid_loss": 0.2}

    name, epochs = f"{__name__}:Plateau", list[int]()
    for task, trained in ((Plateau, 3), (Plateau, 3), (Changed, 6), (Changed, 6)):
        TASKS.put(name, task)
        run_refit(load(study_folder), None, on_epoch=lambda metrics: epochs.append(1))
        assert len(epochs) == trained
