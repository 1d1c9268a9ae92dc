"""The cost of a network: its size, its arithmetic, its speed."""

import statistics
import time

import torch
from torch import Tensor, nn

from raytune_yesno.tasks.speech.features import HOP_S
from raytune_yesno.tasks.speech.networks import build_network
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
        ``num_parameters``; ``multiply_adds_per_s``, of the network, for a second of sound; and
        ``model_bytes``, the bytes of its weights in an exported file, whose fixed part (features,
        graph) is the same for all networks.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = build_network(config, num_words).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(_build_input(config))
    weights = [*model.parameters(), *model.buffers()]
    return {
        "num_parameters": sum(each.numel() for each in model.parameters()),
        "multiply_adds_per_s": round(counter.get_total_flops() / 2 / _INPUT_S),
        "model_bytes": sum(each.numel() * each.element_size() for each in weights),
    }


def measure_speed(config: SpeechConfig, num_words: int) -> dict[str, float]:
    """Return ``real_time_factor``: seconds of one core for a second of sound, a median.

    Args:
        config: the config of the network.
        num_words: the words of the vocabulary.
    """
    model: nn.Module = build_network(config, num_words).eval()
    sound = _build_input(config)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times_s = []
        with torch.no_grad():
            for _ in range(1 + _RUNS):  # the first one prepares memory
                began = time.perf_counter()
                model(sound)
                times_s.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return {"real_time_factor": statistics.median(times_s[1:]) / _INPUT_S}


def _build_input(config: SpeechConfig) -> Tensor:
    """Return a silent spectrogram (1, 1, F, T)."""
    frames = round(_INPUT_S / HOP_S)
    return torch.zeros(1, 1, _BANDS, frames, dtype=getattr(torch, config.stored_dtype))
