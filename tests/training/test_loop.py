import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from raytune_yesno.checkpoint import Checkpoint, load_checkpoint
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError
from raytune_yesno.seeding import derive_seed
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.split import split_corpus
from raytune_yesno.tasks.speech.task import YesNo
from raytune_yesno.tasks.task import Step, shuffle
from raytune_yesno.training.loop import (
    build_optimizer,
    check_numbers,
    fit,
    fix_reduction_order,
    learning_rate_at,
)

SMALL = {"channels": (4, 8), "hidden_units": 16, "batch_size": 3, "epochs": 6, "dropout": 0.4}
TINY = {"channels": (2,), "hidden_units": 4, "batch_size": 4, "epochs": 1}

AUGMENTED = {
    "augment_noise": 0.5,
    "augment_gain_db": 6.0,
    "augment_shift_s": 0.3,
    "augment_speed": 0.1,
    "augment_time_mask": 6,
    "augment_freq_mask": 4,
}


def train(config: Config, corpus: Corpus | None = None, **options: Any) -> Checkpoint:
    """Train to the end and return the last checkpoint."""
    for record in fit(config, corpus, **options):
        last = record
    return last.checkpoint()


def assert_same_bits(one: Checkpoint, other: Checkpoint) -> None:
    """Check that weights, optimiser state and metrics (without times) are equal bit for bit."""
    torch.testing.assert_close(one.state_dict, other.state_dict, rtol=0, atol=0)
    torch.testing.assert_close(one.optimizer, other.optimizer, rtol=0, atol=0)
    for ours, theirs in zip(one.history, other.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def fit_polynomial(seed: int, rate: float = 1e-6) -> tuple[list[float], list[float]]:
    """Fit sin x by a cubic as "Learning PyTorch with examples" does, step by step.

    Return the losses that it prints at steps 99, 199, … and the four coefficients it ends with.
    """
    x = torch.linspace(-math.pi, math.pi, 2000)
    y = torch.sin(x)
    xx = x.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1))
    loss_fn = torch.nn.MSELoss(reduction="sum")
    printed = []
    for t in range(2000):
        loss = loss_fn(model(xx), y)
        if t % 100 == 99:
            printed.append(loss.item())
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= rate * parameter.grad
    return printed, [model[0].bias.item(), *model[0].weight[0].tolist()]


def test_sines_training_loss_does_not_depend_on_the_size_of_its_batches() -> None:
    still = {"task": "sine", "epochs": 1, "learning_rate": 0.0}
    whole = next(fit(build_config(still))).metrics["train_loss"]
    for size in (4, 10, 20, 200):
        (record,) = fit(build_config(still, {"batch_size": size}))
        assert record.metrics["train_loss"] == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize("seed", [0, 5])
def test_sine_is_the_polynomial_fit_by_hand(seed: int) -> None:
    losses, coefficients = fit_polynomial(seed)
    done = train(build_config({"task": "sine", "seed": seed}))
    assert [epoch["train_loss"] for epoch in done.history] == pytest.approx(losses, rel=1e-5)
    bias, weights = done.state_dict["0.bias"], done.state_dict["0.weight"]
    assert [*bias.tolist(), *weights[0].tolist()] == pytest.approx(coefficients, rel=1e-5)
    assert losses[-1] < losses[0] / 10


class TestRecords:
    def test_one_an_epoch(self, small_corpus: Corpus) -> None:
        records = list(fit(build_config(SMALL), small_corpus))
        assert [record.metrics["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
        assert not any(record.diverged for record in records)
        keys = {"epoch", "train_loss", "valid_loss", "valid_wer", "learning_rate"}
        keys |= {"world_size", "seconds"}
        assert all(record.metrics.keys() == keys for record in records)
        assert records[-1].metrics["valid_loss"] < records[0].metrics["valid_loss"]

    def test_say_what_was_trained(self, small_corpus: Corpus) -> None:
        config = build_config(TINY)
        checkpoint = train(config, small_corpus)
        assert checkpoint.config == config
        assert checkpoint.corpus == {
            "source": small_corpus.source,
            "fingerprint": small_corpus.fingerprint,
            "vocabulary": "no yes",
        }
        assert (checkpoint.epoch, checkpoint.metrics) == (1, checkpoint.history[0])
        assert train(build_config({"task": "sine", "epochs": 1})).corpus == {}

    def test_the_same_seed_gives_the_same_and_another_another(self, small_corpus: Corpus) -> None:
        runs = [train(build_config(SMALL, {"seed": seed}), small_corpus) for seed in (0, 0, 1)]
        assert_same_bits(runs[0], runs[1])
        assert not torch.equal(runs[0].state_dict["fc2.bias"], runs[2].state_dict["fc2.bias"])

    def test_nothing_outside_moves_the_result(self, small_corpus: Corpus) -> None:
        config = build_config(SMALL)
        undisturbed = train(config, small_corpus)
        torch.manual_seed(99)
        for record in fit(config, small_corpus):
            torch.rand(3)
            disturbed = record
        assert_same_bits(undisturbed, disturbed.checkpoint())

    def test_a_refit_trains_on_validation_too_and_validates_nothing(
        self, small_corpus: Corpus
    ) -> None:
        done = train(build_config(TINY), small_corpus, refit=True)
        assert done.refit
        keys = {"epoch", "train_loss", "learning_rate", "world_size", "seconds"}
        assert done.metrics.keys() == keys
        assert not train(build_config(TINY), small_corpus).refit


class TestResuming:
    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_ends_in_the_same_bits_after_any_epoch(
        self, small_corpus: Corpus, tmp_path: Path, optimizer: str
    ) -> None:
        config = build_config(SMALL, {"optimizer": optimizer, "learning_rate": 1e-3})
        whole = train(config, small_corpus)
        for epoch, record in enumerate(fit(config, small_corpus), start=1):
            record.save(tmp_path / str(epoch))
        for epoch in range(1, 6):
            cut = load_checkpoint(tmp_path / str(epoch))
            assert cut.epoch == epoch
            rest = train(config, small_corpus, resume=cut)
            assert len(rest.history) == 6
            assert_same_bits(whole, rest)

    def test_augmented_recordings_too(self, small_corpus: Corpus, tmp_path: Path) -> None:
        config = build_config(SMALL, AUGMENTED, {"epochs": 3})
        next(fit(config, small_corpus)).save(tmp_path / "last")
        whole = train(config, small_corpus)
        assert_same_bits(
            whole, train(config, small_corpus, resume=load_checkpoint(tmp_path / "last"))
        )
        plain = train(build_config(SMALL, {"epochs": 3}), small_corpus)
        assert whole.metrics["train_loss"] != plain.metrics["train_loss"]

    def test_sine_too(self, tmp_path: Path) -> None:
        config = build_config({"task": "sine", "epochs": 4, "batch_size": 300})
        next(fit(config)).save(tmp_path / "last")
        assert_same_bits(train(config), train(config, resume=load_checkpoint(tmp_path / "last")))

    def test_a_finished_run_has_nothing_left(self, small_corpus: Corpus) -> None:
        config = build_config(TINY)
        assert list(fit(config, small_corpus, resume=train(config, small_corpus))) == []


class TestBatches:
    @pytest.mark.parametrize("batch_size", [1, 3, 5, 8, 100])
    def test_an_epoch_sees_every_recording_once(
        self, small_corpus: Corpus, batch_size: int
    ) -> None:
        config = build_config(TINY, {"batch_size": batch_size})
        task = YesNo(config, small_corpus, torch.device("cpu"))
        steps = list(task.steps(1, 0, 1))
        assert len(steps) == task.steps_per_epoch == math.ceil(8 / batch_size)
        assert sum(len(step.shard) for step in steps) == 8
        assert [step.scale * len(step.shard) for step in steps] == pytest.approx([1] * len(steps))
        seen = torch.cat([step.shard.words for step in steps]).reshape(8, 8).tolist()
        train_part = split_corpus(small_corpus, seed=0).train
        assert sorted(seen) == sorted(list(small_corpus.labels[n]) for n in train_part)

    def test_the_training_loss_is_the_mean_over_recordings_whatever_the_batch(
        self, small_corpus: Corpus
    ) -> None:
        still = {"learning_rate": 0.0, "weight_decay": 0.0, "dropout": 0.0, "dtype": "float64"}
        losses = [
            train(build_config(TINY, still, {"batch_size": size, "flat_start": 0}), small_corpus)
            for size in (1, 3, 5, 8)
        ]
        first, *others = (done.metrics["train_loss"] for done in losses)
        assert others == pytest.approx([first] * 3, rel=1e-12)

    def test_the_order_changes_with_epoch_and_seed(self) -> None:
        orders = {tuple(shuffle(50, "order", seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}
        assert len(orders) == 4
        assert all(sorted(order) == list(range(50)) for order in orders)


def cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    ("warmup", "lr_decay", "shares"),
    [
        (0.0, 0.0, {0.01: 1, 0.5: 1, 1.0: 1}),
        (0.2, 0.0, {0.05: 0.25, 0.1: 0.5, 0.2: 1, 0.7: 1, 1.0: 1}),
        (0.0, 1.0, {0.25: cosine(0.25), 0.5: 0.5, 1.0: 0}),
        (0.2, 1.0, {0.1: 0.5, 0.2: 1, 0.4: cosine(0.25), 0.6: 0.5, 1.0: 0}),
        (0.5, 0.5, {0.25: 0.5, 0.5: 1, 0.75: 0.75, 1.0: 0.5}),
        (1.0, 1.0, {0.3: 0.3, 0.9: 0.9, 1.0: 1}),
    ],
)
def test_the_learning_rate_rises_in_a_line_and_falls_along_a_half_cosine(
    warmup: float, lr_decay: float, shares: dict[float, float]
) -> None:
    config = build_config({"learning_rate": 3.0, "warmup": warmup, "lr_decay": lr_decay})
    rates = {progress: learning_rate_at(progress, config) for progress in shares}
    assert rates == pytest.approx({progress: 3 * share for progress, share in shares.items()})


def test_the_learning_rate_is_that_of_the_epochs_last_step(small_corpus: Corpus) -> None:
    config = build_config(SMALL, {"epochs": 4})
    rates = [epoch["learning_rate"] for epoch in train(config, small_corpus).history]
    assert rates == [learning_rate_at(epoch / 4, config) for epoch in (1, 2, 3, 4)]


def test_subnormal_numbers_are_zero_in_training_alone() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot take them for zero")
    small = torch.full((64,), 1e-38)
    seen: list[int] = []

    def watch(model: torch.nn.Module) -> torch.nn.Module:
        model.register_forward_hook(lambda *_: seen.append(int((small / 10).count_nonzero())))
        return model

    for _ in fit(build_config({"task": "sine", "epochs": 1}), prepare=watch):
        assert (small / 10).count_nonzero() == 64
    assert set(seen) == {0}


class TestEveryOption:
    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
    @pytest.mark.parametrize("model", ["cnn", "mlp"])
    def test_optimisers_take_an_epoch(
        self, small_corpus: Corpus, optimizer: str, model: str
    ) -> None:
        config = build_config(TINY, {"optimizer": optimizer, "model": model})
        start = train(build_config(config.as_dict(), {"learning_rate": 0}), small_corpus)
        done = train(config, small_corpus)
        assert math.isfinite(done.metrics["valid_loss"])
        for name, value in done.state_dict.items():
            assert not torch.equal(value, start.state_dict[name]), name

    @pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "sigmoid"])
    def test_activations_take_an_epoch(self, small_corpus: Corpus, activation: str) -> None:
        done = train(build_config(TINY, {"activation": activation}), small_corpus)
        assert math.isfinite(done.metrics["valid_loss"])

    @pytest.mark.parametrize(
        ("optimizer", "kind"),
        [
            ("sgd", torch.optim.SGD),
            ("adam", torch.optim.Adam),
            ("adamw", torch.optim.AdamW),
            ("rmsprop", torch.optim.RMSprop),
        ],
    )
    def test_optimisers_take_their_settings(
        self, optimizer: str, kind: type[torch.optim.Optimizer]
    ) -> None:
        settings = {"learning_rate": 0.3, "momentum": 0.7, "weight_decay": 0.01}
        config = build_config(settings, {"optimizer": optimizer})
        built = build_optimizer(config, torch.nn.Linear(1, 1))
        assert isinstance(built, kind)
        group = built.param_groups[0]
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        assert (group["lr"], momentum, group["weight_decay"]) == (0.3, 0.7, 0.01)


class TestDivergence:
    @pytest.mark.parametrize(
        "changes",
        [
            {**SMALL, "optimizer": "sgd", "learning_rate": 1e12, "clip_norm": 0.0},
            {**SMALL, "optimizer": "sgd", "learning_rate": 1e30, "refit": True},
            {"task": "sine", "learning_rate": 1.0},
        ],
        ids=["cnn", "cnn without validation", "sine"],
    )
    def test_is_told_once_and_ends_the_training(
        self, small_corpus: Corpus, changes: dict[str, Any], tmp_path: Path
    ) -> None:
        changes = dict(changes)
        refit = changes.pop("refit", False)
        config = build_config(changes)
        records = fit(config, small_corpus if config.task == "yesno" else None, refit=refit)
        *healthy, last = itertools.islice(records, config.epochs)
        assert last.diverged
        assert not any(record.diverged for record in healthy)
        assert len(healthy) < config.epochs - 1
        assert next(records, None) is None

    def test_leaves_a_checkpoint_that_can_be_looked_at(self, tmp_path: Path) -> None:
        (record,) = fit(build_config({"task": "sine", "learning_rate": 1.0}))
        record.save(tmp_path / "last")
        assert not math.isfinite(load_checkpoint(tmp_path / "last").metrics["train_loss"])


def test_seeds_differ_by_every_part_of_their_name_and_stay_as_they_are() -> None:
    names = [
        ("order", 0, 1),
        ("order", 1, 0),
        ("order", 0, 1, 0),
        ("epoch", 0, 1),
        ("order", "0", 1),
    ]
    assert len({derive_seed(*name) for name in names}) == len(names)
    # Pinned: with another value, runs resumed from older checkpoints would train differently.
    assert derive_seed("order", 0, 1) == 5646508524910586312


def test_bfloat16_is_of_products_alone(small_corpus: Corpus) -> None:
    quick = {"epochs": 1, "min_examples": 8, "augment_scenes": 0.0, "valid_noise": False}
    exact, rounded = (
        next(fit(build_config({**quick, "dtype": kind}), small_corpus))
        for kind in ("float32", "bfloat16")
    )
    weights = rounded.checkpoint().state_dict.values()
    assert all(weight.dtype == torch.float32 for weight in weights if weight.is_floating_point())
    assert rounded.metrics["train_loss"] == pytest.approx(exact.metrics["train_loss"], rel=0.1)
    assert rounded.metrics["train_loss"] != exact.metrics["train_loss"]


class Normalised:
    """A task whose model has buffers."""

    steps_per_epoch = steps_per_pass = 1
    train_scale = 1.0

    def steps(self, epoch: int, rank: int, world_size: int) -> Any:
        yield Step(torch.arange(8.0).reshape(4, 2), 0.25)

    def loss(self, model: torch.nn.Module, shard: torch.Tensor, progress: float) -> torch.Tensor:
        return model(shard).square().sum()


def test_the_pass_that_fixes_the_order_of_sums_changes_nothing() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fix_reduction_order(Normalised(), model)  # type: ignore[arg-type]
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert not any(each.grad is not None and each.grad.any() for each in model.parameters())


@pytest.mark.parametrize("steps", [2.5, 0, "2"])
def test_the_steps_of_a_pass_are_whole(steps: object) -> None:
    task = Normalised()
    task.steps_per_pass = steps  # type: ignore[assignment]
    with pytest.raises(InputError, match="steps_per_pass"):
        check_numbers(task)  # type: ignore[arg-type]
