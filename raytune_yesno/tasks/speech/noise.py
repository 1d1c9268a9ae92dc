"""Synthetic noise of three kinds, and mixing of noise into speech at a signal-to-noise ratio.

Noise for validation and evaluation is fixed: it depends only on the name of its random stream, and
not on the set or order of other recordings. The three kinds are:

- ``white``: equal power at every frequency.
- ``pink``: 1/f, equal power in every octave above 20 Hz, similar to rooms and machines.
- ``babble``: eight simultaneous talkers without words. Spectrum, pitch and modulation are those of
  speech, so babble is the hardest of the three at the same ratio.

The ratio compares the active speech level of ITU-T P.56 with the mean power of the noise. Pauses do
not count, so the ratio does not depend on the amount of silence around the words. The recording's
own background counts as signal.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus

FRAME_SAMPLES = 160  # 20 ms, the frame of power measurements
NOISES = ("white", "pink", "babble")
SNRS_DB = (20, 10, 5, 0)

# P.56: speech is active while its envelope is within this margin of the active level, and during
# the hangover that follows.
MARGIN_DB = 15.9
HANGOVER_FRAMES = 10

NUM_TALKERS = 8
RESPONSE_SAMPLES = 160
LOWEST_PINK_HZ = 20.0


class Condition(NamedTuple):
    """A kind of noise and its signal-to-noise ratio in dB."""

    noise: str
    snr_db: float


LADDER = tuple(Condition(noise, snr_db) for noise in NOISES for snr_db in SNRS_DB)


class NoisyCopy(NamedTuple):
    """A recording with noise: its index in the corpus, the noise, and the (1, samples) mixture."""

    position: int
    condition: Condition
    waveform: Tensor


def noisy_copies(
    corpus: "Corpus", positions: Sequence[int], conditions: Iterable[Condition], *name: object
) -> Iterator[NoisyCopy]:
    """Yield every recording in every condition, one condition after another.

    Args:
        corpus: the corpus.
        positions: indices of the recordings.
        conditions: the conditions.
        name: name of the random stream, such as a purpose and a seed. The noise of a recording
            depends only on this, the condition and the recording's name.
    """
    for noise, snr_db in conditions:
        for position in positions:
            waveform = corpus[position][0]
            about = (*name, noise, float(snr_db), corpus.names[position])
            added = build_noise(noise, waveform.shape[-1], *about)
            yield NoisyCopy(position, Condition(noise, snr_db), mix(waveform, added, snr_db))


def build_noise(kind: str, num_samples: int, *name: object) -> Tensor:
    """Return (samples,) of float32 noise with an RMS of 1 from a named random stream."""
    return draw_noise(kind, num_samples, build_torch_generator("noise", *name))


def draw_noise(kind: str, num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of float32 noise at 8 kHz with an RMS of 1.

    Args:
        kind: one of ``NOISES``.
        num_samples: length of the noise.
        generator: source of randomness.

    Raises:
        ValueError: ``kind`` is unknown.
    """
    match kind:
        case "white":
            noise = torch.randn(num_samples, generator=generator)
        case "pink":
            noise = _draw_pink(num_samples, generator)
        case "babble":
            noise = _draw_babble(num_samples, generator)
        case _:
            raise ValueError(f"noise: {kind!r} is not one of {', '.join(NOISES)}")
    return noise / noise.square().mean().sqrt().clamp(min=1e-12)


def mix(waveform: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """Add noise to speech at a signal-to-noise ratio.

    The noise is rescaled, so its own level does not matter. The sum is not clipped and may exceed
    [-1, 1].

    Args:
        waveform: (samples,) or (1, samples).
        noise: the same number of samples.
        snr_db: signal-to-noise ratio, dB.

    Returns:
        The mixture, with the waveform's shape and dtype. The waveform itself if it or the noise is
        silent or empty.
    """
    signal, power = speech_power(waveform), noise.double().square().mean().item()
    if not (signal > 0 and power > 0):
        return waveform
    gain = math.sqrt(signal / power * 10 ** (-snr_db / 10))
    return waveform + gain * noise.to(waveform.dtype).reshape(waveform.shape)


def speech_power(waveform: Tensor) -> float:
    """Return the mean square of the active parts of a (samples,) or (1, samples) waveform.

    This is the active speech level of ITU-T P.56, method B, with the power of 20 ms frames as the
    envelope. The threshold is 15.9 dB below the level, pauses under 0.2 s count as active, and the
    level is the total energy divided by the active time. Noise alone is always active, so its level
    is its power. A constant offset is ignored. Silence has a power of 0.
    """
    power_T = frame_power(waveform - waveform.mean()) if waveform.numel() else waveform.new_zeros(0)
    if not power_T.numel():
        return 0.0
    held_T = F.pad(power_T, (HANGOVER_FRAMES - 1, 0))
    held_T = F.max_pool1d(held_T[None], HANGOVER_FRAMES, stride=1)[0]
    # With the k-th strongest frame as the threshold, k frames are active.
    thresholds_K = held_T.sort(descending=True).values
    levels_K = power_T.sum() / torch.arange(1, len(power_T) + 1)
    within = thresholds_K >= levels_K * 10 ** (-MARGIN_DB / 10)
    return levels_K[int(within.nonzero().max())].item() if within.any() else 0.0


def frame_power(waveform: Tensor) -> Tensor:
    """Return the float64 mean square of every complete 20 ms, or of all samples if fewer."""
    square = waveform.double().reshape(-1).square()
    frame = max(1, min(FRAME_SAMPLES, len(square)))
    return square[: len(square) - len(square) % frame].view(-1, frame).mean(1)


def _draw_pink(num_samples: int, generator: torch.Generator) -> Tensor:
    """Shape a white Gaussian spectrum by 1/sqrt(f) and transform it to the time domain.

    See Timmer & Koenig, "On generating power law noise", Astronomy & Astrophysics 300 (1995).
    Frequencies below 20 Hz are omitted: they are inaudible and outside the mel bands.
    """
    size = 1 << max(12, (num_samples - 1).bit_length())  # a power of two, for a fast FFT
    spectrum_F = torch.view_as_complex(torch.randn(size // 2 + 1, 2, generator=generator))
    # numpy transforms long signals two to three times faster than torch.
    noise = np.fft.irfft((spectrum_F * _pink_slope(size)).numpy())
    return torch.from_numpy(noise[:num_samples])


@functools.lru_cache(maxsize=4)
def _pink_slope(size: int) -> Tensor:
    hz_F = torch.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    slope_F: Tensor = torch.where(
        hz_F < LOWEST_PINK_HZ, 0.0, hz_F.clamp(min=LOWEST_PINK_HZ).rsqrt()
    )
    return slope_F


def _draw_babble(num_samples: int, generator: torch.Generator) -> Tensor:
    """Mix all talkers, each from a random start in its monologue and with a gain within 3 dB.

    All babble uses the same monologues, like recordings of a crowd. They repeat with different
    periods, so that the mixture does not repeat.
    """
    total = torch.zeros(num_samples)
    for talk, draw in zip(
        monologues(), torch.rand(NUM_TALKERS, 2, generator=generator), strict=True
    ):
        start = int(draw[0] * len(talk))
        repeats = -(-(start + num_samples) // len(talk))
        gain = 10 ** ((6 * draw[1].item() - 3) / 20)
        total.add_(talk.repeat(repeats)[start : start + num_samples], alpha=gain)
    return total


@functools.lru_cache(maxsize=1)
def monologues() -> tuple[Tensor, ...]:
    """Return the monologue of each talker: (samples,) of at least 10 s, with an RMS of 1."""
    return tuple(
        _talk(80_000 + 1009 * number, build_torch_generator("talker", number))
        for number in range(NUM_TALKERS)
    )


def _talk(num_samples: int, generator: torch.Generator) -> Tensor:
    """Synthesise meaningless syllables: gliding vowels with hisses and pauses between them.

    Each glottal pulse excites the decaying response of the vocal tract at that time (Rodet,
    "Time-domain formant-wave-function synthesis", Computer Music Journal 8(3), 1984).
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    num_syllables = num_samples // 1000  # enough: a syllable has at least 0.13 s, 1040 samples
    seconds = uniform(0.13, 0.30, num_syllables)
    pauses = torch.where(uniform(0, 1, num_syllables) < 0.2, uniform(0.15, 0.5, num_syllables), 0.0)
    ends = ((seconds + pauses).cumsum(0) * SAMPLE_RATE).long()
    begins = ends - ((seconds + pauses) * SAMPLE_RATE).long()
    loudness = uniform(0.4, 1.0, num_syllables)
    low = torch.tensor([280.0, 900.0, 2300.0])  # range of the first three formants, Hz
    high = torch.tensor([750.0, 2200.0, 2900.0])
    tract = uniform(0.92, 1.18, 1)
    targets = (low + (high - low) * uniform(0, 1, num_syllables + 1, 3)) * tract

    pitch_hz = float(uniform(95, 230, 1))
    count = torch.arange(int(1.5 * num_samples * pitch_hz / SAMPLE_RATE))
    melody = 0.12 * torch.sin(count * (2 * math.pi / (pitch_hz * float(uniform(1.0, 2.0, 1)))))
    periods = SAMPLE_RATE / pitch_hz * (1 + melody + uniform(-0.02, 0.02, len(count)))
    pulses_P = periods.cumsum(0).long()
    pulses_P = pulses_P[pulses_P < num_samples]
    syllable_P = torch.searchsorted(ends, pulses_P, right=True)
    share_P = (pulses_P - begins[syllable_P]) / (seconds[syllable_P] * SAMPLE_RATE)
    level_P = loudness[syllable_P] * torch.sin(math.pi * share_P.clamp(0, 1))
    formants_P3 = torch.lerp(targets[syllable_P], targets[syllable_P + 1], share_P[:, None])

    time_R = torch.arange(RESPONSE_SAMPLES) / SAMPLE_RATE
    response_PR = torch.zeros(len(pulses_P), RESPONSE_SAMPLES)
    for formant, (gain, bandwidth_hz) in enumerate([(1.0, 80.0), (0.4, 110.0), (0.15, 160.0)]):
        decay_R = gain * torch.exp(-math.pi * bandwidth_hz * time_R)
        response_PR += decay_R * torch.sin(2 * math.pi * formants_P3[:, formant, None] * time_R)
    index_PR = pulses_P[:, None] + torch.arange(RESPONSE_SAMPLES)
    voice = torch.zeros(num_samples + RESPONSE_SAMPLES)
    voice.index_add_(0, index_PR.reshape(-1), (level_P[:, None] * response_PR).reshape(-1))

    # A third of the syllables begin with a hiss. The difference filter removes its low frequencies.
    hisses = torch.where(
        uniform(0, 1, num_syllables) < 0.33, uniform(0.05, 0.2, num_syllables), 0.0
    )
    sample_S = torch.arange(num_samples)
    syllable_S = torch.searchsorted(ends, sample_S, right=True)
    share_S = (sample_S - begins[syllable_S]) / (0.3 * seconds[syllable_S] * SAMPLE_RATE)
    level_S = hisses[syllable_S] * torch.sin(math.pi * share_S.clamp(0, 1))
    hiss = torch.randn(num_samples + 1, generator=generator).diff() * level_S
    talk = voice[:num_samples] + hiss
    return talk / talk.square().mean().sqrt()
