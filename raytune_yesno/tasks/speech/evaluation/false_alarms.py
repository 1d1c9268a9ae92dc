"""False alarms: words that are heard where none are said."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.tasks.speech.evaluation.parallel import on_all_cores
from raytune_yesno.tasks.speech.evaluation.wordless_sounds import SOUNDS
from raytune_yesno.tasks.speech.noise import NOISES, draw_noise
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

Report = Callable[[int, int], None]

WORDLESS = ("silence", *NOISES, *SOUNDS)
WORDLESS_RMS = 0.05  # of full scale: -26 dB, the usual level of speech
WORDLESS_PIECE_S = 60


def measure_wordless(
    recognizer: Recognizer, seconds: float, on_sound: Report = lambda done, total: None
) -> dict[str, Any]:
    """Return the false alarms per hour on generated sounds without words.

    Args:
        recognizer: the recogniser.
        seconds: length of each sound. The RMS is 0.05 of full scale.
        on_sound: called with the number of finished sounds and the total.
    """

    def count(kind: str) -> int:
        alarms = 0
        for number, start_s in enumerate(np.arange(0.0, seconds, WORDLESS_PIECE_S).tolist()):
            length = round(min(WORDLESS_PIECE_S, seconds - start_s) * SAMPLE_RATE)
            if length:  # the last piece may be shorter than a sample
                alarms += len(recognizer.decode(build_wordless(kind, length, number)))
        return alarms

    rows = []
    for kind, alarms in zip(WORDLESS, on_all_cores(count, WORDLESS), strict=True):
        rows.append({"sound": kind, **alarm_rate(alarms, seconds)})
        on_sound(len(rows), len(WORDLESS))
    total = sum(row["alarms"] for row in rows)
    return {**alarm_rate(total, seconds * len(rows)), "sounds": rows}


def build_wordless(kind: str, num_samples: int, number: int = 0) -> Tensor:
    """Return (samples,) of a sound without words, with an RMS of 0.05 of full scale.

    Args:
        kind: one of :data:`WORDLESS`.
        num_samples: length, at 8 kHz.
        number: number of the random stream; different numbers give different sounds.
    """
    generator = build_torch_generator("wordless", kind, number)
    if kind == "silence":
        return torch.zeros(num_samples)
    draw = SOUNDS.get(kind)
    sound = draw(num_samples, generator) if draw else draw_noise(kind, num_samples, generator)
    return sound * (WORDLESS_RMS / sound.square().mean().sqrt().clamp(min=1e-9))


def alarm_rate(alarms: int, seconds: float) -> dict[str, Any]:
    """Return alarms per hour with the exact 95 % interval of a Poisson process (Garwood, 1936)."""
    hours = seconds / 3600
    low = chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0
    high = chi2.ppf(0.975, 2 * alarms + 2) / 2
    return {
        "alarms": alarms,
        "hours": hours,
        "per_hour": alarms / hours,
        "per_hour_interval": [float(low) / hours, float(high) / hours],
    }
