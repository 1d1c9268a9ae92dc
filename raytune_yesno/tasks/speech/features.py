"""From waveforms to batches of log-mel spectrograms.

Axes in names: B batch, F mel bands, T frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from raytune_yesno.tasks.speech.networks import STRIDE, WINDOW, num_positions
from raytune_yesno.tasks.speech.recording import SAMPLE_RATE

HOP_S = 0.020
FFT_SAMPLES = 256
EDGE_FRAMES = 20
"""Silent frames added on both sides: the last word often touches the end of a recording, and a
word at the edge still needs a window around it."""


CONTEXT_FRAMES = 68
"""Frames before and after a frame on which its features depend, at most."""


class LogMel:
    """Turn a waveform into a normalised log-mel spectrogram.

    Every mel band has its mean over the recording taken off, which takes the microphone's
    colouring and the level with it; then all are divided by one standard deviation. Zero is thus a
    value that depends on no other recording, and what padding is made of.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, kind: str = "recording") -> None:
        self.dtype, self.kind = dtype, kind
        self._mel = MelSpectrogram(
            sample_rate=SAMPLE_RATE,
            n_fft=FFT_SAMPLES,
            hop_length=round(HOP_S * SAMPLE_RATE),
            n_mels=WINDOW,
        ).to(dtype)

    def __call__(self, waveform: Tensor) -> Tensor:
        """Return (28, T) features of a (1, samples) or (samples,) waveform in [-1, 1] at 8 kHz."""
        log_FT = torch.log(self._mel(waveform.reshape(-1).to(self.dtype)) + 1e-8)
        centred_FT = log_FT - log_FT.mean(dim=1, keepdim=True)
        return centred_FT / (centred_FT.square().mean().sqrt() + 1e-3)


def find_speech(feature_FT: Tensor) -> tuple[int, int]:
    """Return the first frame of speech and the one after the last, by energy.

    Speech begins and ends where the energy, smoothed over 0.1 s, crosses 40 % of the way from the
    quiet tenth of the recording to its loudest. Rough: enough for a start, not for cutting words.
    """
    energy_T = F.avg_pool1d(
        feature_FT.mean(0)[None, None], 5, stride=1, padding=2, count_include_pad=False
    )[0, 0]
    quiet, loud = energy_T.quantile(0.1), energy_T.quantile(0.95)
    speech = (energy_T >= quiet + 0.4 * (loud - quiet)).nonzero()
    return int(speech[0]), int(speech[-1]) + 1


def flat_alignment(feature_FT: Tensor, words: Sequence[int]) -> Tensor:
    """Spread a transcript evenly over the speech: a flat start for training without alignments.

    The monophone recipes of HTK and Kaldi begin so. Here each word is a bump around the middle of
    its even share of the speech, a quarter of that share wide, and blank is what is left.

    Returns:
        (P, 3) probabilities of blank, no and yes at each window position.
    """
    target_PC = no_alignment(feature_FT)
    begin, end = find_speech(feature_FT)
    share = (end - begin) / len(words)
    centres_P = torch.arange(len(target_PC)) * STRIDE + WINDOW / 2 - EDGE_FRAMES
    for number, word in enumerate(words):
        distance_P = (centres_P - begin - (number + 0.5) * share) / (share / 4)
        target_PC[:, 1 + word] += torch.exp(-distance_P.square() / 2)
    target_PC /= target_PC.sum(1, keepdim=True).clamp(min=1)
    target_PC[:, 0] = 1 - target_PC.sum(1)
    return target_PC


def no_alignment(feature_FT: Tensor) -> Tensor:
    """Return (P, 3) zeros, the alignment of a recording that is trained without one."""
    positions = num_positions(feature_FT.shape[1] + 2 * EDGE_FRAMES)
    return torch.zeros(positions, 3, dtype=feature_FT.dtype)


class Example(NamedTuple):
    """A recording as the networks see it: (28, T) features, words, (P, 3) flat alignment."""

    feature_FT: Tensor
    words: tuple[int, ...]
    flat_PC: Tensor


@dataclass(frozen=True)
class Batch:
    """Padded spectrograms and their transcripts; may be empty (a rank's share of a small batch).

    Attributes:
        x_B1FT: spectrograms with silence on both sides and up to the longest.
        positions_B: window positions of each recording, int64.
        words: all transcripts end to end, 1 yes, 0 no, int64.
        num_words_B: words of each recording, int64.
        flat_BPC: flat alignments; zeros beyond a recording's positions.
    """

    x_B1FT: Tensor
    positions_B: Tensor
    words: Tensor
    num_words_B: Tensor
    flat_BPC: Tensor

    def __len__(self) -> int:
        return len(self.x_B1FT)


def collate(examples: Sequence[Example], dtype: torch.dtype, device: torch.device) -> Batch:
    """Pad examples into one batch on ``device``; lengths stay on the CPU, where CTC wants them."""
    longest = max((example.feature_FT.shape[1] for example in examples), default=WINDOW)
    x_B1FT = torch.zeros(len(examples), 1, WINDOW, longest + 2 * EDGE_FRAMES, dtype=dtype)
    flat_BPC = torch.zeros(len(examples), num_positions(x_B1FT.shape[-1]), 3, dtype=dtype)
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
    )


def pad_silence(feature_FT: Tensor) -> Tensor:
    """Return (28, T) features with silence on both sides."""
    return F.pad(feature_FT, (EDGE_FRAMES, EDGE_FRAMES))


def position_time_s(position: float) -> float:
    """Return the time, in seconds from the recording's start, at a window position's centre."""
    return (position * STRIDE + WINDOW / 2 - EDGE_FRAMES) * HOP_S
