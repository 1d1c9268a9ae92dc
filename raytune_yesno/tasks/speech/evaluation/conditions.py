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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import soundfile
import torch
from torch import Tensor

from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.tasks.speech.evaluation.effects import (
    add_clicks,
    add_echo,
    add_offset,
    add_sound,
    change_level,
    change_speed,
    change_tempo,
    clip,
    control_gain,
    denoise,
    drop_packets,
    encode,
    fade,
    flutter,
    insert_pause,
    limit_band,
    pad,
    play_twice,
    requantize,
    reverberate,
    shift_pitch,
    step_level,
    tilt,
)

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus

Change = Callable[[Tensor, torch.Generator], Tensor]
"""Function from a (samples,) float32 waveform at 8 kHz to a changed one of any length."""


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
