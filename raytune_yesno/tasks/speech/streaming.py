"""Recognise recordings of any length block by block, with bounded memory.

A frame of the features depends on ``features.CONTEXT_FRAMES`` frames on each side, and a position
of the network on a window of ``networks.WINDOW`` frames. A block with that much context therefore
gives the result of the whole recording, up to rounding. With ``features: recording``, features
depend on the whole recording. The waveform is then kept until the end, and only the network works
in blocks.

Axes in names: C classes, F mel bands, P window positions, T frames.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from raytune_yesno.tasks.speech.decode import BEST_PATH, Decoding, Word
from raytune_yesno.tasks.speech.features import (
    CONTEXT_FRAMES,
    EDGE_FRAMES,
    FFT_SAMPLES,
    HOP_S,
    LogMel,
    find_levels,
)
from raytune_yesno.tasks.speech.networks import STRIDE, WINDOW, ShiftAverage, num_positions
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

BLOCK_S = 60.0
"""Length of a block offline, in seconds: long enough for the context to cost little."""
LIVE_BLOCK_S = 0.24
"""Length of a block in live recognition, in seconds."""

_HOP = round(HOP_S * SAMPLE_RATE)


class FrameStream:
    """Compute features of samples that arrive in pieces.

    Args:
        extract: computes the features.
        block_s: minimum length of a block of frames, in seconds; the last may be shorter.
    """

    def __init__(self, extract: LogMel, block_s: float = BLOCK_S) -> None:
        self.num_samples = 0
        self._extract = extract
        self._block_frames = max(1, round(block_s / HOP_S))
        self._whole = extract.kind == "recording"
        self._pieces: list[Tensor] = []  # samples from frame ``_from`` to the end
        self._from = 0
        self._done = 0  # number of frames returned

    def push(self, samples: Tensor) -> Iterator[Tensor]:
        """Add (samples,) at 8 kHz and yield the (28, T) frames that no later sample can change."""
        self.num_samples += len(samples)
        self._pieces.append(samples)
        # Frame t is centred on sample 160 t.
        known = (self.num_samples - FFT_SAMPLES // 2) // _HOP + 1 - CONTEXT_FRAMES
        while not self._whole and known - self._done >= self._block_frames:
            yield self._frames(self._done + self._block_frames)

    def finish(self) -> Iterator[Tensor]:
        """Yield the remaining frames. A recording shorter than 32 ms has none."""
        if self.num_samples >= FFT_SAMPLES:
            yield self._frames(self.num_samples // _HOP + 1, last=True)

    def _frames(self, end: int, *, last: bool = False) -> Tensor:
        """Return the frames not yet returned up to ``end``; drop samples that are not needed."""
        audio = self._pieces[0] if len(self._pieces) == 1 else torch.cat(self._pieces)
        # At a cut, padding makes the outermost frame wrong. The additional frame keeps it out of
        # the context of the others.
        margin = CONTEXT_FRAMES + 1
        stop = len(audio) if last else (end + margin - self._from) * _HOP
        feature_FT = self._extract(audio[:stop])[:, self._done - self._from : end - self._from]
        self._done = end
        # Features may group frames by the stride, counted from the first one.
        if (start := max(0, end - margin) // STRIDE * STRIDE) > self._from:
            audio = audio[(start - self._from) * _HOP :]
            self._from = start
        self._pieces = [audio]
        return feature_FT


class WordStream:
    """Recognise words in samples that arrive in pieces.

    Args:
        model: the network.
        extract: computes the features.
        block_s: as for :class:`FrameStream`.
        decoding: turns log-probabilities into words.
    """

    def __init__(
        self,
        model: ShiftAverage,
        extract: LogMel,
        block_s: float = BLOCK_S,
        decoding: Decoding = BEST_PATH,
    ) -> None:
        self._model, self._decoding = model, decoding
        self._frames = FrameStream(extract, block_s)
        # Silence is added before and after the recording, as in training.
        self._feature_FT = torch.zeros(WINDOW, model.before + EDGE_FRAMES, dtype=extract.dtype)
        self._network_frames = max(WINDOW, round(BLOCK_S / HOP_S))
        # Positions not yet decoded, after those decoded that the next score depends on.
        self._logp_PC = torch.zeros(0, 1)
        self._level_P = torch.zeros(0, dtype=extract.dtype)
        self._first = 0  # number of the first row of ``_logp_PC``
        self._done = 0  # number of its rows already decoded

    @property
    def num_samples(self) -> int:
        """Number of samples so far."""
        return self._frames.num_samples

    def push(self, samples: Tensor) -> list[Word]:
        """Add (samples,) at 8 kHz and return the words that are complete."""
        words = []
        for feature_FT in self._frames.push(samples):
            words += self._read(feature_FT)
        return words

    def finish(self) -> list[Word]:
        """Return the remaining words at the end of the recording."""
        words = []
        for feature_FT in self._frames.finish():
            # Split into blocks: with ``features: recording`` these are all frames.
            padded_FT = F.pad(feature_FT, (0, EDGE_FRAMES + self._model.after))
            for block_FT in padded_FT.split(self._network_frames, dim=1):
                words += self._read(block_FT)
        return words + self._decode(len(self._logp_PC))

    @torch.no_grad()
    def _read(self, feature_FT: Tensor) -> list[Word]:
        """Add (28, T) frames and return the words that are complete."""
        self._feature_FT = torch.cat([self._feature_FT, feature_FT], dim=1)
        before, after = self._model.before, self._model.after
        unshifted_FT = self._feature_FT[:, before : self._feature_FT.shape[1] - after]
        positions = num_positions(unshifted_FT.shape[1])
        if not positions:
            return []
        logp_PC = self._model.slide(self._feature_FT[None, None])[0]
        self._level_P = torch.cat([self._level_P, find_levels(unshifted_FT)])
        # A block begins at a multiple of the stride, which is even as pooling by two requires.
        self._feature_FT = self._feature_FT[:, positions * STRIDE :]
        self._logp_PC = torch.cat([self._logp_PC, logp_PC]) if len(self._logp_PC) else logp_PC
        # A word that ends before a blank is complete once its context is known.
        ready = len(self._logp_PC) - self._decoding.context
        blanks = (self._decoding.label(self._logp_PC)[self._done : max(0, ready)] == 0).nonzero()
        return self._decode(self._done + int(blanks[-1]) + 1) if len(blanks) else []

    def _decode(self, end: int) -> list[Word]:
        """Decode the rows before ``end``. No word may continue after the last of them."""
        found = self._decoding.decode(self._logp_PC, self._level_P, begin=self._done, end=end)
        words = [
            replace(word, first=self._first + word.first, last=self._first + word.last)
            for word in found
        ]
        drop = max(0, end - self._decoding.context)
        self._logp_PC, self._level_P = self._logp_PC[drop:], self._level_P[drop:]
        self._first += drop
        self._done = end - drop
        return words
