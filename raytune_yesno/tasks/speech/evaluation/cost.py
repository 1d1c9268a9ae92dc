"""What recognition costs."""

import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

from raytune_yesno.tasks.speech.evaluation.alarms import build_wordless
from raytune_yesno.tasks.speech.features import pad_silence
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

if TYPE_CHECKING:
    pass

_COST_S = 30  # seconds of sound in a timed run


def measure_cost(recognizer: Recognizer) -> dict[str, Any]:
    """Return the cost of recognition: parameters, multiply-adds per second, real-time factor.

    The real-time factor is the time of one core for features, network and decoding divided by the
    length of the sound. It is the median of five runs on 30 s.
    """
    from torch.utils.flop_counter import FlopCounterMode

    waveform = build_wordless("pink", _COST_S * SAMPLE_RATE)
    feature_FT = recognizer.extract(waveform)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        recognizer.model(pad_silence(feature_FT)[None, None])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times_s = []
        for _ in range(5):
            began = time.perf_counter()
            recognizer.listen(waveform)
            times_s.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return {
        "parameters": sum(parameter.numel() for parameter in recognizer.model.parameters()),
        "multiply_adds_per_s": round(counter.get_total_flops() / 2 / _COST_S),
        "real_time_factor": statistics.median(times_s) / _COST_S,
    }
