"""Augmentation: change how a recording sounds, never what is said.

The words of image augmentation have these counterparts for sound:

=================  ===========================================  ==================================
image              here                                         what is said
=================  ===========================================  ==================================
scaling (width)    ``speed``: faster is shorter and higher      stays, within some 20 %
scaling (values)   ``gain_db``: louder or quieter               stays
translation        ``shift_s``: earlier or later                stays; speech is never cut off
rotation           none: time and frequency have no common      would be lost, each band heard at
                   unit to turn in, and a turn would shear      another time; not offered
                   one into the other
horizontal flip    sound played backwards                       changes: "yes" backwards is no
                                                                "yes", and the words' order turns
                                                                round; not offered
vertical flip      frequencies upside down                      is lost: no longer speech; not
                                                                offered
noise              ``noise``, ``snr_db``: white, pink, babble   stays
erasing            ``time_mask``, ``freq_mask``                 stays: less than a word is hidden
=================  ===========================================  ==================================

The order is that of sound on its way: the speaker (speed), the moment (shift), the room (noise),
the recorder (gain), and, once there is a spectrogram, the masks.

Axes in names: F mel bands, T frames.
"""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.transforms import Resample

from raytune_yesno.tasks.speech.noise import FRAME_SAMPLES, NOISES, draw_noise, frame_power, mix
from raytune_yesno.tasks.speech.recording import SAMPLE_RATE

SNR_RANGE_DB = 20.0  # from the lowest ratio drawn to the highest
FRAMES_PER_MASK = 100  # 2 s: one time mask in each such stretch
BACKGROUND_FRAMES = 10
QUIET_FACTOR = 2.0  # background is within 3 dB of the quietest tenth of a recording
GUARD_FRAMES = 10  # 0.2 s around what is louder than background, for soft beginnings and ends


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far recordings are changed in training; 0 turns a part off, and the default is all off.

    All randomness comes from the generator given to a call. Every call draws the same numbers
    first, whatever is on, so one part's strength does not change what the others draw: the same
    stream with ``noise=0`` gives the clean half of a noisy recording, its words at the same times.

    Attributes:
        noise: probability that a recording gets noise, of a kind drawn from ``NOISES``.
        snr_db: lowest signal-to-noise ratio; it is drawn from this to 20 dB more.
        gain_db: largest change of level, either way.
        shift_s: largest shift, earlier or later.
        speed: largest relative change of speed, either way, in steps of 0.01; below 1.
        time_mask: most frames in a mask; there is one mask for every 2 s.
        freq_mask: most mel bands in a mask; there is one mask.
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
        """Whether waveforms change, so that features cannot be kept from epoch to epoch."""
        return any((self.noise, self.gain_db, self.shift_s, round(100 * self.speed)))

    @property
    def changes_spectrogram(self) -> bool:
        return bool(self.time_mask or self.freq_mask)

    def waveform(self, waveform: Tensor, generator: torch.Generator) -> Tensor:
        """Return a changed copy of a (samples,) or (1, samples) waveform at 8 kHz.

        Speed and shift change the number of samples; the dtype stays. Samples may leave [-1, 1].
        With all of it off the waveform comes back itself.
        """
        return self.waveforms(waveform, generator)[0]

    def waveforms(self, waveform: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the changed copy, and what it would be without noise; itself where none came."""
        if not self.changes_waveform:
            return waveform, waveform
        speed, shift, whether, kind, snr, gain = torch.rand(6, generator=generator).tolist()
        percent = round(100 * self.speed)
        x_1T = waveform.reshape(1, -1)
        x_1T = change_speed(x_1T, 100 - percent + int(speed * (2 * percent + 1)))
        x_1T = shift_in_time(x_1T, round((2 * shift - 1) * self.shift_s * SAMPLE_RATE))
        factor = math.pow(10, (2 * gain - 1) * self.gain_db / 20)
        quiet = (x_1T * factor).reshape(*waveform.shape[:-1], -1)
        if whether >= self.noise:
            return quiet, quiet
        noise = draw_noise(NOISES[int(kind * len(NOISES))], x_1T.shape[1], generator)
        x_1T = mix(x_1T, noise, self.snr_db + snr * SNR_RANGE_DB)
        return (x_1T * factor).reshape(*waveform.shape[:-1], -1), quiet

    def spectrogram(self, feature_FT: Tensor, generator: torch.Generator) -> Tensor:
        """Return (28, T) features on the CPU with stretches of time and of frequency set to zero.

        These are the masks of SpecAugment (Park et al., 2019), but for their number, which grows
        with the recording as in Park et al. (2020). Features are centred on zero, so a mask says
        as little as can be said. Two time masks are never closer to each other than they may be
        wide: no word is hidden from both sides.
        """
        if not self.changes_spectrogram:
            return feature_FT
        bands, frames = feature_FT.shape
        num_masks = max(1, frames // FRAMES_PER_MASK)
        width, place, turn, *draws = torch.rand(3 + 2 * num_masks, generator=generator).tolist()
        hidden_F = torch.zeros(bands, dtype=torch.bool)
        hidden_F[_place_mask(width, place, self.freq_mask, bands)] = True
        hidden_T = torch.zeros(frames, dtype=torch.bool)
        stretch = frames // num_masks
        for stretch_T, width, place in zip(
            hidden_T.split(stretch), draws[::2], draws[1::2], strict=False
        ):
            # The end of a stretch keeps this mask away from the next one.
            stretch_T[_place_mask(width, place, self.time_mask, stretch - self.time_mask)] = True
        # Wherever the stretches begin: every frame is as likely to be hidden.
        hidden_T = hidden_T.roll(int(turn * frames))
        hidden_FT = hidden_F[:, None] | hidden_T
        return feature_FT.masked_fill(hidden_FT, 0.0)


def change_speed(waveform: Tensor, percent: int) -> Tensor:
    """Play a (…, samples) waveform at a percentage of its speed.

    Like a tape's, the pitch goes along (Ko et al., "Audio augmentation for speech recognition",
    2015), and what would lie above half the sample rate is filtered out.
    """
    if percent == 100 or not waveform.numel():
        return waveform
    changed: Tensor = _build_resampler(percent, waveform.dtype)(waveform)
    return changed


@functools.lru_cache(maxsize=64)
def _build_resampler(percent: int, dtype: torch.dtype) -> Resample:
    return Resample(percent, 100, dtype=dtype)  # keeps its filter, a fifth of the time


def shift_in_time(waveform: Tensor, num_samples: int) -> Tensor:
    """Move a (1, samples) waveform later, or earlier if ``num_samples`` is negative.

    The gap on one side is filled with the recording's own background, not with digital zeros,
    which no microphone delivers. On the other side as much is cut off, but only where there is
    background too: speech that touches an end stays, and the recording becomes longer.
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


def _find_background(waveform: Tensor, power_T: Tensor) -> Tensor:
    """Return 0.2 s whose power is that of the quietest tenth of a (1, samples) waveform."""
    mean_T = F.avg_pool1d(power_T[None], BACKGROUND_FRAMES, stride=1)[0]
    rank = max(1, len(mean_T) // 10)
    start = int(mean_T.kthvalue(rank).indices) * FRAME_SAMPLES
    return waveform[:, start : start + BACKGROUND_FRAMES * FRAME_SAMPLES]


def _extend(stretch: Tensor, num_samples: int) -> Tensor:
    """Play a (1, samples) stretch forwards and backwards, without a click, as long as need be."""
    there_and_back = torch.cat([stretch, stretch.flip(1)], 1)
    turns = -(-num_samples // there_and_back.shape[1])
    return there_and_back.repeat(1, turns)[:, :num_samples]


def _place_mask(width: float, place: float, most: int, room: int) -> slice:
    """Turn two draws from [0, 1) into a mask of 0 to ``most`` places in the first ``room``."""
    room = max(0, room)
    chosen = int(width * (min(most, room) + 1))
    first = int(place * (room - chosen + 1))
    return slice(first, first + chosen)
