"""The parts of an epoch, and the time of each."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.speed.case import Case, run_apart
from raytune_yesno.config import Config, build_config
from raytune_yesno.tasks.speech.decode import BEST_PATH, count_errors
from raytune_yesno.tasks.speech.features import Batch, Example, build_extract, collate
from raytune_yesno.tasks.speech.settings import SpeechConfig, as_speech
from raytune_yesno.tasks.speech.split import split_corpus
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.tasks.speech.task import (
    VALIDATION_BATCH,
    CleanExamples,
    YesNo,
    ctc_loss,
    noisy_examples,
)
from raytune_yesno.tasks.task import batched
from raytune_yesno.training.loop import build_optimizer
from raytune_yesno.training.malloc import keep_freed_memory

TITLE = "The step: milliseconds an epoch, on one thread"
EPOCHS = 8
_WARM = 2
"""Epochs before the clock runs."""
_CHANNELS, _SIDE = 64, 128  # of the images whose convolution shows what a core can do


_AUGMENTED = {
    "augment_noise": 1.0,
    "augment_gain_db": 6.0,
    "augment_shift_s": 0.25,
    "augment_speed": 0.1,
    "augment_time_mask": 5,
    "augment_freq_mask": 4,
    "flat_start": 0.0,  # as in most epochs
}

_AS_IS = "the project's (as it is)"
LARGE = {"channels": (32, 64), "batch_size": 8}
"""The recipe's network, in the largest batches of the default space."""


def list_cases(*, quick: bool = False) -> list[Case]:
    """Return a case for each network: the default, alone and augmented, and a large one."""
    epochs = 1 if quick else EPOCHS
    return [
        Case(_AS_IS, partial(_run, {}, epochs), "default"),
        Case("augmented, every part", partial(_run, _AUGMENTED, epochs), "default"),
        Case(f"large: {_AS_IS}", partial(_run, LARGE, epochs), "large"),
    ]


def _run(settings: dict[str, Any], epochs: int, folder: Path) -> dict[str, float]:
    return run_apart(measure, settings, epochs)


def measure(settings: dict[str, Any], epochs: int) -> dict[str, float]:
    """Train epochs with a network, and return the seconds of the median one."""
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.set_flush_denormal(True)
    config = as_speech(build_config(settings))
    data = Data(config)
    torch.manual_seed(0)
    model = data.task.build_model()
    optimizer = build_optimizer(config, model)
    clocks = [data.train(config, model, optimizer, epoch) for epoch in range(_WARM + epochs)]
    seconds = [sum(clock.values()) for clock in clocks[_WARM:]]
    figures = {"ms an epoch": 1000 * statistics.median(seconds)}
    with FlopCounterMode(display=False) as counter:
        data.train(config, model, optimizer, 0)
    done = counter.get_total_flops() / statistics.median(seconds)
    figures["share of a core"] = done / _measure_core()
    for part in clocks[0]:
        figures[part] = 1000 * statistics.median(clock[part] for clock in clocks[_WARM:])
    return figures


class Data:
    """The examples of an epoch, and how to train one."""

    def __init__(self, config: SpeechConfig) -> None:
        corpus = synthesize()
        self.task = YesNo(config, corpus, torch.device("cpu"))
        split = split_corpus(corpus, seed=config.seed)
        extract = build_extract(config, corpus.recorded)
        clean = CleanExamples(corpus, extract)
        self.validation = [clean[index] for index in split.valid]
        self.validation += noisy_examples(corpus, split.valid, extract)

    def train(
        self, config: Config, model: Any, optimizer: torch.optim.Optimizer, epoch: int
    ) -> dict[str, float]:
        """Train an epoch as the loop does, and return the seconds of each part."""
        clock: dict[str, float] = defaultdict(float)
        model.train()
        shards = (step.shard for step in self.task.steps(epoch, 0, 1))
        while True:
            with _timed(clock, "augmentation, batches"):
                shard = next(shards, None)
            if shard is None:
                break
            optimizer.zero_grad()
            with _timed(clock, "forward"):
                logp_BPC = model(shard.x_B1FT).reshape(len(shard), -1, 3)
            with _timed(clock, "loss"):
                loss = ctc_loss(logp_BPC, shard)
            with _timed(clock, "backward"):
                (loss / len(shard)).backward()
            with _timed(clock, "clipping"):
                nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            with _timed(clock, "optimiser"):
                optimizer.step()
        model.eval()
        with torch.no_grad():
            for some in batched(self.validation, VALIDATION_BATCH):
                with _timed(clock, "validation: batches"):
                    shard = _collate(some)
                with _timed(clock, "validation: forward"):
                    logp_BPC = model(shard.x_B1FT)
                with _timed(clock, "validation: loss"):
                    ctc_loss(logp_BPC, shard).item()
                with _timed(clock, "validation: decode"):
                    for logp_PC, example in zip(logp_BPC, some, strict=True):
                        heard = BEST_PATH.decode(
                            logp_PC[: len(example.flat_PC)], torch.zeros(len(example.flat_PC))
                        )
                        count_errors(example.words, [word.label for word in heard])
        return dict(clock)


def _collate(examples: Sequence[Example]) -> Batch:
    return collate(examples, torch.float32, torch.device("cpu"))


@contextmanager
def _timed(clock: dict[str, float], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    clock[part] += time.perf_counter() - began


def _measure_core() -> float:
    """Return the operations per second of one core, for a convolution that suits it.

    A product of matrices is no measure: on some processors MKL leaves half of the core unused.
    """
    images = torch.randn(4, _CHANNELS, _SIDE, _SIDE).to(memory_format=torch.channels_last)
    kernels = torch.randn(2 * _CHANNELS, _CHANNELS, 3, 3)
    needed = 2 * len(images) * (_SIDE - 2) ** 2 * kernels.numel()
    rates = []
    for _ in range(10):
        began = time.perf_counter()
        F.conv2d(images, kernels)
        rates.append(needed / (time.perf_counter() - began))
    return max(rates)
