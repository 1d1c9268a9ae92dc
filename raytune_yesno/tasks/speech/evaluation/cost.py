"""What recognition costs."""

from typing import Any

from raytune_yesno.tasks.speech.costs import count_multiply_adds, time_on_one_core
from raytune_yesno.tasks.speech.evaluation.false_alarms import build_wordless
from raytune_yesno.tasks.speech.features import pad_silence
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

_COST_S = 30  # seconds of sound in a timed run


def measure_cost(recognizer: Recognizer) -> dict[str, Any]:
    """Return the cost of recognition: parameters, multiply-adds per second, real-time factor.

    The real-time factor is the time of one core for features, network and decoding divided by the
    length of the sound. It is the median of five runs on 30 s.
    """
    waveform = build_wordless("pink", _COST_S * SAMPLE_RATE)
    feature_FT = recognizer.extract(waveform)
    padded_FT = pad_silence(feature_FT)
    multiply_adds = count_multiply_adds(recognizer.model, padded_FT[None, None])
    seconds = time_on_one_core(lambda: recognizer.listen(waveform))
    return {
        "parameters": sum(parameter.numel() for parameter in recognizer.model.parameters()),
        "multiply_adds_per_s": round(multiply_adds / _COST_S),
        "real_time_factor": seconds / _COST_S,
    }
