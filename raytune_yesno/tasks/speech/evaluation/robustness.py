"""Word errors by condition.

Conditions are in three groups, which depend on the settings of the checkpoint's training:

``noise``
    white, pink and babble noise, which training or validation uses;
``similar``
    other conditions similar to an augmentation of training, from other generators;
``unseen``
    conditions without a similar augmentation in training.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.tasks.speech.decode import ErrorCount
from raytune_yesno.tasks.speech.evaluation.conditions import UNSEEN, UnseenCondition, changed_copies
from raytune_yesno.tasks.speech.evaluation.parallel import on_all_cores
from raytune_yesno.tasks.speech.evaluation.word_errors import Reading, describe_counts, summarize
from raytune_yesno.tasks.speech.noise import LADDER, Condition, noisy_copies
from raytune_yesno.tasks.speech.recognizer import Recognizer, select_part

if TYPE_CHECKING:
    from raytune_yesno.config import Config
    from raytune_yesno.tasks.speech.corpus import Corpus

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class ConditionResult:
    """Readings in one condition, its group, and the related settings of training."""

    kind: str
    setting: str
    group: str
    related: tuple[str, ...]
    readings: tuple[Reading, ...]


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
    for result in on_all_cores(measure, conditions):
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
        group: describe_counts([sum(column, ErrorCount()) for column in zip(*rows, strict=True)])
        for group, rows in counts.items()
    }


def _noise_settings(config: "Config") -> tuple[str, ...]:
    """Return the settings that made training or validation use noise."""
    keys = ("augment_noise", "augment_scenes", "valid_noise")
    return tuple(key for key in keys if getattr(config, key, 0))
