"""What a checkpoint cannot hold is refused when it is written; what it holds is read back."""

import copy
import dataclasses
import functools
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raytune_yesno.checkpoint import (
    UnusableCheckpoint,
    load_checkpoint,
    load_optimizer,
    restore_model,
)
from raytune_yesno.config import build_config, register_task
from raytune_yesno.errors import EveryTrialFails, InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.tasks.speech.networks import MLP
from raytune_yesno.tasks.task import Step, check_same_data
from raytune_yesno.training.function_loop import decode_state, encode_state
from raytune_yesno.training.loop import build_optimizer, fit
from raytune_yesno.training.resume import load_resumable

NO_FUNCTIONS: Any = types.SimpleNamespace(save=None, load=None)


class Line:
    """Fits y = 3 x."""

    metrics: ClassVar[Any] = (Metric("loss"),)
    steps_per_epoch, steps_per_pass, train_scale = 2, 1, 1 / 8

    def __init__(self, config: Any, data: Any, device: Any, *, refit: bool = False) -> None:
        self.x = torch.linspace(-1, 1, 8)[:, None]

    def build_model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def steps(self, epoch: int, rank: int, world_size: int) -> Any:
        return [Step(self.x[rank::world_size], 1 / 8)] * self.steps_per_epoch

    def loss(self, model: nn.Module, shard: Tensor, progress: float) -> Tensor:
        return (model(shard) - 3 * shard).square().sum()

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        return self.loss(model, self.x[rank::world_size], 1.0)[None].double()

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        return {"loss": sums[0].item() / 8}


class WithVersion(nn.Linear):
    def get_extra_state(self) -> Any:
        return {"version": 2}

    def set_extra_state(self, state: Any) -> None:
        pass


class ExtraState(Line):
    def build_model(self) -> nn.Module:
        return WithVersion(1, 1)


class Calibrated(Line):
    calibration: Any = True


class CalibratedByTensor(Line):
    calibration = torch.ones(2)


class DrawnByNumpy(Line):
    def build_model(self) -> nn.Module:
        model = nn.Linear(1, 1)
        basis = np.linalg.qr(torch.randn(3, 3).numpy())[0]
        with torch.no_grad():
            model.weight.fill_(float(basis[0, 0]))
        return model


@functools.cache
def sines(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32).sin()


class WithTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        self.register_buffer("table", sines(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x) + self.table.mean()


class Moving(nn.Module):
    """A model whose constructor reads a tensor and moves the model, as on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        self.layer = nn.Linear(1, 1)
        self.to("cpu")

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * sum(self.rates)


class MovedModel(Line):
    def build_model(self) -> nn.Module:
        return Moving()


class CachedTable(Line):
    def build_model(self) -> nn.Module:
        return WithTable()


class Read:
    def __init__(self, source: Any, fingerprint: Any, recorded: Any) -> None:
        self.source, self.fingerprint, self.recorded = source, fingerprint, recorded


def configure(task: type, **changes: Any) -> Any:
    name = f"checkpoints:{task.__name__}"
    register_task(name, task)
    return build_config({"task": name, "epochs": 2, **changes})


@pytest.mark.parametrize(
    ("task", "word"),
    [
        (ExtraState, "_extra_state"),
        (Calibrated, "calibration .* True"),
        (CalibratedByTensor, "calibration .* tensor"),
    ],
)
def test_what_cannot_be_read_back_is_refused_before_the_first_epoch(task: type, word: str) -> None:
    with pytest.raises(EveryTrialFails, match=word) as raised:
        next(fit(configure(task)))
    assert len(str(raised.value).splitlines()) == 1


class CalibratedLater(Line):
    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        self.calibration = {"threshold": 1}
        return super().metrics_of(sums)


def test_a_calibration_is_checked_after_the_epoch_that_sets_it() -> None:
    with pytest.raises(EveryTrialFails, match=r"calibration .*threshold"):
        next(fit(configure(CalibratedLater)))


class CalibratedByNumpy(Line):
    calibration: ClassVar = {"threshold": np.float64(0.5)}


def test_numbers_of_numpy_are_a_calibration(tmp_path: Path) -> None:
    next(fit(configure(CalibratedByNumpy))).save(tmp_path / "last")
    assert load_checkpoint(tmp_path / "last").calibration == {"threshold": 0.5}


def test_descriptions_of_data_are_stored_as_texts(tmp_path: Path) -> None:
    data: Any = Read(Path("folder"), 12345, {"classes": 10})
    next(fit(configure(Line), data)).save(tmp_path / "last")
    found = load_checkpoint(tmp_path / "last").corpus
    assert found == {"source": "folder", "fingerprint": "12345", "classes": "10"}
    check_same_data(data, found, "this run")
    with pytest.raises(InputError, match="has changed"):
        check_same_data(Read(Path("folder"), 1, {}), found, "this run")


@pytest.mark.parametrize("task", [DrawnByNumpy, CachedTable, MovedModel])
def test_models_whose_constructor_computes_are_resumed(task: type, tmp_path: Path) -> None:
    sines.cache_clear()
    config = configure(task)
    first, last = fit(config), [record.metrics for record in fit(config)][-1]
    next(first).save(tmp_path / "last")
    sines.cache_clear()
    (resumed,) = fit(config, resume=load_checkpoint(tmp_path / "last"))
    assert resumed.metrics["train_loss"] == last["train_loss"]
    found = load_checkpoint(tmp_path / "last").state_dict
    wrong = {name: torch.zeros(9) for name in found}
    checkpoint = dataclasses.replace(load_checkpoint(tmp_path / "last"), state_dict=wrong)
    with pytest.raises(UnusableCheckpoint, match="shape"):
        next(fit(config, resume=checkpoint))


@pytest.mark.parametrize(
    "changes", [{"momentum": 0.9}, {"dropout": 0.0}, {"dropout": 0.3}], ids=str
)
@pytest.mark.parametrize("before", [0.0, 0.2])
def test_a_copy_with_other_mutable_values_is_resumed(
    changes: dict[str, float], before: float, tmp_path: Path
) -> None:
    kept = {"task": "sine", "epochs": 2, "hidden_layers": 2, "optimizer": "rmsprop"}
    config = build_config({**kept, "momentum": 0.0, "dropout": before})
    next(fit(config)).save(tmp_path / "last")
    copied = load_checkpoint(tmp_path / "last")
    (record,) = fit(build_config(config.as_dict(), changes), resume=copied)
    assert record.metrics["epoch"] == 2


def test_the_momentum_of_a_copy_begins_at_zero(tmp_path: Path) -> None:
    config = build_config({"task": "sine", "epochs": 2, "optimizer": "rmsprop", "momentum": 0.0})
    next(fit(config)).save(tmp_path / "last")
    model = MLP(3, 1, hidden_layers=0)
    optimizer = build_optimizer(build_config(config.as_dict(), {"momentum": 0.9}), model)
    load_optimizer(optimizer, load_checkpoint(tmp_path / "last"))
    for parameter in model.parameters():
        state = optimizer.state[parameter]
        assert torch.equal(state["momentum_buffer"], torch.zeros_like(parameter))
        assert state["square_avg"].abs().sum() > 0


@pytest.mark.parametrize("hidden_layers", [0, 1, 3])
def test_weights_of_an_mlp_have_the_names_of_any_version(hidden_layers: int) -> None:
    model = MLP(3, 1, hidden_units=4, hidden_layers=hidden_layers, dropout=0.2)
    plain = MLP(3, 1, hidden_units=4, hidden_layers=hidden_layers)
    copied, within = copy.deepcopy(plain), nn.Sequential(nn.Identity(), copy.deepcopy(plain))
    assert model.state_dict().keys() == plain.state_dict().keys()
    old = {}
    for name, value in model.state_dict().items():
        layer, _, kind = name.partition(".")
        old[f"{int(layer) // 2 * 3}.{kind}"] = value
    plain.load_state_dict(old)
    copied.load_state_dict(old)
    within.load_state_dict({f"1.{name}": value for name, value in old.items()})
    for mlp in (plain, copied, within[1]):
        for name, value in mlp.state_dict().items():
            assert torch.equal(value, model.state_dict()[name])
    (record,) = fit(build_config({"task": "sine", "epochs": 1, "hidden_layers": hidden_layers}))
    with pytest.raises(InputError, match="does not fit"):
        restore_model(lambda: nn.Linear(3, 1), record.checkpoint())


@pytest.mark.parametrize("state", [b"", {"buffer": b""}, [b"", (b"a", b"")], b"a"])
def test_empty_bytes_are_a_state(state: Any, tmp_path: Path) -> None:
    torch.save(encode_state(NO_FUNCTIONS, state), tmp_path / "state")
    stored = torch.load(tmp_path / "state", weights_only=True)
    assert decode_state(NO_FUNCTIONS, stored) == state


class Nested(Line):
    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.LayerNorm(1), MLP(1, 1, hidden_units=4, hidden_layers=2))

    def loss(self, model: nn.Module, shard: Tensor, progress: float) -> Tensor:
        return (model(shard) - 3 * shard[:, 0]).square().sum()


def test_an_mlp_within_a_model_reads_weights_of_earlier_versions() -> None:
    config = configure(Nested)
    checkpoint = next(fit(config)).checkpoint()
    names = {"1.2.": "1.3.", "1.4.": "1.6."}
    earlier = {
        names.get(name[:4], name[:4]) + name[4:]: value
        for name, value in checkpoint.state_dict.items()
    }
    assert earlier.keys() != checkpoint.state_dict.keys()
    old = dataclasses.replace(checkpoint, state_dict=earlier)
    model = restore_model(Nested(config, None, "cpu").build_model, old)
    for name, value in model.state_dict().items():
        assert torch.equal(value, checkpoint.state_dict[name])


def test_empty_bytes_as_a_key_are_refused() -> None:
    with pytest.raises(InputError, match="bytes"):
        encode_state(NO_FUNCTIONS, {b"": 1})


def test_save_may_write_an_empty_file(tmp_path: Path) -> None:
    task: Any = types.SimpleNamespace(
        save=lambda state, path: Path(path).touch(), load=lambda path: Path(path).read_bytes()
    )
    torch.save(encode_state(task, 5), tmp_path / "state")
    assert decode_state(task, torch.load(tmp_path / "state", weights_only=True)) == b""


def test_advice_on_damaged_checkpoints_leads_out(tmp_path: Path) -> None:
    for record in fit(configure(Line)):
        record.save(tmp_path / "last")
    (tmp_path / "last" / "state_dict_model.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"--fresh.*--out"):
        load_resumable(tmp_path, None)
