"""Resample sound that arrives in blocks."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch

SAMPLE_RATE = 8000
"""Hz; the rate that everything else works at."""
RATE_RANGE_HZ = (2000, 384_000)  # below, words are indistinguishable; above, headers are damaged
Samples = npt.NDArray[np.float32]


class Resampler:
    """Resample a waveform that arrives in blocks to 8 kHz.

    The output does not depend on the sizes of the blocks, up to rounding.

    Args:
        rate: sample rate of the input, Hz.
    """

    def __init__(self, rate: int) -> None:
        # The filter grows with the terms of the ratio: the exact one of 44,101 Hz would take
        # gigabytes. A denominator up to 320 is exact for the usual rates (11,025 Hz is 441/320);
        # for others the error is 1e-5.
        ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(320)
        self._step, self._num_out = ratio.numerator, ratio.denominator  # samples in, samples out
        # torchaudio's filter reaches 6 zero crossings at 0.99 of the lower Nyquist frequency.
        reach = 6 * self._step / (0.99 * min(ratio.numerator, ratio.denominator))
        self._context = math.ceil(reach / self._step) * self._step
        self._pending = np.zeros(0, np.float32)
        self._num_past = 0  # samples of ``_pending`` that are only context

    def push(self, block: Samples, *, last: bool = False) -> Samples:
        """Add a block and return the output samples that it completes.

        Args:
            block: (samples,).
            last: whether no more blocks follow; all remaining samples are then returned.
        """
        if self._step == self._num_out:
            return block
        self._pending = np.concatenate([self._pending, block])
        num_ready = len(self._pending) - self._num_past - self._context
        num_steps = max(0, num_ready // self._step)
        if not last and not num_steps:
            return np.zeros(0, np.float32)
        begin = self._num_past // self._step * self._num_out
        end = None if last else begin + num_steps * self._num_out
        resampled = self._resample(self._pending)[begin:end]
        done = self._num_past + num_steps * self._step
        self._num_past = min(self._context, done)
        self._pending = self._pending[done - self._num_past :]
        return resampled

    def _resample(self, waveform: Samples) -> Samples:
        from torchaudio.functional import resample

        wave = torch.from_numpy(np.ascontiguousarray(waveform))
        return np.asarray(resample(wave, self._step, self._num_out).numpy(), dtype=np.float32)
