"""What differs between the tasks: data, network, loss and metrics.

A task offers the training loop the same few things, so that there is only one loop:
``build_model``, ``steps`` (the batches of an epoch), ``loss`` (summed over a batch) and
``validate`` (sums that add up over ranks) with ``metrics`` (what the sums amount to).
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.config import Config
from raytune_yesno.corpus import split_corpus
from raytune_yesno.decode import count_errors, greedy_decode
from raytune_yesno.features import Batch, Example, collate, extract_examples
from raytune_yesno.models import MLP, WINDOW, Net
from raytune_yesno.seeding import build_generator

if TYPE_CHECKING:
    from raytune_yesno.corpus import Corpus

VALIDATION_BATCH = 16
SINE_POINTS = 2000
SINE_STEPS_PER_EPOCH = 100


@dataclass(frozen=True)
class Step:
    """One step of training on one rank.

    Attributes:
        shard: this rank's share of the batch; may be empty.
        scale: what the loss summed over the whole batch is multiplied by.
    """

    shard: Any
    scale: float


class Task(Protocol):
    """What the training loop asks of a task.

    Losses and validation figures are sums over examples, so that they add up over ranks, and a
    rank without examples adds nothing.
    """

    steps_per_epoch: int
    steps_per_pass: int
    train_scale: float
    """What the training loss summed over a pass is multiplied by to be reported."""

    def build_model(self) -> nn.Module: ...

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]: ...

    def loss(self, model: nn.Module, shard: Any, progress: float) -> Tensor:
        """Return the loss summed over a shard, a scalar that carries a gradient.

        ``progress`` is the share of training done, in (0, 1].
        """

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        """Return this rank's float64 sums over the validation examples."""

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """Turn the sums of all ranks into the metrics of an epoch."""


def build_task(
    config: Config, corpus: "Corpus | None", device: torch.device, *, refit: bool = False
) -> Task:
    """Return the task that ``config`` names, its data on ``device``.

    Args:
        refit: train on the training and validation parts together, and validate nothing.
    """
    if config.task == "sine":
        return Sine(config, device, refit=refit)
    assert corpus is not None
    return YesNo(config, corpus, device, refit=refit)


class YesNo:
    """Recognise spoken yes and no: log-mel windows, CTC loss, word error rate."""

    def __init__(
        self, config: Config, corpus: "Corpus", device: torch.device, *, refit: bool = False
    ) -> None:
        self._config, self._device = config, device
        split = split_corpus(corpus, seed=config.seed, swap_halves=config.swap_halves)
        train = sorted((*split.train, *split.valid)) if refit else split.train
        valid = () if refit else split.valid
        examples = extract_examples(corpus, config.dtype)
        self._train = [examples[index] for index in train]
        self._valid = [examples[index] for index in valid]
        self.steps_per_pass = self.steps_per_epoch = math.ceil(len(train) / config.batch_size)
        self.train_scale = 1 / len(train)

    def build_model(self) -> nn.Module:
        return build_yesno_model(self._config)

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        order = shuffle(len(self._train), "order", self._config.seed, epoch)
        for whole in batched(order, self._config.batch_size):
            yield Step(self._collate(self._train, whole[rank::world_size]), 1 / len(whole))

    def loss(self, model: nn.Module, shard: Batch, progress: float) -> Tensor:
        """Return the CTC loss, at first mixed with the cross-entropy to the flat alignment.

        CTC alone begins by putting out nothing but blanks, and how long it takes to leave that
        plateau, or whether it learns the noise of the pauses by heart instead, is luck.
        """
        if not len(shard):  # all ranks take part in a step, so this one contributes a zero
            silence_B1FT = torch.zeros(1, 1, WINDOW, WINDOW, dtype=shard.x_B1FT.dtype)
            return 0.0 * model(silence_B1FT.to(self._device)).sum()
        logp_BPC = model(shard.x_B1FT).reshape(len(shard), -1, 3)
        flat_start = self._config.flat_start
        weight = max(0.0, 1 - progress / flat_start) if flat_start else 0.0
        loss = (1 - weight) * ctc_loss(logp_BPC, shard)
        return loss - weight * (shard.flat_BPC * logp_BPC).sum() if weight else loss

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        sums = torch.zeros(4, dtype=torch.float64)
        indices = range(len(self._valid))[rank::world_size]
        for some in batched(indices, VALIDATION_BATCH):
            batch = self._collate(self._valid, some)
            logp_BPC = model(batch.x_B1FT).reshape(len(batch), -1, 3)
            sums[0] += ctc_loss(logp_BPC, batch).item()
            for logp_PC, positions, index in zip(
                logp_BPC.cpu(), batch.positions_B.tolist(), some, strict=True
            ):
                heard = [word.label for word in greedy_decode(logp_PC[:positions])]
                errors = count_errors(self._valid[index].words, heard)
                sums[1:] += torch.tensor([1, errors.errors, errors.words])
        return sums

    def metrics(self, sums: Tensor) -> dict[str, float]:
        loss, recordings, errors, words = sums.tolist()
        if not recordings:
            return {}
        return {"valid_loss": loss / recordings, "valid_wer": errors / words}

    def _collate(self, examples: Sequence[Example], some: Sequence[int]) -> Batch:
        dtype = getattr(torch, self._config.dtype)
        return collate([examples[index] for index in some], dtype, self._device)


def build_yesno_model(config: Config) -> nn.Module:
    """Return the recogniser's network, untrained: classes blank, no and yes."""
    shared: dict[str, Any] = {
        "hidden_units": config.hidden_units,
        "activation": config.activation,
        "dropout": config.dropout,
    }
    model: nn.Module
    if config.model == "cnn":
        model = Net(3, config.channels, config.kernel_size, **shared)
    else:
        model = MLP(out_features=3, hidden_layers=config.hidden_layers, **shared)
    return model.to(getattr(torch, config.dtype))


def ctc_loss(logp_BPC: Tensor, batch: Batch) -> Tensor:
    """Return Graves et al.'s (2006) CTC loss, summed over the batch."""
    return F.ctc_loss(
        logp_BPC.transpose(0, 1),
        batch.words + 1,
        batch.positions_B,
        batch.num_words_B,
        reduction="sum",
    )


class Sine:
    """Fit y = sin x on [-pi, pi] from (x, x^2, x^3), summed squared error, as in "Learning
    PyTorch with examples". An epoch is 100 steps."""

    def __init__(self, config: Config, device: torch.device, *, refit: bool = False) -> None:
        self._config = config
        place = functools.partial(
            torch.Tensor.to, device=device, dtype=getattr(torch, config.dtype)
        )
        x = torch.linspace(-math.pi, math.pi, SINE_POINTS)
        # Validation lies between the training points; both have as many, so that sums compare.
        half_step = math.pi / (SINE_POINTS - 1)
        self._train = place(powers(x)), place(torch.sin(x))
        between = x + half_step
        self._valid = None if refit else (place(powers(between)), place(torch.sin(between)))
        self.steps_per_epoch = SINE_STEPS_PER_EPOCH
        self.steps_per_pass = min(SINE_STEPS_PER_EPOCH, math.ceil(SINE_POINTS / config.batch_size))
        self.train_scale = 1.0

    def build_model(self) -> nn.Module:
        config = self._config
        model = MLP(
            in_features=3,
            out_features=1,
            hidden_units=config.hidden_units,
            hidden_layers=config.hidden_layers,
            activation=config.activation,
            dropout=config.dropout,
        )
        return model.to(getattr(torch, config.dtype))

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        if self._config.batch_size >= SINE_POINTS:
            whole = slice(rank, None, world_size)
            shard = tuple(part[whole] for part in self._train)
            yield from itertools.repeat(Step(shard, 1.0), SINE_STEPS_PER_EPOCH)
            return
        passes = (
            shuffle(SINE_POINTS, "order", self._config.seed, epoch, n) for n in itertools.count()
        )
        batches = (some for order in passes for some in batched(order, self._config.batch_size))
        for some in itertools.islice(batches, SINE_STEPS_PER_EPOCH):
            shard = tuple(part[some[rank::world_size]] for part in self._train)
            yield Step(shard, SINE_POINTS / len(some))  # an estimate of the sum over all points

    def loss(self, model: nn.Module, shard: tuple[Tensor, Tensor], progress: float) -> Tensor:
        x_B3, y_B = shard
        return F.mse_loss(model(x_B3), y_B, reduction="sum")

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        if self._valid is None:
            return torch.zeros(2, dtype=torch.float64)
        x_B3, y_B = (part[rank::world_size] for part in self._valid)
        loss = F.mse_loss(model(x_B3), y_B, reduction="sum").item()
        return torch.tensor([loss, len(y_B)], dtype=torch.float64)

    def metrics(self, sums: Tensor) -> dict[str, float]:
        return {"valid_loss": sums[0].item()} if sums[1] else {}


def powers(x_B: Tensor) -> Tensor:
    """Return (B, 3): x, x squared, x cubed."""
    return x_B.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))


def shuffle(count: int, *name: object) -> list[int]:
    """Return the numbers below ``count`` in the random order that a stream's name gives."""
    return torch.randperm(count, generator=build_generator(*name)).tolist()


def batched(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut a sequence into runs of ``size``; the last may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
