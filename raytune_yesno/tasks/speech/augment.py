"""Augmentation: change the sound of a recording but not its words.

These are the counterparts of image augmentation:

=================  ===========================================  ==================================
image              here                                         words
=================  ===========================================  ==================================
scaling (width)    ``speed``: faster is shorter and higher      kept, within about 20 %
scaling (values)   ``gain_db``: louder or quieter               kept
translation        ``shift_s``: earlier or later                kept; speech is never cut off
rotation           not offered: time and frequency have no      lost: each band would be heard at
                   common unit                                  another time
horizontal flip    not offered: sound played backwards          changed: "yes" backwards is not
                                                                "yes", and the words are reversed
vertical flip      not offered: frequencies upside down         lost: the sound is not speech
noise              ``noise``, ``snr_db``: white, pink, babble   kept
erasing            ``time_mask``, ``freq_mask``                 kept: less than a word is hidden
=================  ===========================================  ==================================

The order follows the path of the sound: speaker (speed), time (shift), room (noise), recorder
(gain). The masks are applied to the spectrogram.

Axes in names: F mel bands, T frames.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.transforms import Resample

from raytune_yesno.tasks.speech.noise import FRAME_SAMPLES, NOISES, draw_noise, frame_power, mix
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

SNR_RANGE_DB = 20.0  # width of the range that ratios are drawn from
FRAMES_PER_MASK = 100  # one time mask per 2 s
BACKGROUND_FRAMES = 10  # 0.2 s
QUIET_FACTOR = 2.0  # background is within 3 dB of the quietest tenth of a recording
GUARD_FRAMES = 10  # 0.2 s kept after the last loud frame: words may end softly


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strength of each part of augmentation. 0 turns a part off; by default all are off.

    All randomness is drawn from the generator given to a call. Every call draws the same numbers
    first, so the strength of one part does not change the draws of the others. The same stream
    with ``noise=0`` gives the clean version of a noisy recording, with the words at the same times.

    Attributes:
        noise: probability that noise is added; its kind is drawn from ``NOISES``.
        snr_db: lowest signal-to-noise ratio, dB; the highest is 20 dB more.
        gain_db: largest change of level in either direction, dB.
        shift_s: largest shift in either direction, s.
        speed: largest relative change of speed in either direction, below 1, in steps of 0.01.
        time_mask: maximum number of frames in a time mask; there is one mask per 2 s.
        freq_mask: maximum number of mel bands in the frequency mask.
    """

    noise: float = 0.0
    snr_db: float = 0.0
    gain_db: float = 0.0
    shift_s: float = 0.0
    speed: float = 0.0
    time_mask: int = 0
    freq_mask: int = 0

    @property
    def changes_waveform(self) -> bool:
        """Whether waveforms change. Features then cannot be cached across epochs."""
        return any((self.noise, self.gain_db, self.shift_s, round(100 * self.speed)))

    @property
    def changes_spectrogram(self) -> bool:
        """Whether spectrograms are masked."""
        return bool(self.time_mask or self.freq_mask)

    def waveform(self, waveform: Tensor, generator: torch.Generator) -> Tensor:
        """Return an augmented copy of a (samples,) or (1, samples) waveform at 8 kHz.

        Speed and shift change the number of samples; the dtype is kept. Samples may exceed
        [-1, 1]. Returns the input itself if every part is off.
        """
        return self.waveforms(waveform, generator)[0]

    def waveforms(self, waveform: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return an augmented copy and its version without noise.

        The two are the same object if no noise was added.
        """
        if not self.changes_waveform:
            return waveform, waveform
        speed, shift, noisy, kind, snr, gain = torch.rand(6, generator=generator).tolist()
        percent = round(100 * self.speed)
        x_1T = waveform.reshape(1, -1)
        x_1T = change_speed(x_1T, 100 - percent + int(speed * (2 * percent + 1)))
        x_1T = shift_in_time(x_1T, round((2 * shift - 1) * self.shift_s * SAMPLE_RATE))
        factor = math.pow(10, (2 * gain - 1) * self.gain_db / 20)
        clean = (x_1T * factor).reshape(*waveform.shape[:-1], -1)
        if noisy >= self.noise:
            return clean, clean
        noise = draw_noise(NOISES[int(kind * len(NOISES))], x_1T.shape[1], generator)
        x_1T = mix(x_1T, noise, self.snr_db + snr * SNR_RANGE_DB)
        return (x_1T * factor).reshape(*waveform.shape[:-1], -1), clean

    def spectrogram(self, feature_FT: Tensor, generator: torch.Generator) -> Tensor:
        """Return (28, T) features on the CPU with time and frequency masks set to zero.

        The masks are those of SpecAugment (Park et al., 2019). Their number grows with the length
        of the recording, as in Park et al. (2020). Features are centred on zero, so a masked value
        is uninformative. The distance between two time masks is at least the maximum width of a
        mask, so that no word is hidden from both sides.
        """
        if not self.changes_spectrogram:
            return feature_FT
        bands, frames = feature_FT.shape
        num_masks = max(1, frames // FRAMES_PER_MASK)
        width, start, roll, *draws = torch.rand(3 + 2 * num_masks, generator=generator).tolist()
        hidden_F = torch.zeros(bands, dtype=torch.bool)
        hidden_F[_scale_mask(width, start, self.freq_mask, bands)] = True
        hidden_T = torch.zeros(frames, dtype=torch.bool)
        length = frames // num_masks
        for segment_T, width, start in zip(
            hidden_T.split(length), draws[::2], draws[1::2], strict=False
        ):
            # The end of a segment is never masked, which separates this mask from the next one.
            segment_T[_scale_mask(width, start, self.time_mask, length - self.time_mask)] = True
        # A random rotation gives every frame the same probability of being masked.
        hidden_T = hidden_T.roll(int(roll * frames))
        hidden_FT = hidden_F[:, None] | hidden_T
        return feature_FT.masked_fill(hidden_FT, 0.0)


def change_speed(waveform: Tensor, percent: int) -> Tensor:
    """Play a (…, samples) waveform at a percentage of its speed.

    The pitch changes with the speed, as with a tape (Ko et al., "Audio augmentation for speech
    recognition", 2015). Frequencies that would exceed half the sample rate are filtered out.
    """
    if percent == 100 or not waveform.numel():
        return waveform
    resampler = _build_resampler(percent, waveform.dtype)
    width, kernel_KN = resampler.width, resampler.kernel[:, 0].T
    step, num_out = (rate // resampler.gcd for rate in (percent, 100))
    # As torchaudio does, but as a product of matrices: its convolution is compiled for each length.
    padded = F.pad(waveform, (width, width + step))
    changed = (padded.unfold(-1, len(kernel_KN), step) @ kernel_KN).flatten(-2)
    return changed[..., : math.ceil(waveform.shape[-1] * num_out / step)]


@functools.lru_cache(maxsize=64)
def _build_resampler(percent: int, dtype: torch.dtype) -> Resample:
    return Resample(percent, 100, dtype=dtype)  # cached: its filter is slow to compute


def shift_in_time(waveform: Tensor, num_samples: int) -> Tensor:
    """Delay a (1, samples) waveform, or advance it if ``num_samples`` is negative.

    The gap is filled with the recording's own background: microphones do not deliver digital
    zeros. The same number of samples is cut off at the other end, but only from background.
    Speech at that end is kept, and the recording becomes longer.
    """
    if num_samples < 0:
        return shift_in_time(waveform.flip(1), -num_samples).flip(1)
    power_T = frame_power(waveform)
    if num_samples == 0 or len(power_T) < BACKGROUND_FRAMES:
        return waveform
    smooth_T = F.avg_pool1d(power_T[None], BACKGROUND_FRAMES // 2, stride=1)[0]
    loud = (smooth_T > QUIET_FACTOR * smooth_T.quantile(0.1)).nonzero()
    speech_end = int(loud[-1]) + BACKGROUND_FRAMES // 2 + GUARD_FRAMES if len(loud) else 0
    quiet = max(0, waveform.shape[1] - speech_end * FRAME_SAMPLES)
    kept = waveform[:, : waveform.shape[1] - min(quiet, num_samples)]
    return torch.cat([_extend(_find_background(waveform, power_T), num_samples), kept], 1)


def warp_bands(feature_FT: Tensor, factor: float) -> Tensor:
    """Scale the frequencies of (28, T) features, as a vocal tract of another length does.

    This is vocal tract length perturbation (Jaitly and Hinton, 2013) on mel bands. Bands whose
    frequencies were not recorded are zero.

    Args:
        feature_FT: (28, T) mel features in which zero is silence.
        factor: factor on frequencies; a child's voice is about 1.2 times an adult's.
    """
    mel_F = np.linspace(0, _to_mel(SAMPLE_RATE / 2), len(feature_FT) + 2)[1:-1]
    source_F = _to_mel(_to_hz(mel_F) / factor) / mel_F[0] - 1  # in bands
    left_F = np.floor(source_F).astype(np.int64)
    share_F1 = torch.from_numpy(source_F - left_F).to(feature_FT.dtype)[:, None]
    padded_FT = F.pad(feature_FT, (0, 0, 0, 1))
    left_F, right_F = (np.clip(index, 0, len(feature_FT)) for index in (left_F, left_F + 1))
    return torch.lerp(
        padded_FT[torch.from_numpy(left_F)], padded_FT[torch.from_numpy(right_F)], share_F1
    )


def _to_mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 2595 * np.log10(1 + np.asarray(hz, dtype=np.float64) / 700)


def _to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 700 * (10 ** (mel / 2595) - 1)


def _find_background(waveform: Tensor, power_T: Tensor) -> Tensor:
    """Return the 0.2 s of a (1, samples) waveform at the 10th percentile of power."""
    mean_T = F.avg_pool1d(power_T[None], BACKGROUND_FRAMES, stride=1)[0]
    rank = max(1, len(mean_T) // 10)
    start = int(mean_T.kthvalue(rank).indices) * FRAME_SAMPLES
    return waveform[:, start : start + BACKGROUND_FRAMES * FRAME_SAMPLES]


def _extend(segment: Tensor, num_samples: int) -> Tensor:
    """Repeat a (1, samples) segment forwards and backwards, which avoids clicks at the joins."""
    there_and_back = torch.cat([segment, segment.flip(1)], 1)
    repeats = -(-num_samples // there_and_back.shape[1])
    return there_and_back.repeat(1, repeats)[:, :num_samples]


def _scale_mask(width: float, start: float, max_width: int, length: int) -> slice:
    """Scale two draws from [0, 1) to a mask of 0 to ``max_width`` of the first ``length`` items."""
    length = max(0, length)
    chosen = int(width * (min(max_width, length) + 1))
    first = int(start * (length - chosen + 1))
    return slice(first, first + chosen)
