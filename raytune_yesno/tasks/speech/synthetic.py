"""The built-in corpus: "yes" and "no" from a formant synthesiser, in YESNO's layout.

The same seed gives the same bytes on every machine. Samples are computed element by element with
operations whose rounding IEEE 754 defines: + - * / sqrt. Sines and exponentials of the C library,
sums in an order that depends on the processor, and fused multiply-adds differ between machines and
are not used. Cosines are read from a fixed-point table. Random numbers are the raw stream of a bit
generator, which numpy keeps stable; the results of ``Generator`` methods may change.

The synthesiser is parallel (D. H. Klatt, "Software for a cascade/parallel formant synthesizer",
JASA 67, 1980): glottal pulses and noise pass through one resonator per formant. One loop over time
processes all words of many recordings.
"""

import math
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raytune_yesno.errors import InputError
from raytune_yesno.home import expand_home
from raytune_yesno.tasks.speech.corpus import Corpus, build_corpus
from raytune_yesno.tasks.speech.folder import FOLDER, check_folder
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

Array = npt.NDArray[np.float64]
WordTimes = tuple[tuple[float, float], ...]
"""Start and end of each word of a recording, in seconds."""

MAX_RECORDINGS = 10_000  # about 3 GB of samples
WORDS_PER_RECORDING = 8
RECORDINGS_AT_ONCE = 64  # limits memory; does not change the samples
FRAME = 40  # samples with constant formants and pitch: 5 ms
WORD_SAMPLES = 120 * FRAME  # 0.6 s; the slowest word takes 0.54 s
FORMANT_BANDWIDTHS_HZ = (90.0, 110.0, 130.0, 220.0)
FORMANT_GAINS = (1.0, 0.6, 0.35, 0.15)
HISS_BANDWIDTH_HZ = 700.0
LEVEL = 1.6  # gives words the peaks of YESNO, about 10 dB below full scale
NOISE_FLOOR = 0.0022  # about -54 dB, as in YESNO

# 20-bit fixed point is coarse enough to hide differences of libraries in the last bit of a cosine.
COSINES = np.array([round(math.cos(math.pi * hz / 4000) * 2**20) / 2**20 for hz in range(4001)])

# Each word moves linearly through seven targets. Columns: seconds since the previous target, first
# three formants in Hz, level of the voice, share of the upper formants, level of the hiss.
TARGETS = np.array(
    [
        [  # no: a nasal murmur, then a closing rounded vowel
            [0.000, 250, 1250, 2250, 0.00, 0.2, 0.0],
            [0.030, 250, 1250, 2250, 0.35, 0.2, 0.0],
            [0.050, 260, 1250, 2250, 0.40, 0.2, 0.0],
            [0.030, 540, 1050, 2350, 1.00, 1.0, 0.0],
            [0.110, 480, 920, 2300, 0.90, 1.0, 0.0],
            [0.090, 350, 800, 2250, 0.50, 0.8, 0.0],
            [0.070, 330, 780, 2250, 0.00, 0.8, 0.0],
        ],
        [  # yes: a glide from [j], an open vowel, a hiss
            [0.000, 280, 2150, 2900, 0.00, 1.0, 0.0],
            [0.040, 280, 2150, 2900, 0.55, 1.0, 0.0],
            [0.070, 520, 1850, 2550, 1.00, 1.0, 0.0],
            [0.100, 570, 1750, 2500, 0.85, 1.0, 0.0],
            [0.045, 500, 1700, 2550, 0.00, 1.0, 1.0],
            [0.080, 500, 1700, 2550, 0.00, 1.0, 0.8],
            [0.050, 500, 1700, 2550, 0.00, 1.0, 0.0],
        ],
    ]
)
# Columns: pitch in Hz, factors on the formants and on the length of words, breathiness, loudness,
# frequency of the hiss in Hz and its loudness.
SPEAKERS = np.array(
    [
        [98, 0.95, 1.10, 0.04, 1.00, 3300, 0.22],
        [112, 0.98, 1.00, 0.03, 1.20, 3450, 0.30],
        [126, 1.02, 0.88, 0.06, 0.80, 3600, 0.16],
        [175, 1.10, 1.05, 0.08, 0.75, 3700, 0.32],
        [204, 1.15, 0.95, 0.05, 1.00, 3550, 0.26],
        [232, 1.20, 0.90, 0.10, 0.90, 3800, 0.20],
    ]
)


class RandomStream:
    """Random numbers from a stream of raw 64-bit integers, the same on every machine.

    Args:
        seed: integers that identify the stream.
    """

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def raw(self, count: int) -> npt.NDArray[np.uint64]:
        """Return the next integers of the stream, (count,)."""
        return self._bits.random_raw(count)

    def uniform(self, rows: int, columns: int) -> Array:
        """Return floats in [0, 1) of shape (rows, columns)."""
        numbers = (self.raw(rows * columns) >> np.uint64(11)).astype(np.float64)
        return (numbers * 2.0**-53).reshape(rows, columns)

    def noise(self, count: int) -> Array:
        """Return (count,) of white noise, uniform in [-1, 1), four samples per raw integer."""
        parts = self.raw(-(-count // 4)).astype("<u8").view("<u2")[:count]
        return parts * 2.0**-15 - 1.0


class Words(NamedTuple):
    """Random properties of words. The first axis of every array is the word.

    Attributes:
        targets: (words, 7, 7), rows like those of :data:`TARGETS`.
        draws: uniform numbers, one column for each property that varies.
        speakers: rows like those of :data:`SPEAKERS`.
        noise: (words, samples).
    """

    targets: Array
    draws: Array
    speakers: Array
    noise: Array


def synthesize(num_recordings: int = 60, seed: int = 0) -> Corpus:
    """Generate a corpus of distinct, balanced label patterns with several voices.

    The arguments are those of :func:`synthesize_with_times`.
    """
    return synthesize_with_times(num_recordings, seed)[0]


def synthesize_with_times(
    num_recordings: int = 60, seed: int = 0
) -> tuple[Corpus, tuple[WordTimes, ...]]:
    """Generate a corpus and the true times of its words.

    Recordings have eight words. If there are more than 256, they have as many words as distinct
    names require.

    Args:
        num_recordings: number of recordings, 1 to :data:`MAX_RECORDINGS`.
        seed: seed of all random streams, not negative.

    Returns:
        The corpus, and the times of the words of each recording.

    Raises:
        InputError: an argument is out of range.
    """
    if not 1 <= num_recordings <= MAX_RECORDINGS:
        raise InputError(f"synthetic: {num_recordings} recordings; give 1 to {MAX_RECORDINGS}")
    if seed < 0:
        raise InputError(f"synthetic: seed {seed}; give one that is not negative")
    patterns = choose_patterns(num_recordings, RandomStream(seed, 0))
    waveforms: dict[str, npt.NDArray[np.float32]] = {}
    times: list[WordTimes] = []
    for first in range(0, num_recordings, RECORDINGS_AT_ONCE):
        batch = patterns[first : first + RECORDINGS_AT_ONCE]
        randoms = [RandomStream(seed, 1, first + n) for n in range(len(batch))]
        words = _draw_words(batch, randoms)
        spoken, num_samples = speak(words)
        for n, (labels, random) in enumerate(zip(batch, randoms, strict=True)):
            rows = slice(n * len(labels), (n + 1) * len(labels))
            waveform, spans = _assemble(
                spoken[rows], num_samples[rows], words.draws[rows, -1], random
            )
            waveforms["_".join(map(str, labels))] = waveform
            times.append(spans)
    source = f"synthetic ({num_recordings} recordings, seed {seed})"
    return build_corpus(waveforms, source=source), tuple(times)


def choose_patterns(count: int, random: RandomStream) -> list[tuple[int, ...]]:
    """Return distinct label patterns, sorted, in complementary pairs: equal numbers of yes and no.

    With an odd count one pair is incomplete.
    """
    width = max(WORDS_PER_RECORDING, (count - 1).bit_length())
    half = 1 << (width - 1)  # patterns below it begin with no, their complements with yes
    chosen = np.argsort(random.raw(half), kind="stable")[: (count + 1) // 2].tolist()
    numbers = sorted([*chosen, *(2 * half - 1 - number for number in chosen)][:count])
    return [tuple(number >> bit & 1 for bit in reversed(range(width))) for number in numbers]


def _draw_words(patterns: list[tuple[int, ...]], randoms: list[RandomStream]) -> Words:
    """Draw voices and words of recordings, each from its own stream."""
    labels = np.array(patterns, dtype=np.int64)
    width = labels.shape[1]
    draws, speakers, noise = [], [], []
    for random in randoms:
        voice = SPEAKERS[int(random.raw(1)[0] >> np.uint64(32)) % len(SPEAKERS)]
        voice = voice * (0.95 + 0.1 * random.uniform(1, len(voice))[0])
        speakers += [voice] * width
        draws.append(random.uniform(width, 16))
        noise.append(random.noise(width * WORD_SAMPLES).reshape(width, -1))
    return Words(
        TARGETS[labels.ravel()], np.concatenate(draws), np.array(speakers), np.concatenate(noise)
    )


def speak(words: Words) -> tuple[Array, npt.NDArray[np.int64]]:
    """Synthesise words; return (words, samples) and the length of each word in samples."""
    draws, speakers = words.draws, words.speakers
    pitch_hz, tract, pace, breath, loudness, hiss_hz, hiss_gain = speakers.T
    targets = words.targets
    seconds = targets[:, :, 0] * pace[:, None] * (0.8 + 0.4 * draws[:, :7])
    arrivals = seconds.copy()
    for k in range(1, arrivals.shape[1]):
        arrivals[:, k] = arrivals[:, k - 1] + seconds[:, k]
    length_s = arrivals[:, -1]
    num_frames = WORD_SAMPLES // FRAME
    frame_s = np.arange(num_frames)[:, None] * (FRAME / SAMPLE_RATE)  # (frames, 1)

    def follow(column: int) -> Array:
        """Interpolate linearly between the targets of a column; shape (frames, words)."""
        value: Array = np.zeros((num_frames, 1)) + targets[:, 0, column]
        for k in range(1, targets.shape[1]):
            done = np.clip((frame_s - arrivals[:, k - 1]) / seconds[:, k], 0.0, 1.0)
            value += done * (targets[:, k, column] - targets[:, k - 1, column])
        return value

    # The formants of a word vary around those of the voice; the fourth is constant.
    stray = 0.94 + 0.12 * draws[:, 7:10]
    formants_hz = [follow(1 + k) * (tract * stray[:, k]) for k in range(3)]
    formants_hz += [np.zeros((num_frames, 1)) + 3300 * tract, np.zeros((num_frames, 1)) + hiss_hz]
    loud = LEVEL * loudness * (0.75 + 0.5 * draws[:, 10])
    voiced, upper = follow(4) * loud, follow(5) * (0.6 + 0.8 * draws[:, 11])
    hiss = follow(6) * (loud * hiss_gain * (0.6 + 0.8 * draws[:, 12]))
    first, *others = FORMANT_GAINS
    # Neighbouring formants have opposite signs; with equal signs they cancel between their peaks.
    gains = [
        voiced * first,
        *(voiced * upper * (-g if k % 2 == 0 else g) for k, g in enumerate(others)),
        hiss,
    ]

    # The pitch starts near that of the voice and mostly falls.
    begin, end = 0.92 + 0.22 * draws[:, 13], 0.75 + 0.25 * draws[:, 14]
    glide = np.clip(frame_s / length_s, 0.0, 1.0)
    pulses = _glottal_pulses(pitch_hz * (begin + glide * (end - begin)))
    noise = words.noise.T  # (samples, words)
    source = pulses + breath * noise
    spoken = _resonate(np.stack(formants_hz, axis=1), np.stack(gains, axis=1), source, noise)
    return spoken.T, (length_s * SAMPLE_RATE).astype(np.int64)


def _glottal_pulses(pitch_hz: Array) -> Array:
    """Return the derivative of the glottal flow, (samples, words), for a (frames, words) pitch.

    The glottis is open for 0.6 of a period with the flow u² - u³ (Klatt & Klatt, JASA 87, 1990).
    Phases are 32-bit integers that wrap around.
    """
    steps = (pitch_hz * (2.0**32 / SAMPLE_RATE)).astype(np.int64)
    begins = (np.cumsum(steps, axis=0) - steps) * FRAME
    phases = begins[:, None, :] + steps[:, None, :] * np.arange(FRAME)[:, None]
    u = (phases % 2**32) * (2.0**-32 / 0.6)
    pulses = np.where(u < 1.0, u * (2.0 - 3.0 * u), 0.0)
    return pulses.reshape(-1, pitch_hz.shape[1])


def _resonate(formants_hz: Array, gains: Array, source: Array, noise: Array) -> Array:
    """Filter the source by the formants and the noise by the hiss, and add the results.

    Args:
        formants_hz: (frames, resonators, words); the last resonator is the hiss.
        gains: (frames, resonators, words).
        source: (samples, words).
        noise: (samples, words).

    Returns:
        (samples, words).
    """
    bandwidths = np.array([*FORMANT_BANDWIDTHS_HZ, HISS_BANDWIDTH_HZ])[:, None]
    half = bandwidths * (3.141592653589793 / SAMPLE_RATE) * 0.5
    radius = (1.0 - half) / (1.0 + half)  # exp(-2 half) up to terms of third order
    cosine = COSINES[np.clip(formants_hz, 50, 3950).astype(np.int64)]
    feedback_1, feedback_2 = 2.0 * radius * cosine, -radius * radius
    # Normalises the gain at the resonance to 1.
    peak = 1.0 - 2.0 * radius * (2.0 * cosine * cosine - 1.0) + radius * radius
    gains = gains * (1.0 - radius) * np.sqrt(peak)
    last, before = np.zeros(gains.shape[1:]), np.zeros(gains.shape[1:])
    spoken = np.empty_like(source)
    for frame, gain in enumerate(gains):
        span = slice(frame * FRAME, (frame + 1) * FRAME)
        out = source[span, None, :] * gain  # (samples of a frame, resonators, words)
        out[:, -1] = noise[span] * gain[-1]
        feedback = feedback_1[frame]
        for now in out:
            now += feedback * last
            now += feedback_2 * before
            last, before = now, last
        mixed = out[:, 0]
        for k in range(1, out.shape[1]):
            mixed = mixed + out[:, k]
        spoken[span] = mixed
    return spoken


def _assemble(
    spoken: Array, num_samples: npt.NDArray[np.int64], pauses: Array, random: RandomStream
) -> tuple[npt.NDArray[np.float32], WordTimes]:
    """Concatenate words with pauses and a noise floor.

    Args:
        spoken: (words, samples).
        num_samples: length of each word.
        pauses: uniform numbers in [0, 1) for the pauses after the words.
        random: source of randomness.

    Returns:
        The waveform, with samples that are multiples of 2**-15, and the times of the words.
    """
    ends = random.uniform(1, 3)[0]
    lead_s, trail_s, floor = 0.5 + 0.5 * ends[0], 0.3 + 0.7 * ends[1], 0.7 + 0.6 * ends[2]
    pauses_s = 0.1 + 0.25 * pauses
    starts: list[int] = []
    position = int(lead_s * SAMPLE_RATE)
    for count, pause_s in zip(num_samples.tolist(), pauses_s.tolist(), strict=True):
        starts.append(position)
        position += count + int(pause_s * SAMPLE_RATE)
    total = position + int(trail_s * SAMPLE_RATE)
    waveform = _noise_floor(total, random) * (NOISE_FLOOR * floor)
    for start, word in zip(starts, spoken, strict=True):
        waveform[start : start + len(word)] += word[: total - start]
    steps = np.clip(np.floor(waveform * 2.0**15 + 0.5), -(2**15), 2**15 - 1)
    spans = zip(starts, num_samples.tolist(), strict=True)
    times = tuple((start / SAMPLE_RATE, (start + count) / SAMPLE_RATE) for start, count in spans)
    return (steps * 2.0**-15).astype(np.float32), times


def _noise_floor(num_samples: int, random: RandomStream) -> Array:
    """Return noise that falls by about 3 dB per octave, like that of rooms and microphones.

    It is the sum of white noises at sample rates that halve, interpolated linearly.
    """
    total = np.zeros(num_samples)
    for octave in range(1, 7):
        step = 1 << octave
        points = random.noise(num_samples // step + 2)
        rises = (points[1:] - points[:-1])[:, None] * (np.arange(step) / step)
        total += (points[:-1, None] + rises).ravel()[:num_samples]
    return total


def write_corpus(corpus: Corpus, folder: str | Path) -> Path:
    """Write a corpus as 16-bit WAV files to ``folder/waves_yesno``, completely or not at all.

    Returns:
        The folder with the files.

    Raises:
        InputError: the folder has other files, cannot be written, or the samples of the corpus are
            not 16-bit values and would change.
    """
    folder = expand_home(folder)
    target = folder / FOLDER
    if target.is_dir() and any(target.iterdir()):
        existing, problems = check_folder(folder)
        if existing is not None and not problems and existing.fingerprint == corpus.fingerprint:
            return target
        raise InputError(f"{target} holds another corpus: choose another folder or remove it")
    steps = corpus.samples[:].astype(np.float64) * 2**15
    if not (
        np.array_equal(steps, np.floor(steps)) and -(2**15) <= steps.min() <= steps.max() < 2**15
    ):
        raise InputError(
            "the samples of this corpus are not 16-bit values and would change: it is not written"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{FOLDER}-", dir=folder) as temporary:
            unfinished = Path(temporary) / FOLDER
            unfinished.mkdir()
            for n, name in enumerate(corpus.names):
                with wave.open(str(unfinished / f"{name}.wav"), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(corpus.sample_rate)
                    file.writeframes((corpus.waveform(n) * 2**15).astype("<i2").tobytes())
            unfinished.rename(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from error
    return target
