"""Synthetic sounds without words for training: backgrounds, and sounds to reject.

Each kind has a bank of 24 to 96 s, which is built once per process from random streams with
fixed names. A draw is a part of the bank with a random start.

Kinds beside those of :mod:`raytune_yesno.tasks.speech.noise`: ``brown`` (1/f², rumble), ``hiss``
(rising with frequency), ``hum`` (50 and 60 Hz and harmonics), ``tones`` (steady, gliding, wavering
and beeping), ``music`` (chords of struck and held notes over a bass), ``drums`` (decaying bursts),
``clicks``, ``crowd`` (three talkers), ``talk`` (one talker without words) and ``engine``
(noise in bands, steady or modulated).
"""

import functools
import math

import numpy as np
import torch
from torch import Tensor

from raytune_yesno.seeding import derive_seed
from raytune_yesno.tasks.speech.noise import draw_noise, monologues
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

BANK_S = 24
BANK_SAMPLES = BANK_S * SAMPLE_RATE

BACKGROUNDS = (
    *("white", "pink", "babble", "brown", "hiss", "hum", "tones", "music"),
    *("drums", "clicks", "crowd", "engine"),
)
"""Sounds in which speech must be recognised."""
DRAWN_BACKGROUNDS = (*BACKGROUNDS, "babble", "hum", "music", "music")
"""Backgrounds as often as they are drawn: those that hide most of speech more than once."""
SOUNDS = (*BACKGROUNDS, "talk")
"""Sounds in which no word must be recognised. A single talker is not a background."""
DRAWN_SOUNDS = (*SOUNDS, *["tones"] * 7)
"""Sounds as often as they are drawn between words: tones vary more than the others."""


def draw_sound(kind: str, num_samples: int, random: np.random.Generator) -> Tensor:
    """Return (samples,) of float32 sound of one of :data:`SOUNDS`, with an RMS near 1."""
    bank = build_bank(kind)
    start = int(random.integers(len(bank)))
    repeats = -(-(start + num_samples) // len(bank))
    return (bank if repeats == 1 else bank.repeat(repeats))[start : start + num_samples]


@functools.cache
def build_bank(kind: str) -> Tensor:
    """Return the bank of a kind: (samples,) with an RMS of 1."""
    random = np.random.default_rng(derive_seed("sounds", kind))
    match kind:
        case "white" | "pink" | "babble":
            bank = draw_noise(kind, BANK_SAMPLES, _torch_generator(kind))
        case "brown":
            bank = _draw_coloured(-1.0, random)
        case "hiss":
            bank = _draw_coloured(0.5, random)
        case "hum":
            bank = _draw_hum(random)
        case "tones":
            bank = _draw_tones(random)
        case "music":
            bands = [_draw_music(num_voices, random) for num_voices in (4, 2, 5, 3)]
            bands[1] += 0.3 * _draw_bursts(random, rate_hz=5.0, shortest_s=0.004, longest_s=0.06)
            bands[2] += 0.5 * _draw_bursts(random, rate_hz=3.0, shortest_s=0.02, longest_s=0.2)
            bank = torch.cat(bands)
        case "drums":
            bank = _draw_bursts(random, rate_hz=4.0, shortest_s=0.03, longest_s=0.4)
        case "clicks":
            bank = _draw_bursts(random, rate_hz=8.0, shortest_s=0.0005, longest_s=0.01)
        case "crowd":
            talks = [talk.repeat(3)[:BANK_SAMPLES] for talk in monologues()[:3]]
            bank = torch.stack(talks).sum(0)
        case "talk":
            bank = torch.cat(monologues())
        case "engine":
            bank = _draw_engine(random)
        case _:
            raise ValueError(f"sound: {kind!r} is not one of {', '.join(SOUNDS)}")
    return bank / bank.square().mean().sqrt()


def _torch_generator(kind: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed("sounds", kind))


def _tensor(samples: np.ndarray) -> Tensor:
    return torch.from_numpy(samples.astype(np.float32))


def _draw_coloured(power: float, random: np.random.Generator) -> Tensor:
    """Return noise whose amplitude is proportional to a power of frequency."""
    spectrum_F = np.fft.rfft(random.standard_normal(BANK_SAMPLES))
    hz_F = np.fft.rfftfreq(BANK_SAMPLES, 1 / SAMPLE_RATE)
    return _tensor(np.fft.irfft(spectrum_F * np.maximum(hz_F, 20.0) ** power, BANK_SAMPLES))


def _draw_hum(random: np.random.Generator) -> Tensor:
    """Return mains hum: 24 mixtures of few or many harmonics, 4 s each, some only of odd ones.

    Most scenes contain one mixture: hum is steady, and the features adapt to it.
    """
    pieces = []
    time_S = np.arange(BANK_SAMPLES // 6) / SAMPLE_RATE
    for number in range(24):
        mains_hz = (50.0, 60.0)[number % 2] * (1 + 0.01 * random.uniform(-1, 1))
        slope, highest = random.uniform(0.2, 1.5), int(3 * 13 ** random.uniform())
        piece = np.zeros_like(time_S)
        for harmonic in range(1, highest + 1, 2 if number % 3 == 0 else 1):
            level = random.uniform(0.3, 1.5) / harmonic**slope
            phase = random.uniform(0, 2 * math.pi)
            piece += level * np.sin(2 * math.pi * mains_hz * harmonic * time_S + phase)
        swell = 1 + random.uniform(0, 0.3) * np.sin(2 * math.pi * random.uniform(0.1, 2) * time_S)
        pieces.append(piece * swell / piece.std())
    return _tensor(np.concatenate(pieces))


def _draw_tones(random: np.random.Generator) -> Tensor:
    """Return 48 s of consecutive tones with few or many harmonics.

    They are steady, gliding, or waver by up to an octave; a third of them beep.
    """
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < 2 * BANK_SAMPLES:
        time_S = np.arange(int(random.uniform(0.3, 4.0) * SAMPLE_RATE)) / SAMPLE_RATE
        octaves_S = _draw_glide(time_S, random)
        hz_S = np.clip(100 * 30 ** random.uniform() * 2**octaves_S, 60, 3800)
        phase_S = 2 * math.pi * np.cumsum(hz_S) / SAMPLE_RATE
        tone = np.sin(phase_S)
        for harmonic in range(2, 1 + int(random.choice([1, 2, 3, 5, 8]))):
            level = random.uniform() / harmonic ** random.uniform(0, 1.5)
            shift = random.uniform(0, 2 * math.pi)
            audible_S = harmonic * hz_S < 3900
            tone = tone + level * audible_S * np.sin(harmonic * phase_S + shift)
        if random.uniform() < 0.2:
            tone = np.tanh(random.uniform(2, 10) * tone)
        if random.uniform() < 0.35:
            rate_hz, duty = random.uniform(1, 8), random.uniform(0.2, 0.8)
            gate_S = (time_S * rate_hz) % 1 < duty
            tone = tone * np.convolve(gate_S, np.hanning(160) / 80, "same")
        pieces.append(tone / max(tone.std(), 1e-3) * random.uniform(0.3, 1.0))
    return _tensor(np.concatenate(pieces))


def _draw_glide(time_S: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the course of a tone's frequency, in octaves."""
    kind = random.uniform()
    if kind < 0.4:
        return np.zeros_like(time_S)
    if kind < 0.65:
        return np.linspace(0, random.uniform(-1.5, 1.5), len(time_S))
    rate_hz = 0.15 * 40 ** random.uniform()
    octaves = random.uniform(0.02, 1.0) * min(1.0, 1.5 / math.sqrt(rate_hz))
    phase = random.uniform()
    if random.uniform() < 0.3:  # upwards again and again
        return octaves * (2 * ((time_S * rate_hz + phase) % 1) - 1)
    return octaves * np.sin(2 * math.pi * (rate_hz * time_S + phase))


def _draw_music(num_voices: int, random: np.random.Generator) -> Tensor:
    """Return chords and melodies of struck and held notes with harmonics, at varying tempos.

    The upper harmonics of struck notes fade faster. The RMS is 1.
    """
    music = np.zeros(BANK_SAMPLES + 4 * SAMPLE_RATE)
    for voice in range(num_voices):
        position, register = 0, random.integers(-1, 3)
        while position < BANK_SAMPLES:
            beat_s = random.uniform(0.12, 0.6) if voice % 2 else random.uniform(0.3, 1.6)
            root = random.choice([0, 2, 4, 5, 7, 9, 11, 12]) + 12 * register
            chord = (
                [0] if voice == 0 else [[0, 4, 7], [0, 3, 7], [-12], [0, 5, 9]][random.integers(4)]
            )
            length = int(SAMPLE_RATE * beat_s * random.uniform(0.6, 2.0))
            time_S = np.arange(length) / SAMPLE_RATE
            attack_s = random.choice([0.004, 0.03, 0.15])
            decay, fading = random.choice([0.5, 2.0, 6.0]), random.choice([0.0, 1.0])
            envelope_S = np.minimum(1, time_S / attack_s) * np.exp(-time_S * decay)
            envelope_S *= np.minimum(1, (time_S[-1] - time_S) / 0.02 + 1e-3)
            upper_S = np.exp(-time_S * fading)
            vibrato_S = random.uniform(0, 0.006) * np.sin(2 * math.pi * 5.5 * time_S)
            slope, level = random.uniform(0.5, 1.8), random.uniform(0.3, 1.0)
            for step in chord:
                hz = 130.8 * 2 ** ((root + step) / 12)
                phase_S = 2 * math.pi * hz * np.cumsum(1 + vibrato_S) / SAMPLE_RATE
                note_S, fade_S = np.zeros(length), envelope_S
                for harmonic in range(1, 9):
                    if harmonic * hz < 3900:
                        note_S += fade_S * np.sin(harmonic * phase_S) / harmonic**slope
                    fade_S = fade_S * upper_S
                music[position : position + length] += level * note_S
            position += int(SAMPLE_RATE * beat_s)
    return _tensor(music[:BANK_SAMPLES] / music[:BANK_SAMPLES].std())


def _draw_bursts(
    random: np.random.Generator, *, rate_hz: float, shortest_s: float, longest_s: float
) -> Tensor:
    """Return decaying bursts of noise, some with a pitch, at random times."""
    bursts = np.zeros(BANK_SAMPLES + 4 * SAMPLE_RATE)
    position = 0
    while position < BANK_SAMPLES:
        decay_s = shortest_s * (longest_s / shortest_s) ** random.uniform()
        length = max(8, int(4 * decay_s * SAMPLE_RATE))
        time_S = np.arange(length) / SAMPLE_RATE
        noise_S = random.standard_normal(length)
        if random.uniform() < 0.6:  # mostly a tone
            noise_S = noise_S * 0.2 + np.sin(2 * math.pi * random.uniform(60, 3000) * time_S)
        bursts[position : position + length] += (
            random.uniform(0.1, 1.0) * noise_S * np.exp(-time_S / decay_s)
        )
        position += int(SAMPLE_RATE * random.exponential(1 / rate_hz)) + 1
    return _tensor(bursts[:BANK_SAMPLES])


def _draw_engine(random: np.random.Generator) -> Tensor:
    """Return noise in bands with soft or sharp edges, steady or amplitude-modulated."""
    pieces, length = [], BANK_SAMPLES // 12
    hz_F = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    time_S = np.arange(length) / SAMPLE_RATE
    for number in range(12):
        if number % 2:
            centre_hz, width = 100 * 25 ** random.uniform(), random.uniform(0.2, 1.5)
            shape_F = np.exp(-np.square(np.log(np.maximum(hz_F, 1.0) / centre_hz) / width))
        else:
            low_hz = random.uniform(0, 2500)
            high_hz = low_hz + 300 * 8 ** random.uniform()
            shape_F = ((hz_F >= low_hz) & (hz_F <= high_hz)).astype(float)
        piece = np.fft.irfft(np.fft.rfft(random.standard_normal(length)) * shape_F, length)
        rate_hz, depth = 0.5 * 60 ** random.uniform(), random.uniform(-0.5, 0.95)
        piece *= 1 + max(0.0, depth) * np.sin(2 * math.pi * rate_hz * time_S)
        pieces.append(piece / piece.std())
    return _tensor(np.concatenate(pieces))
