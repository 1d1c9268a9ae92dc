"""The cost of a network: its size, its arithmetic, its speed."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from raytune_yesno.cpus import one_thread
from raytune_yesno.tasks.speech.features import HOP_S
from raytune_yesno.tasks.speech.networks import ShiftAverage, build_network
from raytune_yesno.tasks.speech.settings import SpeechConfig

_INPUT_S = 10
"""Seconds of sound that the arithmetic and the speed are measured on."""
_BANDS = 28
_RUNS = 5


def count_costs(config: SpeechConfig, num_words: int) -> dict[str, float]:
    """Return the costs that are counted, without training and without running the network.

    Args:
        config: the config of the network.
        num_words: the words of the vocabulary.

    Returns:
        ``num_parameters``; ``multiply_adds_per_s``, of the network in recognition, for a second of
        sound; and ``model_bytes``, the bytes of its weights in an exported file, whose fixed part
        (features, graph) is the same for all networks.
    """
    with torch.device("meta"):
        model = ShiftAverage(build_network(config, num_words), config.shifts).eval()
        multiply_adds = count_multiply_adds(model, _build_input(config))
    weights = [*model.parameters(), *model.buffers()]
    return {
        "num_parameters": sum(each.numel() for each in model.parameters()),
        "multiply_adds_per_s": round(multiply_adds / _INPUT_S),
        "model_bytes": sum(each.numel() * each.element_size() for each in weights),
    }


def measure_speed(config: SpeechConfig, num_words: int) -> dict[str, float]:
    """Return ``real_time_factor``: seconds of one core that the network takes for one of sound.

    Args:
        config: the config of the network.
        num_words: the words of the vocabulary.
    """
    model = ShiftAverage(build_network(config, num_words), config.shifts).eval()
    sound = _build_input(config)
    with torch.no_grad():
        seconds = time_on_one_core(lambda: model(sound))
    return {"real_time_factor": seconds / _INPUT_S}


def count_multiply_adds(model: nn.Module, sound: Tensor) -> float:
    """Return the multiply-adds of a network for an input."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(sound)
    return counter.get_total_flops() / 2


def time_on_one_core(run: Callable[[], object]) -> float:
    """Return the seconds that a function takes on one core, the median of five runs."""
    times_s = []
    with one_thread():
        for _ in range(1 + _RUNS):  # the first one prepares memory
            began = time.perf_counter()
            run()
            times_s.append(time.perf_counter() - began)
    return statistics.median(times_s[1:])


def _build_input(config: SpeechConfig) -> Tensor:
    """Return a silent spectrogram (1, 1, F, T)."""
    frames = round(_INPUT_S / HOP_S)
    return torch.zeros(1, 1, _BANDS, frames, dtype=getattr(torch, config.stored_dtype))
