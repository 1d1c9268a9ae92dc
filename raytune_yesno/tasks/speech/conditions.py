"""Conditions of evaluation that training does not use.

``noise.py`` contains the noise conditions, which validation also uses. The conditions here are
others: rooms, microphones, codecs, levels, silence, and sounds that are not noise. Training must
not use this module. If a config augments with a similar effect, from its own generators,
:meth:`UnseenCondition.related_settings` names the settings. ``evaluate`` then reports the
condition in a group of its own.

A changed recording depends only on the condition and the recording's name. Ratios in dB compare
the active speech level (ITU-T P.56) with the mean power of the sound, as in
:func:`~raytune_yesno.tasks.speech.noise.mix`.

===============  ===========================  ==================================================
kind             settings                     what changes
===============  ===========================  ==================================================
reverberation    0.4, 1 s                     a room with this reverberation time (RT60)
hum              5 dB                         mains hum, 50 or 60 Hz and harmonics
tone             10 dB                        a steady sine, 300 to 3000 Hz
music            10, 5 dB                     chords, bass, melody and hi-hat
clicks           4 per s                      clicks with peaks as high as the speech's
bursts           10 dB                        a burst of band-limited noise every second
clipping         12, 24 dB                    samples cut off this far below the peak
5 bit            linear                       samples rounded to 5 bits of full scale
band             telephone, muffled, thin     only 300 to 3400, 0 to 1500, or 800 to 4000 Hz
tilt             6, -6 dB                     highs raised or lowered, per octave
speed            80, 120 %                    a tape at another speed: pitch and length change
level            -40 dB                       quieter, then rounded to 16 bits
level step       -30, 30 dB                   the second half is quieter, or the first
padding          1, 2, 5 s                    digital silence before and after
padding noise    -60, -40 dB                  5 s of white noise before and after, dB full scale
pause            8 s silent, 8 s room         a pause in the middle of the recording
between          30 s room                    the recording twice, with room noise between
codec            mu-law, adpcm, gsm, opus,    encoded and decoded, lossy ones at their lowest
                 mp3                          quality
tempo            75, 130 %                    length changes, pitch does not
pitch            -3, 3 semitones              pitch and formants change, length does not
flutter          3 %                          the speed varies five times a second
echo             0.25 s                       one echo, 6 dB weaker
dropouts         5 %                          packets of 20 ms are lost (zeros)
fading           1 per s                      the level falls by up to 20 dB and recovers
gain control     30 dB                        quiet parts amplified by at most this gain
denoised         20 dB                        white noise, then a crude noise gate per frequency
siren            10 dB                        a gliding tone with harmonics
offset           0.1                          a constant added, as by a faulty converter
===============  ===========================  ==================================================
"""

import functools
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor

from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.tasks.speech import wordless
from raytune_yesno.tasks.speech.noise import frame_power, mix
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus

Change = Callable[[Tensor, torch.Generator], Tensor]
"""Function from a (samples,) float32 waveform at 8 kHz to a changed one of any length."""

_ROOM_SAMPLES = 2048  # 0.256 s of background, the source of the room noise's spectrum


@dataclass(frozen=True)
class UnseenCondition:
    """A change of recordings that training does not make.

    Attributes:
        kind: kind of change.
        setting: strength of the change, with its unit.
        change: applies the change.
        times: number of times that the changed recording repeats the words.
        related: settings of a config that make training augment with a similar effect.
    """

    kind: str
    setting: str
    change: Change
    times: int = 1
    related: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Kind and setting."""
        return f"{self.kind} {self.setting}"

    def related_settings(self, config: object) -> tuple[str, ...]:
        """Return the settings of ``config`` that made training use a similar effect."""
        return tuple(key for key in self.related if getattr(config, key, 0))

    def apply(self, waveform: Tensor, name: str) -> Tensor:
        """Return a changed copy of a recording.

        Args:
            waveform: (samples,) or (1, samples) at 8 kHz.
            name: the recording's name. The random numbers depend only on it and the condition.

        Returns:
            (samples,) float32.
        """
        generator = build_torch_generator("condition", self.name, name)
        return self.change(waveform.reshape(-1).float(), generator)


class ChangedCopy(NamedTuple):
    """A changed recording: its index in the corpus, (samples,) waveform and words."""

    position: int
    waveform: Tensor
    words: tuple[int, ...]


def changed_copies(
    corpus: "Corpus", positions: Sequence[int], condition: UnseenCondition
) -> Iterator[ChangedCopy]:
    """Yield changed copies of the recordings at ``positions``."""
    for position in positions:
        waveform = condition.apply(corpus[position][0], corpus.names[position])
        yield ChangedCopy(position, waveform, corpus.labels[position] * condition.times)


def reverberate(waveform: Tensor, generator: torch.Generator, *, rt60_s: float) -> Tensor:
    """Add the reverberation of a room, with the speaker some metres from the microphone.

    The impulse response is the direct sound followed, after 5 ms, by Gaussian noise with twice its
    energy. The noise decays by 60 dB in ``rt60_s``, and twice as fast above 1.5 kHz (Polack, "La
    transmission de l'énergie sonore dans les salles", 1988). The energy of the recording is kept.
    """
    length = round(rt60_s * SAMPLE_RATE)
    time_S = torch.arange(length) / SAMPLE_RATE
    decay_S = torch.exp(-math.log(1000) * time_S / rt60_s)
    noise = torch.randn(length, generator=generator)
    low = wordless.band_pass(noise, 0.0, 1500.0, edge_hz=500.0)
    tail = low * decay_S + (noise - low) * decay_S.square()
    tail[:40] = 0.0
    response = tail * (2.0 / tail.square().sum()).sqrt()
    response[0] = 1.0
    wet = torchaudio.functional.fftconvolve(waveform, response)[: len(waveform)]
    return wet * (_rms(waveform) / _rms(wet).clamp(min=1e-9))


def add_sound(waveform: Tensor, generator: torch.Generator, *, sound: str, snr_db: float) -> Tensor:
    """Add one of :data:`raytune_yesno.tasks.speech.wordless.SOUNDS` at ``snr_db``."""
    return mix(waveform, wordless.SOUNDS[sound](len(waveform), generator), snr_db)


def add_clicks(waveform: Tensor, generator: torch.Generator, *, per_second: float) -> Tensor:
    """Add clicks whose highest peaks equal the peak of the recording."""
    clicks = wordless.draw_clicks(len(waveform), generator, per_second)
    return waveform + clicks * waveform.abs().max()


def clip(waveform: Tensor, generator: torch.Generator, *, below_peak_db: float) -> Tensor:
    """Clip at ``below_peak_db`` below the peak, then restore the peak."""
    gain = 10 ** (below_peak_db / 20)
    peak = float(waveform.abs().max())
    return (waveform * gain).clamp(-peak, peak)


def limit_band(
    waveform: Tensor, generator: torch.Generator, *, low_hz: float, high_hz: float
) -> Tensor:
    """Keep the frequencies between two limits; the edges are 100 Hz wide."""
    return wordless.band_pass(waveform, low_hz, high_hz)


def tilt(waveform: Tensor, generator: torch.Generator, *, db_per_octave: float) -> Tensor:
    """Raise or lower the level per octave above 200 Hz; the energy is kept."""
    hz_F = torch.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE).clamp(min=200.0)
    gain_F = 10 ** (db_per_octave * torch.log2(hz_F / 200.0) / 20)
    tilted = torch.fft.irfft(torch.fft.rfft(waveform) * gain_F, n=len(waveform))
    return tilted * (_rms(waveform) / _rms(tilted).clamp(min=1e-9))


def requantize(waveform: Tensor, generator: torch.Generator, *, bits: int) -> Tensor:
    """Round samples to a number of bits, relative to full scale."""
    steps = 2.0 ** (bits - 1)
    return (waveform * steps).round().clamp(-steps, steps - 1) / steps


def encode(waveform: Tensor, generator: torch.Generator, *, container: str, subtype: str) -> Tensor:
    """Encode with a codec of libsndfile, at its lowest quality if lossy, and decode."""
    file = io.BytesIO()
    lossy = {"compression_level": 0.99} if container in ("OGG", "MP3") else {}
    with soundfile.SoundFile(
        file, "w", SAMPLE_RATE, 1, subtype=subtype, format=container, **lossy
    ) as encoder:
        encoder.write(waveform.clamp(-1, 1).numpy())
    file.seek(0)
    samples, _ = soundfile.read(file, dtype="float32")
    return torch.from_numpy(np.ascontiguousarray(samples))


def change_speed(waveform: Tensor, generator: torch.Generator, *, percent: int) -> Tensor:
    """Play at another speed: pitch and length both change."""
    return torchaudio.functional.resample(waveform, percent, 100)


def change_tempo(waveform: Tensor, generator: torch.Generator, *, percent: float) -> Tensor:
    """Change the length but not the pitch, with a phase vocoder of 64 ms windows."""
    window = torch.hann_window(512)
    if len(waveform) < len(window):
        return waveform
    spectrum_FT = _transform(waveform, window, 128)
    advance_F1 = torch.linspace(0, math.pi * 128, 257)[:, None]
    changed_FT = torchaudio.functional.phase_vocoder(spectrum_FT, percent / 100, advance_F1)
    return torch.istft(changed_FT, 512, 128, window=window)


def change_level(waveform: Tensor, generator: torch.Generator, *, gain_db: float) -> Tensor:
    """Change the level, then round to 16 bits like a recorder."""
    return requantize(waveform * 10 ** (gain_db / 20), generator, bits=16)


def step_level(waveform: Tensor, generator: torch.Generator, *, gain_db: float) -> Tensor:
    """Change the level at the quietest moment near the middle.

    One part is lowered and none is raised: the second if ``gain_db`` is negative, else the first.
    """
    middle = find_gap(waveform)
    stepped = waveform.clone()
    quieter = stepped[middle:] if gain_db < 0 else stepped[:middle]
    quieter *= 10 ** (-abs(gain_db) / 20)
    return requantize(stepped, generator, bits=16)


def drop_packets(waveform: Tensor, generator: torch.Generator, *, percent: float) -> Tensor:
    """Replace a share of the 20 ms packets by zeros."""
    num_packets = -(-len(waveform) // 160)
    kept_S = (torch.rand(num_packets, generator=generator) >= percent / 100).repeat_interleave(160)
    return waveform * kept_S[: len(waveform)]


def pad(
    waveform: Tensor, generator: torch.Generator, *, seconds: float, noise_db: float | None = None
) -> Tensor:
    """Add digital silence, or white noise at ``noise_db`` (dB full scale), before and after."""
    length = round(seconds * SAMPLE_RATE)
    edges_2S = torch.zeros(2, length)
    if noise_db is not None:
        edges_2S = torch.randn(2, length, generator=generator) * 10 ** (noise_db / 20)
    return torch.cat([edges_2S[0], waveform, edges_2S[1]])


def insert_pause(
    waveform: Tensor, generator: torch.Generator, *, seconds: float, room: bool
) -> Tensor:
    """Insert a pause at the quietest moment near the middle of the recording.

    Args:
        waveform: (samples,).
        generator: source of randomness for the background.
        seconds: length of the pause.
        room: fill the pause with the recording's own background instead of digital silence.
    """
    middle = find_gap(waveform)
    length = round(seconds * SAMPLE_RATE)
    pause = draw_room(waveform, length, generator) if room else torch.zeros(length)
    return torch.cat([waveform[:middle], pause, waveform[middle:]])


def play_twice(waveform: Tensor, generator: torch.Generator, *, seconds: float) -> Tensor:
    """Repeat the recording after ``seconds`` of its own background."""
    room = draw_room(waveform, round(seconds * SAMPLE_RATE), generator)
    return torch.cat([waveform, room, waveform])


def find_gap(waveform: Tensor) -> int:
    """Return the sample in the middle half around which 0.14 s are quietest."""
    power_T = frame_power(waveform)
    if len(power_T) < 14:
        return len(waveform) // 2
    smooth_T = F.avg_pool1d(power_T[None], 7, stride=1, padding=3)[0]
    first, last = len(smooth_T) // 4, -(-3 * len(smooth_T) // 4)
    return (first + int(smooth_T[first:last].argmin())) * 160 + 80


def draw_room(waveform: Tensor, num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of noise with the level and spectrum of a recording's background.

    The background is the quietest 0.26 s. Pieces with its magnitude spectrum and random phases are
    overlapped by half and added, which gives noise that does not repeat.
    """
    if len(waveform) < _ROOM_SAMPLES:
        return torch.zeros(num_samples)
    pieces_NS = waveform.unfold(0, _ROOM_SAMPLES, 160)
    centred_NS = pieces_NS - pieces_NS.mean(1, keepdim=True)
    quietest = centred_NS[centred_NS.square().mean(1).argmin()]
    magnitude_F = torch.fft.rfft(quietest).abs()
    hop = _ROOM_SAMPLES // 2
    count = num_samples // hop + 2
    phase_NF = 2 * math.pi * torch.rand(count, len(magnitude_F), generator=generator)
    piece_NS = torch.fft.irfft(torch.polar(magnitude_F.expand(count, -1), phase_NF))
    window = torch.hann_window(_ROOM_SAMPLES).sqrt()  # power adds up to 1
    room = torch.zeros((count + 1) * hop)
    for number, piece in enumerate(piece_NS):
        room[number * hop : number * hop + _ROOM_SAMPLES] += window * piece
    return room[hop : hop + num_samples]


def shift_pitch(waveform: Tensor, generator: torch.Generator, *, semitones: float) -> Tensor:
    """Change pitch and formants but not the length: change the speed, then restore the tempo."""
    percent = round(100 * 2 ** (semitones / 12))
    changed = change_speed(waveform, generator, percent=percent)
    return change_tempo(changed, generator, percent=10000 / percent)


def flutter(waveform: Tensor, generator: torch.Generator, *, percent: float) -> Tensor:
    """Vary the speed around 100 % five times a second, like a worn tape."""
    if len(waveform) < 2:
        return waveform
    index_S = torch.arange(len(waveform), dtype=torch.float64)
    swing_s = percent / 100 / (2 * math.pi * 5)
    phase = 2 * math.pi * torch.rand((), generator=generator).item()
    index_S += swing_s * SAMPLE_RATE * torch.sin(2 * math.pi * 5 * index_S / SAMPLE_RATE + phase)
    index_S = index_S.clamp(0, len(waveform) - 1.001)
    left_S = index_S.long()
    return torch.lerp(waveform[left_S], waveform[left_S + 1], (index_S - left_S).float())


def add_echo(waveform: Tensor, generator: torch.Generator, *, seconds: float) -> Tensor:
    """Add one echo, 6 dB weaker."""
    delay = round(seconds * SAMPLE_RATE)
    return waveform + 0.5 * F.pad(waveform, (delay, 0))[: len(waveform)]


def fade(waveform: Tensor, generator: torch.Generator, *, per_second: float) -> Tensor:
    """Lower the level periodically by up to 20 dB, as over a poor radio link."""
    time_S = torch.arange(len(waveform)) / SAMPLE_RATE
    phase = 2 * math.pi * torch.rand((), generator=generator).item()
    depth_db_S = 10 * (1 - torch.cos(2 * math.pi * per_second * time_S + phase))
    return waveform * 10 ** (-depth_db_S / 20)


def control_gain(waveform: Tensor, generator: torch.Generator, *, most_db: float) -> Tensor:
    """Amplify every 0.3 s to the level of the loudest, by at most ``most_db``."""
    power_T = frame_power(waveform).float()
    if len(power_T) < 2:
        return waveform
    level_T = F.avg_pool1d(power_T[None], 15, 1, 7, count_include_pad=False)[0].sqrt()
    gain_T = (level_T.max() / level_T.clamp(min=1e-9)).clamp(max=10 ** (most_db / 20))
    gain_S = F.interpolate(gain_T[None, None], len(waveform), mode="linear")[0, 0]
    changed = waveform * gain_S
    return changed * (waveform.abs().max() / changed.abs().max().clamp(min=1e-9))


def denoise(waveform: Tensor, generator: torch.Generator, *, snr_db: float) -> Tensor:
    """Add white noise, then apply a noise gate per frequency, which leaves musical noise."""
    noisy = mix(waveform, torch.randn(len(waveform), generator=generator), snr_db)
    window = torch.hann_window(256)
    spectrum_FT = _transform(noisy, window, 64)
    magnitude_FT = spectrum_FT.abs()
    floor_F1 = magnitude_FT.quantile(0.3, dim=1, keepdim=True)
    gated_FT = spectrum_FT * (magnitude_FT > 2 * floor_F1)
    return torch.istft(gated_FT, 256, 64, window=window, length=len(waveform))


def add_offset(waveform: Tensor, generator: torch.Generator, *, offset: float) -> Tensor:
    """Add a constant."""
    return waveform + offset


def _transform(waveform: Tensor, window: Tensor, hop: int) -> Tensor:
    """Return the short-time Fourier transform; zero padding allows any length."""
    size = len(window)
    return torch.stft(waveform, size, hop, window=window, pad_mode="constant", return_complex=True)


def _rms(waveform: Tensor) -> Tensor:
    return waveform.square().mean().sqrt()


Entry = tuple[str, str, Change]


def _similar() -> Iterator[Entry]:
    """Yield kind, setting and change of conditions similar to effects of ``augment_scenes``."""
    make = functools.partial
    for rt60_s in (0.4, 1.0):
        yield "reverberation", f"{rt60_s:g} s", make(reverberate, rt60_s=rt60_s)
    for sound, snr_db in (("hum", 5), ("tone", 10), ("music", 10), ("music", 5), ("bursts", 10)):
        yield sound, f"{snr_db} dB", make(add_sound, sound=sound, snr_db=snr_db)
    yield "clicks", "4 per s", make(add_clicks, per_second=4.0)
    for below_db in (12, 24):
        yield "clipping", f"{below_db} dB", make(clip, below_peak_db=below_db)
    yield "5 bit", "linear", make(requantize, bits=5)
    for name, low_hz, high_hz in (
        ("telephone", 300.0, 3400.0),
        ("muffled", 0.0, 1500.0),
        ("thin", 800.0, 4000.0),
    ):
        yield "band", name, make(limit_band, low_hz=low_hz, high_hz=high_hz)
    for slope in (6, -6):
        yield "tilt", f"{slope} dB", make(tilt, db_per_octave=slope)
    for percent in (80, 120):
        yield "speed", f"{percent} %", make(change_speed, percent=percent)
    yield "level", "-40 dB", make(change_level, gain_db=-40)
    for gain_db in (-30, 30):
        yield "level step", f"{gain_db} dB", make(step_level, gain_db=gain_db)
    for seconds in (1, 2, 5):
        yield "padding", f"{seconds} s", make(pad, seconds=seconds)
    for noise_db in (-60, -40):
        yield "padding noise", f"{noise_db} dB", make(pad, seconds=5.0, noise_db=noise_db)
    for name, room in (("8 s silent", False), ("8 s room", True)):
        yield "pause", name, make(insert_pause, seconds=8.0, room=room)
    yield "between", "30 s room", make(play_twice, seconds=30.0)


def _other() -> Iterator[Entry]:
    """Yield kind, setting and change of conditions without a similar augmentation."""
    make = functools.partial
    for name, container, subtype in (
        ("mu-law", "WAV", "ULAW"),
        ("adpcm", "WAV", "IMA_ADPCM"),
        ("gsm", "WAV", "GSM610"),
        ("opus", "OGG", "OPUS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
    ):
        if soundfile.check_format(container, subtype):  # older versions of libsndfile lack some
            yield "codec", name, make(encode, container=container, subtype=subtype)
    for percent in (75, 130):
        yield "tempo", f"{percent} %", make(change_tempo, percent=percent)
    for semitones in (-3, 3):
        yield "pitch", f"{semitones} semitones", make(shift_pitch, semitones=semitones)
    yield "flutter", "3 %", make(flutter, percent=3.0)
    yield "echo", "0.25 s", make(add_echo, seconds=0.25)
    yield "dropouts", "5 %", make(drop_packets, percent=5.0)
    yield "fading", "1 per s", make(fade, per_second=1.0)
    yield "gain control", "30 dB", make(control_gain, most_db=30.0)
    yield "denoised", "20 dB", make(denoise, snr_db=20.0)
    yield "siren", "10 dB", make(add_sound, sound="siren", snr_db=10.0)
    yield "offset", "0.1", make(add_offset, offset=0.1)


_RELATED = {
    "level": ("augment_gain_db",),
    "speed": ("augment_speed",),
    "tempo": ("augment_speed",),
    "pitch": ("augment_speed",),
}


def _build_unseen() -> Iterator[UnseenCondition]:
    for shared, entries in ((("augment_scenes",), _similar()), ((), _other())):
        for kind, setting, change in entries:
            times = 2 if kind == "between" else 1
            related = (*shared, *_RELATED.get(kind, ()))
            yield UnseenCondition(kind, setting, change, times, related)


UNSEEN = tuple(_build_unseen())
"""All conditions, grouped by kind."""
