"""A trained model reads recordings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from raytune_yesno.checkpoint import Checkpoint, load_checkpoint, restore_model
from raytune_yesno.files.remote import at_hand
from raytune_yesno.tasks.speech.corpus import split_corpus
from raytune_yesno.tasks.speech.decode import ErrorCount, Word, count_errors, greedy_decode
from raytune_yesno.tasks.speech.features import FFT_SAMPLES, LogMel, pad_silence, position_time_s
from raytune_yesno.tasks.speech.noise import LADDER, noisy_copies
from raytune_yesno.tasks.speech.recording import SAMPLE_RATE
from raytune_yesno.tasks.speech.settings import as_speech
from raytune_yesno.tasks.speech.task import build_yesno_model

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus

WORDS = ("no", "yes")


@dataclass(frozen=True)
class TimedWord:
    """A recognised word, its time in the recording, and its mean probability."""

    word: str
    start_s: float
    end_s: float
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Recognizer:
    """Read yes and no from recordings with a checkpoint's model."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        config = as_speech(checkpoint.config)
        self.checkpoint = checkpoint
        dtype = getattr(torch, config.dtype)
        self.model = restore_model(lambda: build_yesno_model(config), checkpoint)
        self.model.eval()
        self._extract = LogMel(dtype)

    @classmethod
    def load(cls, place: str | Path) -> "Recognizer":
        """Load a checkpoint from its folder or URI; raises InputError where there is none."""
        with at_hand(str(place)) as folder:
            return cls(load_checkpoint(folder))

    @torch.no_grad()
    def decode(self, waveform: Tensor) -> list[Word]:
        """Return the words of a (1, samples) waveform at 8 kHz."""
        if waveform.shape[-1] < FFT_SAMPLES:
            return []  # 32 ms at most: too short for a spectrogram and for a word
        x_11FT = pad_silence(self._extract(waveform))[None, None]
        return greedy_decode(self.model(x_11FT).reshape(-1, 3))

    def transcribe(self, waveform: Tensor) -> list[TimedWord]:
        """Return the words of a (1, samples) waveform at 8 kHz, with times in seconds."""
        length_s = waveform.shape[-1] / SAMPLE_RATE
        return [_place(word, length_s) for word in self.decode(waveform)]

    def count_errors(self, corpus: "Corpus", indices: Iterable[int]) -> ErrorCount:
        """Count the word errors over some of a corpus's recordings."""
        total = ErrorCount()
        for index in indices:
            waveform, _, reference = corpus[index]
            total += count_errors(reference, [word.label for word in self.decode(waveform)])
        return total


def evaluate(recognizer: Recognizer, corpus: "Corpus", part: str) -> dict[str, Any]:
    """Return the word errors on a part of a corpus: ``train``, ``valid``, ``test`` or ``all``.

    The split is the checkpoint's: the same seed and halves as in its training.
    """
    errors = recognizer.count_errors(corpus, select_part(recognizer.checkpoint, corpus, part))
    return {
        "wer": errors.wer,
        "words": errors.words,
        "substitutions": errors.substitutions,
        "insertions": errors.insertions,
        "deletions": errors.deletions,
    }


def climb_ladder(
    recognizer: Recognizer,
    corpus: "Corpus",
    part: str,
    on_condition: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Return the word error rate in each condition of ``raytune_yesno.tasks.speech.noise.LADDER``.

    The noise of a recording is fixed: it depends on the condition and the recording alone.

    Args:
        on_condition: called with the number of conditions done, and of all.
    """
    indices = select_part(recognizer.checkpoint, corpus, part)
    rungs = []
    for condition in LADDER:
        errors = ErrorCount()
        for copy in noisy_copies(corpus, indices, [condition], "ladder"):
            heard = [word.label for word in recognizer.decode(copy.waveform)]
            errors += count_errors(corpus.labels[copy.position], heard)
        rungs.append({"noise": condition.noise, "snr_db": condition.snr_db, "wer": errors.wer})
        on_condition(len(rungs), len(LADDER))
    return rungs


def select_part(checkpoint: Checkpoint, corpus: "Corpus", part: str) -> Sequence[int]:
    """Return the indices of a part of a corpus, split as the checkpoint's training split it."""
    if part == "all":
        return range(len(corpus))
    config = as_speech(checkpoint.config)
    split = split_corpus(corpus, seed=config.seed, swap_halves=config.swap_halves)
    return {"train": split.train, "valid": split.valid, "test": split.test}[part]


# A word is heard while its middle is about the middle of the window, and a "yes" or a "no" takes
# about 0.4 s; where exactly it begins and ends, CTC does not say.
_HALF_WORD_S = 0.2


def _place(word: Word, length_s: float) -> TimedWord:
    middle = position_time_s((word.first + word.last) / 2)
    return TimedWord(
        WORDS[word.label],
        round(min(max(0.0, middle - _HALF_WORD_S), length_s), 3),
        round(min(max(0.0, middle + _HALF_WORD_S), length_s), 3),
        round(word.confidence, 4),
    )
