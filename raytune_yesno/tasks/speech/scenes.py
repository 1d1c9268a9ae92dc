"""Scenes: training examples composed from words, pauses, rooms, backgrounds and other sounds.

A small corpus has few sequences of words, one room, and pauses of one kind. A scene contains words
of the training part in a new order, with pauses of up to seconds and occasional sounds that are not
words. It adds a room, a microphone and a background. The words and their times are known.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raytune_yesno.tasks.speech.augment import change_speed, warp_bands
from raytune_yesno.tasks.speech.noise import mix
from raytune_yesno.tasks.speech.nonwords import FADE_SAMPLES, alter, fade, invent
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from raytune_yesno.tasks.speech.segment import find_words
from raytune_yesno.tasks.speech.sounds import DRAWN_BACKGROUNDS, DRAWN_SOUNDS, draw_sound

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus

CLEAR_DB = 12.0  # signal-to-noise ratio above which a background hides nothing of a word
MAX_KEPT_S = 1800  # of the recordings whose words are kept at each speed: about 0.5 GB
SPEED_STEP = 4  # percent; few distinct speeds, so that words can be cached


class Scene(NamedTuple):
    """A composed recording.

    Attributes:
        waveform: (samples,) at 8 kHz.
        words: indices of its words in the vocabulary.
        centres_s: centre of each word, s.
    """

    waveform: Tensor
    words: tuple[int, ...]
    centres_s: tuple[float, ...]


@dataclass(frozen=True)
class Unit:
    """Consecutive words of a recording: one, several or all."""

    waveform: Tensor
    words: tuple[int, ...]
    centres_s: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """Probabilities and ranges of the effects in scenes.

    Attributes:
        seconds: minimum and maximum length.
        empty: probability of a scene without words.
        other: probability that a sound without words replaces a word.
        other_in_noise: the same below :data:`CLEAR_DB`, where words and other sounds differ less.
            The more other sounds there, the more words in noise are missed.
        speed: largest relative change of speed.
        noise: probability of a background.
        snr_db: minimum and maximum signal-to-noise ratio of the background, dB.
        room: probability of reverberation.
        colour: probability of another frequency response.
        distort: probability of clipping or coarse quantisation.
        steps: probability of a change of level within the scene.
        warp: probability that all frequencies are scaled, as by another length of the vocal tract.
        warp_range: minimum and maximum factor on frequencies.
        mask: probability that mel bands are masked.
        mask_bands: maximum number of masked bands.
        low_mask: probability that the lowest bands are masked, as by hum or a small loudspeaker.
        low_mask_empty: the same in a scene without words: a gliding tone must not become a word
            where only the upper bands are heard.
        low_mask_bands: minimum and maximum number of the lowest bands masked.
    """

    seconds: tuple[float, float] = (2.5, 6.5)
    empty: float = 0.12
    other: float = 0.3
    other_in_noise: float = 0.1
    speed: float = 0.15
    noise: float = 0.7
    snr_db: tuple[float, float] = (-2.0, 25.0)
    room: float = 0.3
    colour: float = 0.4
    distort: float = 0.12
    steps: float = 0.15
    warp: float = 0.5
    warp_range: tuple[float, float] = (0.85, 1.2)
    mask: float = 0.15
    mask_bands: int = 12
    low_mask: float = 0.05
    low_mask_empty: float = 0.25
    low_mask_bands: tuple[int, int] = (4, 14)


def settings_for(num_words: int) -> SceneSettings:
    """Return the settings for a vocabulary.

    The more words there are, the fewer other sounds a scene needs: each word is what the model must
    tell from the others.
    """
    share = min(1.0, math.sqrt(2 / num_words))
    return SceneSettings(empty=0.12 * share, other=0.3 * share, other_in_noise=0.1 * share)


class Scenes:
    """Compose scenes from the words of recordings.

    Args:
        corpus: recordings and their words. A recording is read when it is used.
        indices: which recordings; all if this is None.
        settings: probabilities and ranges; None for the defaults.
    """

    def __init__(
        self,
        corpus: "Corpus",
        indices: Sequence[int] | None = None,
        settings: SceneSettings | None = None,
    ) -> None:
        self.settings = settings or SceneSettings()
        self._corpus = corpus
        self._indices = range(len(corpus)) if indices is None else indices
        self._cuts: dict[int, Cuts] = {}
        # Recordings are often in the order of their words, so those to keep are chosen evenly.
        num_samples = int(np.diff(corpus.offsets)[[*self._indices]].sum())
        step = math.ceil(num_samples / (MAX_KEPT_S * SAMPLE_RATE)) or 1
        self._kept = range(0, len(self._indices), step)
        # For each word of the vocabulary: the recordings that hold it, and its positions there.
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for index in self._kept:
            cuts = self._cut_up(index)
            for number, word in enumerate(cuts.words if cuts.spans else ()):
                found[word].append((index, number))
        self._single = [found[label] for label in sorted(found)]
        self._units: dict[tuple[int, int, int, int], Unit] = {}  # cache of single words

    def compose(self, index: int, random: np.random.Generator) -> Scene:
        """Return a scene with at least one word of recording ``index``, unless it is empty.

        Args:
            index: position in the ``indices`` of the constructor.
            random: source of randomness.
        """
        settings, snrs_db = self.settings, list[float]()
        if random.random() < settings.noise:
            num_backgrounds = 1 + (random.random() < 0.25)
            snrs_db = [random.uniform(*settings.snr_db) for _ in range(num_backgrounds)]
        clear = min(snrs_db, default=math.inf) >= CLEAR_DB
        other = settings.other if clear else settings.other_in_noise
        pieces, words, centres_s = self._arrange(index, other, random)
        waveform = self._play(torch.cat(pieces), words != [], snrs_db, random)
        return Scene(waveform, tuple(words), tuple(centres_s))

    def change_bands(self, feature_FT: Tensor, spoken: bool, random: np.random.Generator) -> Tensor:
        """Return (F, T) features with scaled frequencies or masked bands, or as they are.

        Other voices have other frequencies; behind a band mask the model learns to use other bands
        when a sound hides some.

        Args:
            feature_FT: (F, T) features.
            spoken: whether the scene has words.
            random: source of randomness.
        """
        settings = self.settings
        if random.random() < settings.warp:
            low, high = map(math.log, settings.warp_range)
            feature_FT = warp_bands(feature_FT, math.exp(random.uniform(low, high)))
        masks = list[slice]()
        if random.random() < settings.mask:
            count = int(random.integers(1, settings.mask_bands + 1))
            first = int(random.integers(-count // 2, len(feature_FT) - count // 2))
            masks.append(slice(max(0, first), first + count))
        if random.random() < (settings.low_mask if spoken else settings.low_mask_empty):
            least, most = settings.low_mask_bands
            masks.append(slice(0, int(random.integers(least, most + 1))))
        for mask in masks:
            feature_FT = feature_FT.clone()
            feature_FT[mask] = 0.0
        return feature_FT

    def _arrange(
        self, index: int, other: float, random: np.random.Generator
    ) -> tuple[list[Tensor], list[int], list[float]]:
        """Return consecutive pieces of waveform, the words and their centres in seconds.

        Args:
            index: recording of the first word.
            other: probability that a sound without words replaces a word.
            random: source of randomness.
        """
        settings = self.settings
        seconds = random.uniform(*settings.seconds)
        pieces, words, centres_s = [_draw_pause(random)], list[int](), list[float]()
        length = len(pieces[0])
        empty = random.random() < settings.empty
        base_speed = random.uniform(-settings.speed, settings.speed)
        while length < seconds * SAMPLE_RATE:
            if empty or random.random() < other:
                piece = self._draw_other(empty, random)
            else:
                unit = self._draw_unit(index if not words else None, base_speed, random)
                gain = 10 ** (random.uniform(-5, 5) / 20)
                piece = unit.waveform * gain
                words += unit.words
                centres_s += [length / SAMPLE_RATE + centre_s for centre_s in unit.centres_s]
            pause = _draw_pause(random)
            pieces += [piece, pause]
            length += len(piece) + len(pause)
        return pieces, words, centres_s

    def _draw_unit(self, index: int | None, base_speed: float, random: np.random.Generator) -> Unit:
        """Return one or several words of a recording at a random speed near ``base_speed``."""
        if index is None:
            index = int(random.integers(len(self._indices)))
        cuts = self._cut_up(index)
        percent = 100 + SPEED_STEP * round(
            100 * (base_speed + random.uniform(-0.05, 0.05)) / SPEED_STEP
        )
        first, count = 0, len(cuts.words)
        if cuts.spans:
            first = int(random.integers(len(cuts.words)))
            longest = len(cuts.words) - first
            count = 1 if random.random() < 0.6 else int(random.integers(1, longest + 1))
        if count > 1 or index not in self._kept:
            return cuts.cut(self._read(index), first, count, percent)
        return self._cut((index, first, count, percent))

    def _cut_up(self, index: int) -> "Cuts":
        """Return a recording with the spans of its words, which are found once."""
        if index not in self._cuts:
            self._cuts[index] = Cuts(self._read(index), self._corpus.labels[self._indices[index]])
        return self._cuts[index]

    def _read(self, index: int) -> npt.NDArray[np.float32]:
        return self._corpus.waveform(self._indices[index])

    def _cut(self, key: tuple[int, int, int, int]) -> Unit:
        """Return a single word of a kept recording: its index, the word's, 1, speed in percent."""
        if key not in self._units:
            self._units[key] = self._cut_up(key[0]).cut(self._read(key[0]), *key[1:])
        return self._units[key]

    def _draw_other(self, long: bool, random: np.random.Generator) -> Tensor:
        """Return a sound without words, about as loud as a word; of up to 4 s if ``long``."""
        kind = random.random()
        cuts = self._cut_up(int(random.integers(len(self._indices))))
        if kind < (0.4 if long else 0.15):
            sound = DRAWN_SOUNDS[int(random.integers(len(DRAWN_SOUNDS)))]
            seconds = random.uniform(0.5, 4.0) if long else 0.15 * 10 ** random.random()
            piece = draw_sound(sound, int(seconds * SAMPLE_RATE), random)
        elif kind < 0.65:
            piece = self._alter_word(random)
        else:
            piece = invent(random)
        level = cuts.level * 10 ** (random.uniform(-15, 8) / 20)
        piece = level * piece / (piece.square().mean().sqrt() + 1e-6)
        return fade(piece, int(SAMPLE_RATE * random.uniform(0.002, 0.05)))

    def _alter_word(self, random: np.random.Generator) -> Tensor:
        """Return a non-word made of two words of the corpus; an invented one if fewer were cut."""
        if len(self._single) < 2:
            return invent(random)
        first = int(random.integers(len(self._single)))
        other = (first + int(random.integers(1, len(self._single)))) % len(self._single)
        words = []
        for choices in (self._single[first], self._single[first], self._single[other]):
            index, number = choices[int(random.integers(len(choices)))]
            percent = int(random.choice([80, 88, 100, 112, 124]))
            words.append(self._cut((index, number, 1, percent)).waveform)
        return alter(words[0], words[1], words[2], random)

    def _play(
        self,
        waveform: Tensor,
        spoken: bool,
        snrs_db: Sequence[float],
        random: np.random.Generator,
    ) -> Tensor:
        """Add a room, backgrounds and the effects of a microphone to a waveform."""
        settings = self.settings
        if random.random() < 0.7:  # otherwise the pauses are digital silence
            level = 10 ** (random.uniform(-95, -45) / 20)
            kind = ("white", "pink", "brown")[int(random.integers(3))]
            waveform = waveform + level * draw_sound(kind, len(waveform), random)
        room, colour = random.random() < settings.room, random.random() < settings.colour
        if room or colour:
            waveform = _filter(waveform, room, colour, random)
        for snr_db in snrs_db:
            waveform = self._add_background(waveform, spoken, snr_db, random)
        if random.random() < settings.steps:
            waveform = _change_level(waveform, random)
        peak = float(waveform.abs().max())
        if peak > 0:
            # Usually the level of speech, sometimes the low level of a distant microphone.
            level_db = random.uniform(-30, 0) if random.random() < 0.8 else random.uniform(-55, -30)
            waveform = waveform * (10 ** (level_db / 20) / peak)
            if random.random() < settings.distort:
                waveform = _distort(waveform, random)
        return waveform

    def _add_background(
        self, waveform: Tensor, spoken: bool, snr_db: float, random: np.random.Generator
    ) -> Tensor:
        """Add noise of one kind, to the whole waveform or to a part of it."""
        kind = DRAWN_BACKGROUNDS[int(random.integers(len(DRAWN_BACKGROUNDS)))]
        noise = draw_sound(kind, len(waveform), random)
        if random.random() < 0.25:
            begin, end = np.sort(random.integers(0, len(waveform), 2)).tolist()
            part = fade(noise[begin:end], FADE_SAMPLES)
            noise = torch.cat([torch.zeros(begin), part, torch.zeros(len(noise) - end)])
        if spoken:
            return mix(waveform, noise, snr_db)
        return waveform + 10 ** (random.uniform(-60, -10) / 20) * noise


class Cuts:
    """The spans of the words of a recording. It does not keep the samples, which may be in a file.

    Args:
        waveform: the recording, (samples,) at 8 kHz.
        words: its words, as labels.
    """

    def __init__(self, waveform: npt.NDArray[np.float32], words: tuple[int, ...]) -> None:
        self.words = words
        self.spans = find_words(waveform, len(words))
        self._mean = waveform.mean()
        sounds = [waveform[span.begin : span.end] for span in self.spans or []] or [waveform]
        spoken = torch.tensor(np.concatenate(sounds))
        self.level = float((spoken - self._mean).square().mean().sqrt())

    def cut(self, waveform: npt.NDArray[np.float32], first: int, count: int, percent: int) -> Unit:
        """Return consecutive words at another speed; the whole recording if spans are unknown.

        Args:
            waveform: the recording.
            first: index of the first word.
            count: number of words.
            percent: speed in percent of the original.
        """
        if self.spans:
            spans = self.spans[first : first + count]
            begin, end = spans[0].cut_begin, spans[-1].cut_end
            centres_s = [span.centre_s - begin / SAMPLE_RATE for span in spans]
        else:
            begin, end = 0, len(waveform)
            share_s = end / SAMPLE_RATE / len(self.words)
            centres_s = [(number + 0.5) * share_s for number in range(len(self.words))]
        sound = torch.tensor(waveform[begin:end] - self._mean)
        piece = change_speed(sound[None], percent)[0]
        return Unit(
            fade(piece, FADE_SAMPLES),
            self.words[first : first + count],
            tuple(centre_s * 100 / percent for centre_s in centres_s),
        )


def _draw_pause(random: np.random.Generator) -> Tensor:
    """Return digital silence, usually short, sometimes of up to 3 s."""
    kind = random.random()
    if kind < 0.7:
        seconds = random.uniform(0.0, 0.3)
    elif kind < 0.95:
        seconds = random.uniform(0.3, 1.0)
    else:
        seconds = random.uniform(1.0, 3.0)
    return torch.zeros(int(seconds * SAMPLE_RATE))


def _filter(waveform: Tensor, room: bool, colour: bool, random: np.random.Generator) -> Tensor:
    """Apply the reverberation of a room and a frequency response in one transform."""
    tail_samples = 0
    decay_s = 0.1 * 13 ** random.random()  # time until the tail has decayed by 60 dB
    if room:
        tail_samples = int(min(decay_s, 1.0) * SAMPLE_RATE)
    size = _fast_size(len(waveform) + tail_samples)
    # numpy transforms long signals two to three times faster than torch.
    spectrum_F = np.fft.rfft(waveform.numpy(), size)
    if room:
        tail_S = torch.from_numpy(random.standard_normal(tail_samples).astype(np.float32))
        tail_S *= torch.exp(torch.arange(tail_samples) * (-6.9 / (decay_s * SAMPLE_RATE)))
        energy = 10 ** (random.uniform(-12, 6) / 10)
        tail_S *= math.sqrt(energy) / tail_S.norm()
        tail_S = torch.cat([torch.zeros(int(random.integers(8, 160))), tail_S])[:tail_samples]
        spectrum_F *= 1 + np.fft.rfft(tail_S.numpy(), size)
    if colour:
        spectrum_F *= _draw_colour(size, random)
    return torch.from_numpy(np.fft.irfft(spectrum_F, size)[: len(waveform)])


def _fast_size(min_size: int) -> int:
    """Return the next size with a fast Fourier transform."""
    power = 1 << (min_size - 1).bit_length()
    return next(size for size in (power * 5 // 8, power * 3 // 4, power) if size >= min_size)


def _draw_colour(size: int, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a smooth frequency response, sometimes with a low-cut or high-cut filter."""
    hz_F = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    points_hz = (60.0, 250.0, 700.0, 1500.0, 2600.0, 4000.0)
    gain_db_F = np.interp(hz_F, points_hz, random.uniform(-7, 7, len(points_hz)))
    gain_F = 10 ** (gain_db_F / 20)
    if random.random() < 0.3:
        cut_hz = 80 * 10 ** random.random()
        gain_F = gain_F / np.sqrt(1 + (cut_hz / np.maximum(hz_F, 1.0)) ** 8)
    if random.random() < 0.3:
        cut_hz = random.uniform(1200, 3600)
        gain_F = gain_F / np.sqrt(1 + (hz_F / cut_hz) ** 8)
    return gain_F.astype(np.float32)


def _change_level(waveform: Tensor, random: np.random.Generator) -> Tensor:
    """Make a random part of the waveform quieter or louder."""
    begin, end = np.sort(random.integers(0, len(waveform), 2)).tolist()
    if random.random() < 0.5:
        end = len(waveform)
    waveform = waveform.clone()
    waveform[begin:end] *= 10 ** (random.uniform(-30, 20) / 20)
    return waveform


def _distort(waveform: Tensor, random: np.random.Generator) -> Tensor:
    """Clip, or quantise coarsely with µ-law like an old codec."""
    peak = float(waveform.abs().max())
    if random.random() < 0.6:
        limit = peak * 10 ** (random.uniform(-25, -3) / 20)
        return waveform.clamp(-limit, limit)
    levels = 2 ** int(random.integers(3, 8))
    companded = waveform.sign() * torch.log1p(255 * waveform.abs() / peak) / math.log(256)
    companded = (companded * levels).round() / levels
    return companded.sign() * peak * torch.expm1(companded.abs() * math.log(256)) / 255
