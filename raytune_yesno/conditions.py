"""Conditions of evaluation that training does not use.

Training and validation know one kind of change: additive noise from :mod:`raytune_yesno.noise`
(and, where a config asks for it, changes of speed, level and time by :mod:`raytune_yesno.augment`).
The conditions here ask what happens outside of that: rooms, microphones, codecs, levels, silence,
and sounds that are not noise. Training must not use this module. Where a config augments with an
effect of the same kind, :meth:`UnseenCondition.related_settings` names the settings, and
``evaluate`` says so.

A changed recording depends only on the condition and the recording's name. Ratios in dB are those
of the active speech level (ITU-T P.56) to the sound's mean power, as in
:func:`raytune_yesno.noise.mix`.

===============  ===========================  ==================================================
kind             settings                     what changes
===============  ===========================  ==================================================
reverberation    0.3, 0.6, 1 s                a room with this reverberation time (RT60)
hum              10, 5 dB                     mains hum, 50 or 60 Hz and harmonics
tone             10 dB                        a steady sine, 300 to 3000 Hz
music            10, 5 dB                     chords, bass, melody and hi-hat
clicks           4 per s                      clicks with peaks as high as the speech's
bursts           10 dB                        a burst of band-limited noise every second
clipping         12, 24 dB                    samples cut off this far below the peak
band             telephone, muffled, thin     only 300 to 3400, 0 to 1500, or 800 to 4000 Hz
tilt             6, -6 dB                     highs raised or lowered by so much per octave
codec            mu-law, 5 bit, adpcm, gsm,   encoded and decoded
                 opus, vorbis, mp3
speed            80, 120 %                    a tape at another speed: pitch and length change
tempo            75, 130 %                    length changes, pitch does not
level            -20, -40 dB                  quieter, then rounded to 16 bits
level step       -30, 30 dB                   the second half is quieter, or louder
dropouts         5 %                          so many packets of 20 ms are lost (zeros)
padding          1, 2, 5 s                    digital silence before and after
padding noise    -60, -40 dB                  5 s of white noise before and after, dB full scale
pause            8 s silent, 8 s room         a pause in the middle of the recording
between          30 s room                    the recording twice, with room noise between
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

from raytune_yesno import sounds
from raytune_yesno.noise import frame_power, mix
from raytune_yesno.recording import SAMPLE_RATE
from raytune_yesno.seeding import build_generator

if TYPE_CHECKING:
    from raytune_yesno.corpus import Corpus

Change = Callable[[Tensor, torch.Generator], Tensor]
"""Turns a (samples,) float32 waveform at 8 kHz into a changed one, perhaps of another length."""

_ROOM_SAMPLES = 2048  # 0.256 s of background, whose spectrum the room noise has


@dataclass(frozen=True)
class UnseenCondition:
    """A change of recordings that training does not make.

    Attributes:
        kind: what changes.
        setting: how much, with its unit.
        change: makes the change.
        times: how often the recording's words are said in the changed one.
        related: settings of a config that make training augment with an effect of the same kind.
    """

    kind: str
    setting: str
    change: Change
    times: int = 1
    related: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.kind} {self.setting}"

    def related_settings(self, config: object) -> tuple[str, ...]:
        """Return the settings of ``config`` by which training used an effect of the same kind."""
        return tuple(key for key in self.related if getattr(config, key, 0))

    def apply(self, waveform: Tensor, name: str) -> Tensor:
        """Return a changed copy, (samples,), of the (samples,) or (1, samples) recording ``name``.

        The randomness in it depends only on the condition and on ``name``.
        """
        generator = build_generator("condition", self.name, name)
        return self.change(waveform.reshape(-1).float(), generator)


class ChangedCopy(NamedTuple):
    """A changed recording: its position in the corpus, (samples,) and the words in it."""

    position: int
    waveform: Tensor
    words: tuple[int, ...]


def changed_copies(
    corpus: "Corpus", positions: Sequence[int], condition: UnseenCondition
) -> Iterator[ChangedCopy]:
    """Yield recordings of a corpus as they sound in a condition."""
    for position in positions:
        waveform = condition.apply(corpus[position][0], corpus.names[position])
        yield ChangedCopy(position, waveform, corpus.labels[position] * condition.times)


def reverberate(waveform: Tensor, generator: torch.Generator, *, rt60_s: float) -> Tensor:
    """Put the speaker into a room, some metres from the microphone.

    The room's response is the direct sound and, from 5 ms on, twice as much energy in Gaussian
    noise that decays by 60 dB in ``rt60_s``; above 1.5 kHz it decays twice as fast (Polack, "La
    transmission de l'énergie sonore dans les salles", 1988). The energy stays the same.
    """
    length = round(rt60_s * SAMPLE_RATE)
    time_S = torch.arange(length) / SAMPLE_RATE
    decay_S = torch.exp(-math.log(1000) * time_S / rt60_s)
    noise = torch.randn(length, generator=generator)
    low = sounds.band_pass(noise, 0.0, 1500.0, edge_hz=500.0)
    tail = low * decay_S + (noise - low) * decay_S.square()
    tail[:40] = 0.0
    response = tail * (2.0 / tail.square().sum()).sqrt()
    response[0] = 1.0
    wet = torchaudio.functional.fftconvolve(waveform, response)[: len(waveform)]
    return wet * (_rms(waveform) / _rms(wet).clamp(min=1e-9))


def add_sound(waveform: Tensor, generator: torch.Generator, *, sound: str, snr_db: float) -> Tensor:
    """Add one of :data:`raytune_yesno.sounds.SOUNDS` at a ratio in dB."""
    return mix(waveform, sounds.SOUNDS[sound](len(waveform), generator), snr_db)


def add_clicks(waveform: Tensor, generator: torch.Generator, *, per_second: float) -> Tensor:
    """Add clicks whose highest peaks are as high as the recording's."""
    clicks = sounds.draw_clicks(len(waveform), generator, per_second)
    return waveform + clicks * waveform.abs().max()


def clip(waveform: Tensor, generator: torch.Generator, *, below_peak_db: float) -> Tensor:
    """Cut off what is higher than so many dB below the peak, and bring the peak back."""
    gain = 10 ** (below_peak_db / 20)
    peak = float(waveform.abs().max())
    return (waveform * gain).clamp(-peak, peak)


def limit_band(
    waveform: Tensor, generator: torch.Generator, *, low_hz: float, high_hz: float
) -> Tensor:
    """Leave only the frequencies between two; the rest falls off within 100 Hz."""
    return sounds.band_pass(waveform, low_hz, high_hz)


def tilt(waveform: Tensor, generator: torch.Generator, *, db_per_octave: float) -> Tensor:
    """Raise or lower the highs, from 200 Hz up; the energy stays the same."""
    hz_F = torch.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE).clamp(min=200.0)
    gain_F = 10 ** (db_per_octave * torch.log2(hz_F / 200.0) / 20)
    tilted = torch.fft.irfft(torch.fft.rfft(waveform) * gain_F, n=len(waveform))
    return tilted * (_rms(waveform) / _rms(tilted).clamp(min=1e-9))


def requantize(waveform: Tensor, generator: torch.Generator, *, bits: int) -> Tensor:
    """Round samples to so many bits of full scale."""
    steps = 2.0 ** (bits - 1)
    return (waveform * steps).round().clamp(-steps, steps - 1) / steps


def encode(waveform: Tensor, generator: torch.Generator, *, container: str, subtype: str) -> Tensor:
    """Encode with a codec of libsndfile, lossy ones at their lowest quality, and decode."""
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


def change_tempo(waveform: Tensor, generator: torch.Generator, *, percent: int) -> Tensor:
    """Change the length but not the pitch, with a phase vocoder of 64 ms windows."""
    window = torch.hann_window(512)
    spectrum_FT = torch.stft(waveform, 512, 128, window=window, return_complex=True)
    advance_F1 = torch.linspace(0, math.pi * 128, 257)[:, None]
    changed_FT = torchaudio.functional.phase_vocoder(spectrum_FT, percent / 100, advance_F1)
    return torch.istft(changed_FT, 512, 128, window=window)


def change_level(waveform: Tensor, generator: torch.Generator, *, gain_db: float) -> Tensor:
    """Change the level, then round to 16 bits as a recorder does."""
    return requantize(waveform * 10 ** (gain_db / 20), generator, bits=16)


def step_level(waveform: Tensor, generator: torch.Generator, *, gain_db: float) -> Tensor:
    """Change the level halfway, at the quietest moment near the middle.

    The quieter part is lowered, so nothing becomes louder than it was.
    """
    middle = find_gap(waveform)
    stepped = waveform.clone()
    quieter = stepped[middle:] if gain_db < 0 else stepped[:middle]
    quieter *= 10 ** (-abs(gain_db) / 20)
    return requantize(stepped, generator, bits=16)


def drop_packets(waveform: Tensor, generator: torch.Generator, *, percent: float) -> Tensor:
    """Replace so many per cent of all packets of 20 ms by zeros."""
    num_packets = -(-len(waveform) // 160)
    kept_S = (torch.rand(num_packets, generator=generator) >= percent / 100).repeat_interleave(160)
    return waveform * kept_S[: len(waveform)]


def pad(
    waveform: Tensor, generator: torch.Generator, *, seconds: float, noise_db: float | None = None
) -> Tensor:
    """Put digital silence, or white noise at a level in dB full scale, before and after."""
    length = round(seconds * SAMPLE_RATE)
    edges_2S = torch.zeros(2, length)
    if noise_db is not None:
        edges_2S = torch.randn(2, length, generator=generator) * 10 ** (noise_db / 20)
    return torch.cat([edges_2S[0], waveform, edges_2S[1]])


def insert_pause(
    waveform: Tensor, generator: torch.Generator, *, seconds: float, room: bool
) -> Tensor:
    """Put a pause where the recording is quietest near its middle.

    Args:
        room: fill it with the recording's own background, not with digital silence.
    """
    middle = find_gap(waveform)
    length = round(seconds * SAMPLE_RATE)
    pause = draw_room(waveform, length, generator) if room else torch.zeros(length)
    return torch.cat([waveform[:middle], pause, waveform[middle:]])


def play_twice(waveform: Tensor, generator: torch.Generator, *, seconds: float) -> Tensor:
    """Say all twice, with the recording's own background for so long between."""
    room = draw_room(waveform, round(seconds * SAMPLE_RATE), generator)
    return torch.cat([waveform, room, waveform])


def find_gap(waveform: Tensor) -> int:
    """Return the sample, in the middle half, around which 0.14 s are quietest."""
    power_T = frame_power(waveform)
    if len(power_T) < 14:
        return len(waveform) // 2
    smooth_T = F.avg_pool1d(power_T[None], 7, stride=1, padding=3)[0]
    first, last = len(smooth_T) // 4, -(-3 * len(smooth_T) // 4)
    return (first + int(smooth_T[first:last].argmin())) * 160 + 80


def draw_room(waveform: Tensor, num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of noise with the level and spectrum of a recording's background.

    The background is the quietest 0.26 s. Its spectrum with random phases, again and again, with
    half of each piece over the next, is noise that does not repeat.
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


def _rms(waveform: Tensor) -> Tensor:
    return waveform.square().mean().sqrt()


def _conditions() -> Iterator[UnseenCondition]:
    make = functools.partial
    for rt60_s in (0.3, 0.6, 1.0):
        yield UnseenCondition(
            "reverberation",
            f"{rt60_s:g} s",
            make(reverberate, rt60_s=rt60_s),
            related=("augment_reverb",),
        )
    for sound, snr_db in (
        ("hum", 10), ("hum", 5), ("tone", 10), ("music", 10), ("music", 5), ("bursts", 10)
    ):  # fmt: skip
        yield UnseenCondition(sound, f"{snr_db} dB", make(add_sound, sound=sound, snr_db=snr_db))
    yield UnseenCondition("clicks", "4 per s", make(add_clicks, per_second=4.0))
    for below_db in (12, 24):
        yield UnseenCondition("clipping", f"{below_db} dB", make(clip, below_peak_db=below_db))
    for name, low_hz, high_hz in (
        ("telephone", 300.0, 3400.0),
        ("muffled", 0.0, 1500.0),
        ("thin", 800.0, 4000.0),
    ):
        yield UnseenCondition("band", name, make(limit_band, low_hz=low_hz, high_hz=high_hz))
    for slope in (6, -6):
        yield UnseenCondition("tilt", f"{slope} dB", make(tilt, db_per_octave=slope))
    for name, container, subtype in (
        ("mu-law", "WAV", "ULAW"),
        ("adpcm", "WAV", "IMA_ADPCM"),
        ("gsm", "WAV", "GSM610"),
        ("opus", "OGG", "OPUS"),
        ("vorbis", "OGG", "VORBIS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
    ):
        if soundfile.check_format(container, subtype):  # an older libsndfile lacks some
            change = make(encode, container=container, subtype=subtype)
            yield UnseenCondition("codec", name, change)
    yield UnseenCondition("codec", "5 bit", make(requantize, bits=5))
    for percent in (80, 120):
        yield UnseenCondition(
            "speed", f"{percent} %", make(change_speed, percent=percent), related=("augment_speed",)
        )
    for percent in (75, 130):
        yield UnseenCondition(
            "tempo", f"{percent} %", make(change_tempo, percent=percent), related=("augment_speed",)
        )
    for gain_db in (-20, -40):
        yield UnseenCondition(
            "level",
            f"{gain_db} dB",
            make(change_level, gain_db=gain_db),
            related=("augment_gain_db",),
        )
    for gain_db in (-30, 30):
        yield UnseenCondition("level step", f"{gain_db} dB", make(step_level, gain_db=gain_db))
    yield UnseenCondition("dropouts", "5 %", make(drop_packets, percent=5.0))
    for seconds in (1, 2, 5):
        yield UnseenCondition("padding", f"{seconds} s", make(pad, seconds=seconds))
    for noise_db in (-60, -40):
        change = make(pad, seconds=5.0, noise_db=noise_db)
        yield UnseenCondition("padding noise", f"{noise_db} dB", change)
    for name, room in (("8 s silent", False), ("8 s room", True)):
        yield UnseenCondition("pause", name, make(insert_pause, seconds=8.0, room=room))
    yield UnseenCondition("between", "30 s room", make(play_twice, seconds=30.0), times=2)


UNSEEN = tuple(_conditions())
"""All conditions, grouped by kind."""
