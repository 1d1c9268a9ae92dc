"""Speech that is none of the words, for training: invented words, and altered words.

Invented words are spoken by the formant synthesiser of the built-in corpus, in many voices. Altered
words keep the voice and the room of the corpus, and change what makes a word: the order of its
sounds, or its vowel.
"""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raytune_yesno.seeding import derive_seed
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from raytune_yesno.tasks.speech.synthetic import WORD_SAMPLES, Words, speak

NUM_INVENTED = 600
FADE_SAMPLES = 40  # 5 ms
GRAFTED = 0.3  # share of the altered words that are grafts

_FFT, _HOP = 256, 64
_LIFTER = 18  # cepstral coefficients of the envelope: below the pitch period of 400 Hz
_FORMANTS_HZ = (0.0, 500.0, 1600.0, 2700.0, 4000.0)


def alter(first: Tensor, second: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """Return a non-word made of words, in one of six ways.

    Three of ten are grafts. Of the others, another vowel is twice as frequent as each other way.

    Args:
        first: (samples,) of a word.
        second: (samples,) of a word.
        other: (samples,) of a word that is not the word of ``first``.
        random: source of randomness.
    """
    if random.random() < GRAFTED:
        return graft(first, random)
    match int(random.integers(6)):
        case 0:
            return first.flip(0)
        case 1:
            return shuffle([first, second], random)
        case 2:
            return splice(first, other, random)
        case 3:
            return repeat_part(first, random)
        case _:
            return change_vowel(first, random)


def shuffle(words: Sequence[Tensor], random: np.random.Generator) -> Tensor:
    """Return pieces of words in random order: the voice without its words."""
    pieces = []
    for word in words:
        length = int(SAMPLE_RATE * random.uniform(0.06, 0.16))
        pieces += [fade(piece, FADE_SAMPLES) for piece in word.split(length)]
    order = random.permutation(len(pieces))[: int(random.integers(3, 9))]
    return torch.cat([pieces[index] for index in order])


def splice(first: Tensor, second: Tensor, random: np.random.Generator) -> Tensor:
    """Return the beginning of one word and the end of another."""
    share = random.uniform(0.35, 0.65)
    head = first[: int(share * len(first))]
    tail = second[int(share * len(second)) :]
    return torch.cat([fade(head, FADE_SAMPLES), fade(tail, FADE_SAMPLES)])


def graft(word: Tensor, random: np.random.Generator) -> Tensor:
    """Return a word whose beginning or end is replaced by that of an invented word.

    Words of other languages often rhyme with a word of the corpus, or begin like it.
    """
    invented = invented_words()[int(random.integers(NUM_INVENTED))]
    length = int(SAMPLE_RATE * random.uniform(0.06, 0.22))
    level = float(word.square().mean().sqrt()) * 10 ** (random.uniform(-10, 2) / 20)
    if random.random() < 0.6:
        pieces = invented[:length] * level, word[int(random.uniform(0.25, 0.55) * len(word)) :]
    else:
        pieces = word[: int(random.uniform(0.4, 0.75) * len(word))], invented[-length:] * level
    return torch.cat([fade(piece, FADE_SAMPLES) for piece in pieces])


def repeat_part(word: Tensor, random: np.random.Generator) -> Tensor:
    """Return the first or the last part of a word, up to three times."""
    length = int(random.uniform(0.25, 0.5) * len(word))
    part = fade(word[:length] if random.random() < 0.5 else word[-length:], FADE_SAMPLES)
    return part.repeat(int(random.integers(1, 4)))


def change_vowel(word: Tensor, random: np.random.Generator) -> Tensor:
    """Return a word with other formants but its own pitch and rhythm.

    The spectral envelope, from the cepstrum, is moved along the frequency axis: the region of the
    first formant, of the second, or both, by 6 to 11 semitones.
    """
    which = int(random.integers(3))
    shift = [2 ** (random.choice([-1, 1]) * random.uniform(low, high)) for low, high in _SHIFTS]
    moved_hz = np.array(_FORMANTS_HZ)
    if which != 1:
        moved_hz[1] *= shift[0]
    if which != 0:
        moved_hz[2] *= shift[1]
        moved_hz[3] = max(moved_hz[3], moved_hz[2] + 300)
    window = torch.hann_window(_FFT)
    spectrum_FT = torch.stft(
        word, _FFT, _HOP, window=window, pad_mode="constant", return_complex=True
    )
    log_FT = (spectrum_FT.abs() + 1e-4 * float(word.abs().max()) + 1e-9).log()
    cepstrum_QT = torch.fft.irfft(log_FT, _FFT, dim=0)
    cepstrum_QT[_LIFTER : _FFT - _LIFTER + 1] = 0
    envelope_FT = torch.fft.rfft(cepstrum_QT, dim=0).real
    hz_F = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)
    source_F = np.interp(hz_F, moved_hz, _FORMANTS_HZ) / hz_F[1]
    left_F = np.minimum(source_F.astype(np.int64), _FFT // 2 - 1)
    share_F1 = torch.from_numpy((source_F - left_F).astype(np.float32))[:, None]
    index_F = torch.from_numpy(left_F)
    moved_FT = torch.lerp(envelope_FT[index_F], envelope_FT[index_F + 1], share_F1)
    changed_FT = spectrum_FT * (moved_FT - envelope_FT).exp()
    return torch.istft(changed_FT, _FFT, _HOP, window=window, length=len(word))


_SHIFTS = ((0.65, 0.95), (0.5, 0.7))  # octaves, of the first and the second formant


def invent(random: np.random.Generator) -> Tensor:
    """Return (samples,) of one to three invented words without a pause between them."""
    words = invented_words()
    count = int(random.choice([1, 1, 1, 2, 2, 3]))
    # Neighbours in the bank have the same voice.
    start = int(random.integers(len(words) - count))
    return torch.cat(words[start : start + count])


@functools.cache
def invented_words() -> tuple[Tensor, ...]:
    """Return the bank of invented words, the same in every process: (samples,) each, RMS 1."""
    random = np.random.default_rng(derive_seed("sounds", "invented"))
    voices = np.stack([_draw_voice(random) for _ in range(NUM_INVENTED // 6)])
    speakers = np.repeat(voices, 6, axis=0)
    speakers[:, 5] = random.uniform(1300, 3900, NUM_INVENTED)  # centre of the hiss, Hz
    words = Words(
        targets=np.stack([_draw_targets(random) for _ in range(NUM_INVENTED)]),
        draws=random.uniform(size=(NUM_INVENTED, 16)),
        speakers=speakers,
        noise=random.uniform(-1, 1, (NUM_INVENTED, WORD_SAMPLES)),
    )
    spoken, lengths = speak(words)
    bank = []
    for samples, length in zip(spoken, lengths.tolist(), strict=True):
        word = torch.from_numpy(samples[:length].astype(np.float32))
        bank.append(fade(word / (word.square().mean().sqrt() + 1e-6), FADE_SAMPLES))
    return tuple(bank)


def _draw_voice(random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a row like those of :data:`raytune_yesno.tasks.speech.synthetic.SPEAKERS`."""
    pitch_hz = 80 * 3.5 ** random.uniform()
    tract = 0.9 + 0.25 * np.clip((pitch_hz - 80) / 150 + random.uniform(-0.3, 0.3), 0, 1.2)
    return np.array(
        [
            *(pitch_hz, tract, random.uniform(0.8, 1.25), random.uniform(0.02, 0.12)),
            *(1.0, 0.0, random.uniform(0.15, 0.5)),
        ]
    )


def _draw_targets(random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return seven random targets: a syllable, or two vowels around a consonant."""
    vowel = _draw_vowel(random)
    vowels = [vowel, _draw_vowel(random) if random.random() < 0.4 else vowel]
    first, second = _draw_consonant(random), _draw_consonant(random)
    match int(random.integers(4)):
        case 0:
            sounds = [*first, *vowels]
        case 1:
            sounds = [*first, *vowels, *second]
        case 2:
            sounds = [*vowels, *second]
        case _:
            sounds = [vowel, *first, *vowels]
    inner = [*sounds, *sounds[-1:] * 5][:5]
    targets = np.array([inner[0], *inner, inner[-1]])
    targets[0, [0, 4, 6]] = 0.0
    targets[-1, [4, 6]] = 0.0
    return targets


def _draw_vowel(random: np.random.Generator) -> list[float]:
    """Return a target: a row of :data:`raytune_yesno.tasks.speech.synthetic.TARGETS`."""
    formants = [random.uniform(260, 780), random.uniform(750, 2300), random.uniform(2200, 2900)]
    return [random.uniform(0.04, 0.16), *formants, random.uniform(0.7, 1.0), 1.0, 0.0]


def _draw_consonant(random: np.random.Generator) -> list[list[float]]:
    """Return one target, or two of a plosive: closure and burst."""
    formants = [random.uniform(230, 450), random.uniform(800, 2200), random.uniform(2100, 2900)]
    seconds = random.uniform(0.03, 0.11)
    match int(random.integers(5)):
        case 0:  # a nasal or a lateral
            return [[seconds, *formants, random.uniform(0.3, 0.6), 0.3, 0.0]]
        case 1:  # a fricative, sometimes voiced
            voiced = random.choice([0.0, 0.0, 0.3])
            return [[seconds, *formants, voiced, 0.5, random.uniform(0.4, 1.0)]]
        case 2:  # a glide
            return [[seconds, *formants, random.uniform(0.5, 0.9), 1.0, 0.0]]
        case _:
            burst = [random.uniform(0.008, 0.06), *formants, 0.0, 0.5, random.uniform(0.5, 1.2)]
            return [[seconds, *formants, random.choice([0.0, 0.15]), 0.3, 0.0], burst]


def fade(piece: Tensor, num_samples: int) -> Tensor:
    """Return a copy with a linear fade of ``num_samples`` at both ends."""
    num_samples = min(num_samples, len(piece) // 2)
    if not num_samples:
        return piece
    ramp = torch.linspace(0, 1, num_samples)
    piece = piece.clone()
    piece[:num_samples] *= ramp
    piece[-num_samples:] *= ramp.flip(0)
    return piece
