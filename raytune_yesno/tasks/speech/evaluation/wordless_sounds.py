"""Synthetic sounds without words, for evaluation only.

Training must not use this module: ``evaluate`` reports these sounds as new to the model. The noise
of training and validation is in :mod:`raytune_yesno.tasks.speech.noise`.

A sound depends only on its generator. All are at 8 kHz.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

BEAT_S = 0.4
"""Seconds between two notes of :func:`draw_music`: 150 beats per minute."""

_SCALE_HZ = tuple(220.0 * 2 ** (step / 12) for step in (0, 2, 3, 5, 7, 8, 10))  # A minor from A3
_CHORDS = ((0, 2, 4), (5, 0, 2), (2, 4, 6), (6, 1, 3))  # degrees of the scale: i, VI, III, VII
_CLICK_SAMPLES = 80  # 10 ms


def draw_hum(num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of mains hum: 50 or 60 Hz and harmonics up to 1 kHz with random phases.

    The amplitude of harmonic k is drawn around 1/k, as from a transformer and a rectifier.
    """
    base_hz = 50.0 if _uniform(generator) < 0.5 else 60.0
    number_K = torch.arange(1, int(1000 / base_hz) + 1)
    amplitude_K = (0.5 + torch.rand(len(number_K), generator=generator)) / number_K
    phase_K = 2 * math.pi * torch.rand(len(number_K), generator=generator)
    time_S = torch.arange(num_samples, dtype=torch.float64) / SAMPLE_RATE
    hum = torch.zeros(num_samples, dtype=torch.float64)
    for number, amplitude, phase in zip(
        number_K.tolist(), amplitude_K.tolist(), phase_K.tolist(), strict=True
    ):
        hum += amplitude * torch.sin(2 * math.pi * base_hz * number * time_S + phase)
    return hum.float()


def draw_tone(num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of one steady sine between 300 and 3000 Hz."""
    hz = 300.0 * 10 ** _uniform(generator)
    time_S = torch.arange(num_samples, dtype=torch.float64) / SAMPLE_RATE
    return torch.sin(2 * math.pi * hz * time_S).float()


def draw_music(num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of music-like sound: plucked chords, a bass, a melody and a hi-hat.

    Each note is six decaying harmonics. Four chords of A minor change every four beats.
    """
    beat = round(BEAT_S * SAMPLE_RATE)
    length = 3 * beat
    music = torch.zeros(num_samples + length)
    notes: dict[float, Tensor] = {}
    for number, start in enumerate(range(0, num_samples, beat)):
        chord = [_SCALE_HZ[degree] for degree in _CHORDS[number // 4 % len(_CHORDS)]]
        notes_hz = [chord[0] / 2, _SCALE_HZ[int(_uniform(generator) * len(_SCALE_HZ))] * 2]
        if number % 2 == 0:
            notes_hz += chord
        for hz in notes_hz:
            if hz not in notes:
                notes[hz] = _pluck(hz, length, generator)
            music[start : start + length] += notes[hz]
        hat = torch.randn(beat // 4, generator=generator)
        hat *= torch.exp(-torch.arange(beat // 4) / (0.015 * SAMPLE_RATE))
        music[start + beat // 2 : start + beat // 2 + len(hat)] += 0.3 * hat.diff(prepend=hat[:1])
    return music[:num_samples]


def draw_clicks(num_samples: int, generator: torch.Generator, per_second: float = 4.0) -> Tensor:
    """Return (samples,) of clicks at random times, with peaks between 0.3 and 1.

    A click is 10 ms of noise that decays within 1 to 3 ms, as from a switch or a scratch.
    """
    count = max(1, round(per_second * num_samples / SAMPLE_RATE))
    starts = (torch.rand(count, generator=generator) * num_samples).long()
    clicks = torch.zeros(num_samples + _CLICK_SAMPLES)
    time_S = torch.arange(_CLICK_SAMPLES) / SAMPLE_RATE
    for start in starts.tolist():
        decay_s = 0.001 + 0.002 * _uniform(generator)
        click = torch.randn(_CLICK_SAMPLES, generator=generator) * torch.exp(-time_S / decay_s)
        peak = 0.3 + 0.7 * _uniform(generator)
        clicks[start : start + _CLICK_SAMPLES] += peak * click / click.abs().max()
    return clicks[:num_samples]


def draw_bursts(num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of noise bursts of 0.1 to 0.4 s, one per second, like knocks or rustling.

    Each has its own band between 100 and 3900 Hz.
    """
    bursts = torch.zeros(num_samples)
    for second in range(0, num_samples, SAMPLE_RATE):
        length = round((0.1 + 0.3 * _uniform(generator)) * SAMPLE_RATE)
        start = second + int(_uniform(generator) * (SAMPLE_RATE - length))
        low, high = sorted((100 + 3800 * _uniform(generator), 100 + 3800 * _uniform(generator)))
        burst = band_pass(torch.randn(length, generator=generator), low, max(high, low + 300))
        burst *= torch.hann_window(length)
        burst /= burst.square().mean().sqrt().clamp(min=1e-9)
        end = min(num_samples, start + length)
        if start < end:
            bursts[start:end] += burst[: end - start]
    return bursts


def draw_siren(num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of a gliding tone with harmonics, 500 to 1500 Hz every 1 to 4 s."""
    period_s = 1 + 3 * _uniform(generator)
    time_S = torch.arange(num_samples, dtype=torch.float64) / SAMPLE_RATE
    hz_S = 1000 + 500 * torch.sin(2 * math.pi * time_S / period_s)
    phase_S = 2 * math.pi * hz_S.cumsum(0) / SAMPLE_RATE
    return (torch.sin(phase_S) + 0.4 * torch.sin(2 * phase_S)).float()


def draw_brown(num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of 1/f² noise above 30 Hz, as from wind or a car."""
    spectrum_F = torch.fft.rfft(torch.randn(num_samples, generator=generator))
    hz_F = torch.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)
    return torch.fft.irfft(spectrum_F / hz_F.clamp(min=30.0) * (hz_F >= 30.0), n=num_samples)


def draw_speech(num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of one talker with meaningless syllables.

    Vowels are a buzz with a gliding pitch, filtered by two formants. Consonants are band-limited
    noise. The synthesis differs from that of the babble in
    :mod:`raytune_yesno.tasks.speech.noise`.
    """
    frame = 80  # 10 ms
    pitch_hz = 90 + 130 * _uniform(generator)
    speech = torch.zeros(num_samples)
    position = 0
    while position < num_samples:
        length = round((0.12 + 0.2 * _uniform(generator)) * SAMPLE_RATE / frame) * frame
        glide_S = 1 + 0.25 * (_uniform(generator) - 0.5) * torch.linspace(-1, 1, length)
        phase_S = (pitch_hz * (0.85 + 0.3 * _uniform(generator)) * glide_S).cumsum(0) / SAMPLE_RATE
        buzz = F.pad(phase_S.frac().diff() < 0, (1, 0)).float()
        buzz += 0.01 * torch.randn(length, generator=generator)
        first_hz, second_hz = 280 + 520 * _uniform(generator), 850 + 1500 * _uniform(generator)
        vowel = _resonate(buzz, first_hz, 90) + 0.5 * _resonate(buzz, second_hz, 140)
        vowel *= torch.hann_window(length).sqrt()
        vowel /= vowel.square().mean().sqrt().clamp(min=1e-9)
        low = 600 + 2400 * _uniform(generator)
        consonant = torch.randn(
            round((0.03 + 0.09 * _uniform(generator)) * SAMPLE_RATE), generator=generator
        )
        consonant = band_pass(consonant, low, low + 1000) * torch.hann_window(len(consonant))
        syllable = torch.cat([0.7 * consonant, vowel * (0.5 + 0.5 * _uniform(generator))])
        end = min(num_samples, position + len(syllable))
        speech[position:end] = syllable[: end - position]
        pause_s = 0.15 + 0.5 * _uniform(generator) if _uniform(generator) < 0.2 else 0.01
        position = end + round(pause_s * SAMPLE_RATE)
    return speech


Sound = Callable[[int, torch.Generator], Tensor]

SOUNDS: dict[str, Sound] = {
    "hum": draw_hum,
    "tone": draw_tone,
    "music": draw_music,
    "clicks": draw_clicks,
    "bursts": draw_bursts,
    "siren": draw_siren,
    "brown": draw_brown,
    "speech": draw_speech,
}
"""Functions that draw (samples,) of float32 sound at 8 kHz. Their levels differ."""


def band_pass(waveform: Tensor, low_hz: float, high_hz: float, edge_hz: float = 100.0) -> Tensor:
    """Filter a (samples,) waveform in the frequency domain.

    Args:
        waveform: (samples,).
        low_hz: lower limit of the pass band.
        high_hz: upper limit of the pass band.
        edge_hz: width of the raised-cosine edges outside the pass band.
    """
    size = len(waveform)
    hz_F = torch.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    outside_F = torch.maximum(low_hz - hz_F, hz_F - high_hz).clamp(0, edge_hz)
    gain_F = 0.5 + 0.5 * torch.cos(math.pi * outside_F / edge_hz)
    return torch.fft.irfft(torch.fft.rfft(waveform) * gain_F, n=size)


def _uniform(generator: torch.Generator) -> float:
    """Draw a uniform number from [0, 1)."""
    return torch.rand((), generator=generator).item()


def _pluck(hz: float, num_samples: int, generator: torch.Generator) -> Tensor:
    time_S = torch.arange(num_samples) / SAMPLE_RATE
    note = torch.zeros(num_samples)
    for harmonic in range(1, 7):
        if harmonic * hz < SAMPLE_RATE / 2:
            phase = 2 * math.pi * _uniform(generator)
            wave = torch.sin(2 * math.pi * harmonic * hz * time_S + phase)
            note += wave * torch.exp(-time_S * (2 + harmonic)) / harmonic
    return note * (1 - torch.exp(-time_S * 200))  # 5 ms attack


def _resonate(source: Tensor, hz: float, bandwidth_hz: float) -> Tensor:
    """Filter a (samples,) source by a resonance, by convolution with its impulse response."""
    time_S = torch.arange(240) / SAMPLE_RATE
    response = torch.exp(-math.pi * bandwidth_hz * time_S) * torch.sin(2 * math.pi * hz * time_S)
    return F.conv1d(F.pad(source[None, None], (239, 0)), response.flip(0)[None, None])[0, 0]
