"""Features: waveforms to batches of log-mel spectrograms.

Axes in names: B batch, F mel bands, T frames.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from raytune_yesno.tasks.speech.networks import STRIDE, WINDOW, num_positions
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.settings import SpeechConfig

HOP_S = 0.020
FFT_SAMPLES = 256
EDGE_FRAMES = 20
"""Silent frames added on both sides. The last word often touches the end of a recording, and a
word at the edge needs a window around it."""

LENGTH_STEP = 16
"""Batches are padded to a multiple of this many frames: oneDNN compiles the convolutions of a
network for each length of a batch, which takes as long as a step."""

NOISE_BLOCKS = 19
"""Blocks of :data:`STRIDE` frames on each side that the noise estimate covers: 1.5 s."""
PEAK_FRAMES = 20
"""Frames on each side over which the loudest sound masks others: 0.4 s."""
CONTEXT_FRAMES = (NOISE_BLOCKS + 1) * STRIDE
"""Maximum number of frames on each side of a frame that its features depend on."""

QUIET_SHARE = 3  # the quietest third of the blocks is noise
NOISE_BIAS = 1.5  # ratio of the mean power of noise to the mean level of those blocks
NOISE_FLOOR = 0.2  # share of the noise added as a floor: limits the logarithm between noise peaks
PEAK_FLOOR = 1e-4  # share of the loudest sound nearby: it masks sounds 40 dB below it
LEAST_POWER = 1e-6  # mel power of white noise of about -85 dB

BUMP_FRAMES = 5.0
"""Width of the bump of a word with a known centre: a word is heard for about 0.2 s."""

FEATURES = ("local", "recording")


class LogMel:
    """Log-mel spectrograms in which zero is silence, so that padding with zeros is silence.

    ``kind`` selects the reference:

    - ``local``: the logarithm of the power relative to the noise nearby, band by band. Digital
      silence, a quiet room and a steady hum are near zero at every level. A frame depends on at
      most :data:`CONTEXT_FRAMES` frames on each side. There is no state: a part of a recording
      that is cut at a multiple of :data:`STRIDE` frames, with that much context, has the features
      of the whole recording. A recording shorter than ``min_context_s`` counts as surrounded by
      silence, because one that is cut at the word has no quiet moment of its own.
    - ``recording``: the logarithm minus each band's mean over the recording, divided by one
      standard deviation for all bands. It depends on the amount of silence around the words.
      Checkpoints of older versions need it.

    Args:
        dtype: type of the features.
        kind: one of :data:`FEATURES`.
        min_context_s: length of sound, in seconds, up to which ``local`` adds silence to the noise
            estimate; at most 1.6.
    """

    def __init__(
        self, dtype: torch.dtype = torch.float32, kind: str = "local", min_context_s: float = 0.0
    ) -> None:
        self.dtype, self.kind = dtype, kind
        self.min_blocks = round(min_context_s / (STRIDE * HOP_S))
        self._mel = MelSpectrogram(
            sample_rate=SAMPLE_RATE,
            n_fft=FFT_SAMPLES,
            hop_length=round(HOP_S * SAMPLE_RATE),
            n_mels=WINDOW,
            pad_mode="constant" if kind == "local" else "reflect",
        ).to(dtype)

    @property
    def key(self) -> tuple[object, ...]:
        """What the features of a waveform depend on."""
        return str(self.dtype), self.kind, self.min_blocks

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """Window of the Fourier transform, (samples,), and mel filters, (frequencies, 28)."""
        return self._mel.spectrogram.window, self._mel.mel_scale.fb

    def __call__(self, waveform: Tensor) -> Tensor:
        """Return (28, T) features of a (1, samples) or (samples,) waveform in [-1, 1] at 8 kHz."""
        power_FT = self._mel(waveform.reshape(-1).to(self.dtype))
        if self.kind == "local":
            noise_FT = find_noise(power_FT, self.min_blocks)
            floor_FT = NOISE_FLOOR * noise_FT + PEAK_FLOOR * find_peak(power_FT) + LEAST_POWER
            return torch.log((power_FT + floor_FT) / (NOISE_BIAS * noise_FT + floor_FT)) / 2
        log_FT = torch.log(power_FT + 1e-8)
        centred_FT = log_FT - log_FT.mean(dim=1, keepdim=True)
        return centred_FT / (centred_FT.square().mean().sqrt() + 1e-3)


def build_extract(config: "SpeechConfig", trained_on: Mapping[str, str]) -> LogMel:
    """Return what computes the features of a model.

    Args:
        config: the config.
        trained_on: the ``recorded`` texts of the corpus that trains, or trained, the model. Silence
            surrounds short recordings only if that corpus consists of such.
    """
    min_context_s = config.min_context_s if trained_on.get("short") else 0.0
    return LogMel(getattr(torch, config.stored_dtype), config.features, min_context_s)


def find_noise(power_FT: Tensor, min_blocks: int = 0) -> Tensor:
    """Estimate the power of the noise nearby, band by band.

    The estimate is the geometric mean of the quietest third of the blocks within 1.5 s. Minimum
    statistics (Martin, 2001) use the minimum instead, which has a larger variance.

    Args:
        power_FT: (F, T) mel power.
        min_blocks: blocks that are silent if the sound nearby has fewer.

    Returns:
        (F, T) noise power.
    """
    frames = power_FT.shape[1]
    log_FT = torch.log(F.pad(power_FT, (0, -frames % STRIDE), mode="replicate") + LEAST_POWER)
    block_FN = log_FT.unflatten(1, (-1, STRIDE)).mean(2)
    padded_FN = F.pad(block_FN, (NOISE_BLOCKS, NOISE_BLOCKS), value=math.inf)
    windows_FNW = padded_FN.unfold(1, 2 * NOISE_BLOCKS + 1, 1)
    # numpy sorts short rows about ten times faster than torch.
    sorted_FNW = torch.from_numpy(np.sort(windows_FNW.numpy(), axis=2))
    known_N = sorted_FNW[0].isfinite().sum(1)
    quiet_N = torch.ceil(known_N.clamp(min=min_blocks) / QUIET_SHARE)
    silent_N = torch.minimum((min_blocks - known_N).clamp(min=0), quiet_N)
    counted_NW = torch.arange(2 * NOISE_BLOCKS + 1) < (quiet_N - silent_N)[:, None]
    sum_FN = sorted_FNW.masked_fill(~counted_NW, 0.0).sum(2) + silent_N * math.log(LEAST_POWER)
    noise_FN = sum_FN / quiet_N
    noise_FN = (noise_FN.exp() - LEAST_POWER).clamp(min=0)
    return noise_FN.repeat_interleave(STRIDE, dim=1)[:, :frames]


def find_peak(value_FT: Tensor) -> Tensor:
    """Return the largest value nearby, (1, T), of the mean over bands, smoothed over 3 frames."""
    mean_1T = F.avg_pool1d(value_FT.mean(0, keepdim=True), 3, stride=1, padding=1)
    return F.max_pool1d(mean_1T, 2 * PEAK_FRAMES + 1, stride=1, padding=PEAK_FRAMES)


def find_speech(feature_FT: Tensor) -> tuple[int, int]:
    """Return the first frame of speech and the frame after the last one.

    Speech is bounded by the frames whose energy, smoothed over 0.1 s, crosses 40 % of the range
    between its 10th and 95th percentile. The result is precise enough for a flat start, but not
    for cutting words.
    """
    energy_T = F.avg_pool1d(
        feature_FT.mean(0)[None, None], 5, stride=1, padding=2, count_include_pad=False
    )[0, 0]
    quiet, loud = energy_T.quantile(0.1), energy_T.quantile(0.95)
    speech = (energy_T >= quiet + 0.4 * (loud - quiet)).nonzero()
    return int(speech[0]), int(speech[-1]) + 1


def flat_alignment(feature_FT: Tensor, words: Sequence[int], num_classes: int = 3) -> Tensor:
    """Spread a transcript evenly over the speech: a flat start for training without alignments.

    The monophone recipes of HTK and Kaldi start in this way. Each word gets an equal share of the
    speech and a bump at its centre, a quarter of the share wide. Blank gets the rest.

    Returns:
        (P, C) probabilities of blank and the words at each window position.
    """
    begin, end = find_speech(feature_FT)
    share = (end - begin) / max(1, len(words))
    centres = [begin + (number + 0.5) * share for number in range(len(words))]
    return align(feature_FT, words, centres, share / 4, num_classes)


def known_alignment(
    feature_FT: Tensor, words: Sequence[int], centres_s: Sequence[float], num_classes: int = 3
) -> Tensor:
    """Return an alignment like :func:`flat_alignment` for words with known centres, in seconds."""
    centres = [centre_s / HOP_S for centre_s in centres_s]
    return align(feature_FT, words, centres, BUMP_FRAMES, num_classes)


def align(
    feature_FT: Tensor,
    words: Sequence[int],
    centres: Sequence[float],
    width: float,
    num_classes: int,
) -> Tensor:
    """Return an alignment with a Gaussian bump at the centre of each word.

    Args:
        feature_FT: (28, T) features.
        words: labels of the words.
        centres: centre of each word, in frames.
        width: standard deviation of the bumps, in frames.
        num_classes: number of words and one for blank.

    Returns:
        (P, C) probabilities of blank and the words.
    """
    target_PC = no_alignment(feature_FT, num_classes)
    if words:
        centres_P = torch.arange(len(target_PC)) * STRIDE + WINDOW / 2 - EDGE_FRAMES
        bumps_PW = torch.exp(-((centres_P[:, None] - torch.tensor(centres)) / width).square() / 2)
        target_PC.index_add_(1, 1 + torch.tensor(words), bumps_PW.to(target_PC.dtype))
    target_PC /= target_PC.sum(1, keepdim=True).clamp(min=1)
    target_PC[:, 0] = 1 - target_PC.sum(1)
    return target_PC


def no_alignment(feature_FT: Tensor, num_classes: int = 3) -> Tensor:
    """Return (P, C) zeros, which stand for a missing alignment in training."""
    positions = num_positions(feature_FT.shape[1] + 2 * EDGE_FRAMES)
    return torch.zeros(positions, num_classes, dtype=feature_FT.dtype)


def count_positions(num_samples: int) -> int:
    """Return the number of window positions of a waveform at 8 kHz."""
    frames = num_samples // round(HOP_S * SAMPLE_RATE) + 1
    return num_positions(frames + 2 * EDGE_FRAMES)


def needed_positions(words: Sequence[Any]) -> int:
    """Return the number of window positions below which CTC has no path for a transcript.

    Each word takes one, and equal neighbours a blank between them.
    """
    return len(words) + sum(word == after for word, after in itertools.pairwise(words))


class Example(NamedTuple):
    """Input of the networks for one recording: (28, T) features, words, (P, C) alignment."""

    feature_FT: Tensor
    words: tuple[int, ...]
    flat_PC: Tensor


@dataclass(frozen=True)
class Batch:
    """Padded spectrograms and their transcripts. A rank's share of a small batch may be empty.

    Attributes:
        x_B1FT: spectrograms with silence on both sides, padded to the longest.
        positions_B: number of window positions of each recording, int64.
        words: labels of all words, end to end, int64.
        num_words_B: number of words of each recording, int64.
        flat_BPC: alignments; zeros after the last position of a recording.
        fits: whether every recording has the positions that CTC needs for its words.
    """

    x_B1FT: Tensor
    positions_B: Tensor
    words: Tensor
    num_words_B: Tensor
    flat_BPC: Tensor
    fits: bool

    def __len__(self) -> int:
        return len(self.x_B1FT)


def collate(examples: Sequence[Example], dtype: torch.dtype, device: torch.device) -> Batch:
    """Pad examples into one batch on ``device``. Lengths stay on the CPU, as the CTC loss needs."""
    longest = max((example.feature_FT.shape[1] for example in examples), default=WINDOW)
    frames = longest + 2 * EDGE_FRAMES
    frames += -frames % LENGTH_STEP
    x_B1FT = torch.zeros(len(examples), 1, WINDOW, frames, dtype=dtype)
    classes = max((example.flat_PC.shape[1] for example in examples), default=1)
    flat_BPC = torch.zeros(len(examples), num_positions(x_B1FT.shape[-1]), classes, dtype=dtype)
    for row, (feature_FT, _, flat_PC) in enumerate(examples):
        x_B1FT[row, 0, :, EDGE_FRAMES : EDGE_FRAMES + feature_FT.shape[1]] = feature_FT
        flat_BPC[row, : len(flat_PC)] = flat_PC
    words = [word for example in examples for word in example.words]
    return Batch(
        x_B1FT=x_B1FT.to(device),
        positions_B=torch.tensor([len(example.flat_PC) for example in examples]),
        words=torch.tensor(words, dtype=torch.int64).to(device),
        num_words_B=torch.tensor([len(example.words) for example in examples]),
        flat_BPC=flat_BPC.to(device),
        fits=all(needed_positions(words) <= len(flat_PC) for _, words, flat_PC in examples),
    )


def pad_silence(feature_FT: Tensor) -> Tensor:
    """Return (28, T) features with silence on both sides."""
    return F.pad(feature_FT, (EDGE_FRAMES, EDGE_FRAMES))


def find_levels(feature_FT: Tensor) -> Tensor:
    """Return the level of the sound at each window position, (P,), in nepers.

    The level of a frame is the mean over bands of the power relative to the reference, with
    ``features=local`` the noise nearby. Levels are averaged over 5 frames, and that of a position
    is the largest in the middle of its window.

    Args:
        feature_FT: (28, T) features, at least :data:`WINDOW` frames.
    """
    # Features are half the logarithm of a power.
    level_1T = (torch.logsumexp(2 * feature_FT, 0, keepdim=True) - math.log(WINDOW)) / 2
    smooth_1T = F.avg_pool1d(level_1T, 5, stride=1)
    return F.max_pool1d(smooth_1T[:, 6:-6], WINDOW - 16, STRIDE)[0]


def position_time_s(position: float) -> float:
    """Return the time of the centre of a window position, in seconds from the start."""
    return (position * STRIDE + WINDOW / 2 - EDGE_FRAMES) * HOP_S
