"""Measurements of ``evaluate``: word errors by condition, false alarms, calibration and cost.

Error rates, false alarms and calibration errors have 95 % intervals. Conditions are in three
groups, which depend on the settings of the checkpoint's training:

``noise``
    white, pink and babble noise, which training or validation uses;
``similar``
    other conditions similar to an augmentation of training, from other generators;
``unseen``
    conditions without a similar augmentation in training.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binomtest, chi2
from torch import Tensor

from raytune_yesno.cpus import count_cpus
from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.seeding import build_torch_generator
from raytune_yesno.tasks.speech.conditions import UNSEEN, UnseenCondition, changed_copies
from raytune_yesno.tasks.speech.decode import (
    ErrorCount,
    Word,
    align_words,
    count_errors,
    match_words,
)
from raytune_yesno.tasks.speech.features import pad_silence
from raytune_yesno.tasks.speech.noise import LADDER, NOISES, Condition, draw_noise, noisy_copies
from raytune_yesno.tasks.speech.recognizer import Recognizer, select_part
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from raytune_yesno.tasks.speech.wordless import SOUNDS

if TYPE_CHECKING:
    from raytune_yesno.config import Config
    from raytune_yesno.tasks.speech.corpus import Corpus

Interval = list[float]
"""Lower and upper end, 95 %."""
Report = Callable[[int, int], None]

GROUPS = ("noise", "similar", "unseen")
WORDLESS = ("silence", *NOISES, *SOUNDS)
WORDLESS_RMS = 0.05  # of full scale: -26 dB, the usual level of speech
WORDLESS_PIECE_S = 60
BINS = 10
_RESAMPLES = 1000
_COST_S = 30  # seconds of sound in a timed run


@dataclass(frozen=True)
class Reading:
    """Reference and recognised words of a recording, including words below the threshold."""

    reference: tuple[int, ...]
    heard: tuple[Word, ...]

    def count(self, min_confidence: float) -> ErrorCount:
        """Count the word errors among words of at least ``min_confidence``."""
        accepted = [word.label for word in self.heard if word.confidence >= min_confidence]
        return count_errors(self.reference, accepted)


@dataclass(frozen=True)
class ConditionResult:
    """Readings in one condition, its group, and the related settings of training."""

    kind: str
    setting: str
    group: str
    related: tuple[str, ...]
    readings: tuple[Reading, ...]


def evaluate(recognizer: Recognizer, corpus: "Corpus", part: str) -> dict[str, Any]:
    """Return the word errors on a part of a corpus.

    Args:
        recognizer: the recogniser; its checkpoint determines the split, as in training.
        corpus: the corpus.
        part: ``train``, ``valid``, ``test`` or ``all``.
    """
    corpus = corpus.relabel(recognizer.vocabulary)
    return summarize(read_part(recognizer, corpus, part), recognizer.min_confidence)


def read_part(recognizer: Recognizer, corpus: "Corpus", part: str) -> list[Reading]:
    """Recognise the unchanged recordings of a part of a corpus."""
    return [
        Reading(corpus.labels[position], tuple(recognizer.listen(corpus[position][0])))
        for position in select_part(recognizer.checkpoint, corpus, part)
    ]


def summarize(readings: Sequence[Reading], min_confidence: float) -> dict[str, Any]:
    """Return the word error rate of readings, its 95 % interval and the counts."""
    return _describe([reading.count(min_confidence) for reading in readings])


def describe_words(
    readings: Iterable[Reading], min_confidence: float, vocabulary: Sequence[str]
) -> list[dict[str, Any]]:
    """Return for each word how often it was spoken, and how often it was recognised."""
    spoken, right = Counter[int](), Counter[int]()
    for reading in readings:
        heard = [word.label for word in reading.heard if word.confidence >= min_confidence]
        spoken.update(reading.reference)
        for i, j in align_words(reading.reference, heard):
            if i is not None and j is not None and reading.reference[i] == heard[j]:
                right[heard[j]] += 1
    return [
        {"word": word, "spoken": spoken[label], "right": right[label]}
        for label, word in enumerate(vocabulary)
    ]


def _describe(counts: Sequence[ErrorCount]) -> dict[str, Any]:
    total = sum(counts, ErrorCount())
    return {
        "wer": total.wer,
        "words": total.words,
        "substitutions": total.substitutions,
        "insertions": total.insertions,
        "deletions": total.deletions,
        "wer_interval": wer_interval(counts),
    }


def select_conditions(names: str) -> list[Condition | UnseenCondition]:
    """Return the conditions that a comma-separated list names.

    Args:
        names: each one a kind, a kind with a setting, or a group: ``all``, ``none``, ``noise`` for
            the noise of training, ``new`` for all other conditions.

    Raises:
        InputError: a name is unknown.
    """
    known: dict[str, list[Condition | UnseenCondition]] = {"all": [*LADDER, *UNSEEN], "none": []}
    known |= {"noise": [*LADDER], "new": [*UNSEEN]}
    for noisy in LADDER:
        known.setdefault(noisy.noise, []).append(noisy)
    for condition in UNSEEN:
        known.setdefault(condition.kind, []).append(condition)
        known[condition.name] = [condition]
    chosen: dict[Condition | UnseenCondition, None] = {}
    for name in (part.strip() for part in names.split(",")):
        if name not in known:
            raise InputError(f"--conditions {name!r}: {suggest_name(name, known)}")
        chosen |= dict.fromkeys(known[name])
    return [*chosen]


def measure_conditions(
    recognizer: Recognizer,
    corpus: "Corpus",
    part: str,
    conditions: Sequence[Condition | UnseenCondition],
    on_condition: Report = lambda done, total: None,
) -> list[ConditionResult]:
    """Recognise a part of a corpus in each condition.

    The change of a recording depends only on the names of the condition and the recording.

    Args:
        recognizer: the recogniser.
        corpus: the corpus.
        part: ``train``, ``valid``, ``test`` or ``all``.
        conditions: the conditions, in the order of the results.
        on_condition: called with the number of finished conditions and the total.
    """
    config = recognizer.checkpoint.config
    positions = select_part(recognizer.checkpoint, corpus, part)

    def measure(condition: Condition | UnseenCondition) -> ConditionResult:
        if isinstance(condition, UnseenCondition):
            copies = [
                (copy.words, copy.waveform) for copy in changed_copies(corpus, positions, condition)
            ]
            related = condition.related_settings(config)
            about = condition.kind, condition.setting, "similar" if related else "unseen", related
        else:
            copies = [
                (corpus.labels[copy.position], copy.waveform)
                for copy in noisy_copies(corpus, positions, [condition], "ladder")
            ]
            about = condition.noise, f"{condition.snr_db:g} dB", "noise", _noise_settings(config)
        readings = [Reading(words, tuple(recognizer.listen(wave))) for words, wave in copies]
        return ConditionResult(*about, tuple(readings))

    results: list[ConditionResult] = []
    for result in _on_all_cores(measure, conditions):
        results.append(result)
        on_condition(len(results), len(conditions))
    return results


def describe_conditions(
    results: Iterable[ConditionResult], min_confidence: float
) -> list[dict[str, Any]]:
    """Return the figures of each condition."""
    return [
        {
            "kind": result.kind,
            "setting": result.setting,
            "group": result.group,
            "related": [*result.related],
            **summarize(result.readings, min_confidence),
        }
        for result in results
    ]


def describe_noise(
    results: Iterable[ConditionResult], min_confidence: float
) -> list[dict[str, Any]]:
    """Return the word error rate by kind of noise and signal-to-noise ratio in dB."""
    return [
        {
            "noise": result.kind,
            "snr_db": float(result.setting.removesuffix(" dB")),
            "wer": summarize(result.readings, min_confidence)["wer"],
        }
        for result in results
        if result.group == "noise"
    ]


def describe_groups(
    results: Iterable[ConditionResult], min_confidence: float
) -> dict[str, dict[str, Any]]:
    """Return the word errors of each group of conditions.

    For the interval, the errors of a recording in all conditions of a group count as those of one
    recording: voice and words are the same.
    """
    counts: dict[str, list[list[ErrorCount]]] = {}
    for result in results:
        counts.setdefault(result.group, []).append(
            [reading.count(min_confidence) for reading in result.readings]
        )
    return {
        group: _describe([sum(column, ErrorCount()) for column in zip(*rows, strict=True)])
        for group, rows in counts.items()
    }


def measure_calibration(readings: Iterable[Reading]) -> dict[str, Any]:
    """Return the expected calibration error, its 95 % interval and its bins.

    The expected calibration error (Guo et al., "On calibration of modern neural networks", 2017)
    is the mean distance, weighted by words, between confidence and the share of right words in ten
    bins of equal width. Words below the threshold count too. The interval is a bootstrap over
    recordings.
    """
    samples = [
        (
            np.array([word.confidence for word in reading.heard]),
            np.array(match_words(reading.reference, [word.label for word in reading.heard])),
        )
        for reading in readings
    ]
    # Sums by recording and bin: words, confidences, right words.
    sums_N3K = np.zeros((len(samples), 3, BINS))
    for row, (confidences, correct) in enumerate(samples):
        bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
        for column, weights in enumerate((None, confidences, correct)):
            sums_N3K[row, column] = np.bincount(bins, weights, minlength=BINS)

    def error(sums_3K: npt.NDArray[np.float64]) -> float:
        num_words, confidence, right = sums_3K
        return float(np.abs(confidence - right).sum() / num_words.sum()) if num_words.sum() else 0.0

    total_3K = sums_N3K.sum(axis=0)
    random = np.random.default_rng(0)
    draws = [
        error(sums_N3K[random.integers(0, len(samples), len(samples))].sum(axis=0))
        for _ in range(_RESAMPLES if samples else 0)
    ]
    interval = np.quantile(draws, (0.025, 0.975)).tolist() if draws else [0.0, 1.0]
    return {
        "ece": error(total_3K),
        "ece_interval": interval,
        "words": int(total_3K[0].sum()),
        "bins": [
            {
                "low": k / BINS,
                "high": (k + 1) / BINS,
                "words": int(num_words),
                "confidence": confidence / num_words if num_words else None,
                "correct": right / num_words if num_words else None,
            }
            for k, (num_words, confidence, right) in enumerate(total_3K.T.tolist())
        ],
    }


def measure_rejection(readings: Iterable[Reading], min_confidence: float) -> dict[str, Any]:
    """Return the numbers of right and of wrong words that a threshold rejects."""
    right = wrong = 0
    for reading in readings:
        marks = match_words(reading.reference, [word.label for word in reading.heard])
        for word, correct in zip(reading.heard, marks, strict=True):
            if word.confidence < min_confidence:
                right, wrong = right + correct, wrong + (not correct)
    return {"min_confidence": min_confidence, "right": right, "wrong": wrong}


def measure_wordless(
    recognizer: Recognizer, seconds: float, on_sound: Report = lambda done, total: None
) -> dict[str, Any]:
    """Return the false alarms per hour on generated sounds without words.

    Args:
        recognizer: the recogniser.
        seconds: length of each sound. The RMS is 0.05 of full scale.
        on_sound: called with the number of finished sounds and the total.
    """

    def count(kind: str) -> int:
        alarms = 0
        for number, start_s in enumerate(np.arange(0.0, seconds, WORDLESS_PIECE_S).tolist()):
            length = round(min(WORDLESS_PIECE_S, seconds - start_s) * SAMPLE_RATE)
            alarms += len(recognizer.decode(build_wordless(kind, length, number)))
        return alarms

    rows = []
    for kind, alarms in zip(WORDLESS, _on_all_cores(count, WORDLESS), strict=True):
        rows.append({"sound": kind, **alarm_rate(alarms, seconds)})
        on_sound(len(rows), len(WORDLESS))
    total = sum(row["alarms"] for row in rows)
    return {**alarm_rate(total, seconds * len(rows)), "sounds": rows}


def build_wordless(kind: str, num_samples: int, number: int = 0) -> Tensor:
    """Return (samples,) of a sound without words, with an RMS of 0.05 of full scale.

    Args:
        kind: one of :data:`WORDLESS`.
        num_samples: length, at 8 kHz.
        number: number of the random stream; different numbers give different sounds.
    """
    generator = build_torch_generator("wordless", kind, number)
    if kind == "silence":
        return torch.zeros(num_samples)
    draw = SOUNDS.get(kind)
    sound = draw(num_samples, generator) if draw else draw_noise(kind, num_samples, generator)
    return sound * (WORDLESS_RMS / sound.square().mean().sqrt().clamp(min=1e-9))


def alarm_rate(alarms: int, seconds: float) -> dict[str, Any]:
    """Return alarms per hour with the exact 95 % interval of a Poisson process (Garwood, 1936)."""
    hours = seconds / 3600
    low = chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0
    high = chi2.ppf(0.975, 2 * alarms + 2) / 2
    return {
        "alarms": alarms,
        "hours": hours,
        "per_hour": alarms / hours,
        "per_hour_interval": [float(low) / hours, float(high) / hours],
    }


def measure_cost(recognizer: Recognizer) -> dict[str, Any]:
    """Return the cost of recognition: parameters, multiply-adds per second, real-time factor.

    The real-time factor is the time of one core for features, network and decoding divided by the
    length of the sound. It is the median of five runs on 30 s.
    """
    from torch.utils.flop_counter import FlopCounterMode

    waveform = build_wordless("pink", _COST_S * SAMPLE_RATE)
    feature_FT = recognizer.extract(waveform)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        recognizer.model(pad_silence(feature_FT)[None, None])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times_s = []
        for _ in range(5):
            began = time.perf_counter()
            recognizer.listen(waveform)
            times_s.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return {
        "parameters": sum(parameter.numel() for parameter in recognizer.model.parameters()),
        "multiply_adds_per_s": round(counter.get_total_flops() / 2 / _COST_S),
        "real_time_factor": statistics.median(times_s) / _COST_S,
    }


def wer_interval(counts: Sequence[ErrorCount]) -> Interval:
    """Return a 95 % interval of the word error rate over recordings.

    Each bound is the wider one of two intervals. The percentile bootstrap over recordings allows
    for correlated errors within a recording. Wilson's interval over words is valid for few errors
    or none. In simulations with 30 recordings of 8 words, rates of 0.4 to 40 % and correlations up
    to 0.3 within a recording, the combination covers the true rate in 89 to 100 % of cases, the
    bootstrap alone in 79 to 100 %, Wilson's interval alone in 72 to 98 %.
    """
    errors_N = np.array([count.errors for count in counts])
    words_N = np.array([count.words for count in counts])
    if not words_N.sum():
        return [0.0, 1.0]
    picks = np.random.default_rng(0).integers(0, len(counts), (_RESAMPLES, len(counts)))
    words = words_N[picks].sum(axis=1)
    rates = errors_N[picks].sum(axis=1)[words > 0] / words[words > 0]
    low, high = np.quantile(rates, (0.025, 0.975)).tolist()
    if (wrong := int(errors_N.sum())) <= (total := int(words_N.sum())):
        wilson = binomtest(wrong, total).proportion_ci(method="wilson")
        low, high = min(low, float(wilson.low)), max(high, float(wilson.high))
    return [low, high]


def _noise_settings(config: "Config") -> tuple[str, ...]:
    """Return the settings that made training or validation use noise."""
    keys = ("augment_noise", "augment_scenes", "valid_noise")
    return tuple(key for key in keys if getattr(config, key, 0))


def _on_all_cores(measure: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    """Yield the result of ``measure`` for each item, in order, with one core per item."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(
            count_cpus(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            yield from pool.map(measure, items)
    finally:
        torch.set_num_threads(threads)
