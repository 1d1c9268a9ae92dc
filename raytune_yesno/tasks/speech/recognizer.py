"""Recognise words in recordings with a trained model."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from raytune_yesno.checkpoint import Checkpoint, load_checkpoint, read_task, restore_model
from raytune_yesno.errors import InputError
from raytune_yesno.files.remote import local_copy
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.speech.calibrate import read_calibration
from raytune_yesno.tasks.speech.decode import Word
from raytune_yesno.tasks.speech.features import build_extract, position_time_s
from raytune_yesno.tasks.speech.networks import ShiftAverage, build_network
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from raytune_yesno.tasks.speech.settings import as_speech, split_options
from raytune_yesno.tasks.speech.split import split_corpus
from raytune_yesno.tasks.speech.streaming import BLOCK_S, WordStream
from raytune_yesno.tasks.speech.transcript import YESNO_WORDS

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus

# CTC does not give the start and end of a word. A word is recognised while its centre is near the
# centre of the window, and a short word takes about 0.4 s.
_HALF_WORD_S = 0.2


@dataclass(frozen=True)
class TimedWord:
    """A recognised word, its times in seconds, and the probability that it is right."""

    word: str
    start_s: float
    end_s: float
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes by name."""
        return asdict(self)


class Recognizer:
    """Recogniser with the model of a checkpoint.

    Args:
        checkpoint: a checkpoint of a speech task.
        min_confidence: minimum confidence of the words returned; None uses the checkpoint's
            threshold.

    Raises:
        InputError: the checkpoint is of another task.
    """

    def __init__(self, checkpoint: Checkpoint, min_confidence: float | None = None) -> None:
        config = as_speech(checkpoint.config)
        self.checkpoint = checkpoint
        if min_confidence is None:
            min_confidence = read_calibration(checkpoint.calibration).threshold
        self.min_confidence = min_confidence
        self.vocabulary = read_vocabulary(checkpoint)
        network = restore_model(lambda: build_network(config, len(self.vocabulary)), checkpoint)
        self.model = ShiftAverage(network, config.shifts).eval()
        self.calibration = read_calibration(checkpoint.calibration)
        self.extract = build_extract(config, checkpoint.corpus)

    @classmethod
    def load(cls, folder: str | Path, min_confidence: float | None = None) -> "Recognizer":
        """Load a checkpoint from a folder or URI.

        Args:
            folder: the checkpoint's folder or URI.
            min_confidence: as for the class.

        Raises:
            InputError: there is no checkpoint, or it is damaged.
        """
        with local_copy(str(folder)) as local:
            if (task := read_task(local)) not in TASKS:
                raise InputError(
                    f"{folder}: a model of the task {task}, not of the recogniser; `raytune-yesno "
                    "evaluate --task` measures it"
                )
            return cls(load_checkpoint(local), min_confidence)

    @property
    def can_stream(self) -> bool:
        """Whether words can be recognised before the recording ends."""
        return self.extract.kind != "recording"

    def stream(self, block_s: float = BLOCK_S) -> "TimedWordStream":
        """Start to recognise a recording whose samples arrive in pieces.

        Example:
            >>> stream = recognizer.stream(block_s=0.25)  # doctest: +SKIP
            >>> for samples in microphone:  # doctest: +SKIP
            ...     for word in stream.push(samples):
            ...         print(word.word, word.start_s)

        Args:
            block_s: seconds of sound per block. Smaller blocks have lower latency and need more
                time.
        """
        return TimedWordStream(self, block_s)

    def listen(self, waveform: Tensor) -> list[Word]:
        """Return all words of a waveform, including those below the threshold.

        Args:
            waveform: (samples,) or (1, samples) at 8 kHz.

        Returns:
            Words with window positions and calibrated confidences.
        """
        stream = self.stream_words()
        return [*map(self.calibrate, [*stream.push(waveform.reshape(-1)), *stream.finish()])]

    def stream_words(self, block_s: float = BLOCK_S) -> WordStream:
        """Start to recognise a recording; the words have positions and uncalibrated scores."""
        return WordStream(self.model, self.extract, block_s, self.calibration.decoding)

    def calibrate(self, word: Word) -> Word:
        """Return a copy of a decoded word with a calibrated confidence."""
        return replace(word, confidence=self.calibration.confidence(word.confidence))

    def decode(self, waveform: Tensor) -> list[Word]:
        """Return the accepted words of a (samples,) or (1, samples) waveform at 8 kHz."""
        return [word for word in self.listen(waveform) if self.accepts(word)]

    def accepts(self, word: Word) -> bool:
        """Return whether the confidence of a word reaches the threshold."""
        return word.confidence >= self.min_confidence

    def transcribe(self, waveform: Tensor) -> list[TimedWord]:
        """Return the accepted words of a (samples,) or (1, samples) waveform, with times."""
        stream = self.stream()
        return [*stream.push(waveform.reshape(-1)), *stream.finish()]


class TimedWordStream:
    """Words of a recording whose samples arrive in pieces; see :meth:`Recognizer.stream`."""

    def __init__(self, recognizer: Recognizer, block_s: float) -> None:
        self._recognizer = recognizer
        self._words = recognizer.stream_words(block_s)

    @property
    def length_s(self) -> float:
        """Length of the recording so far, in seconds."""
        return self._words.num_samples / SAMPLE_RATE

    def push(self, samples: Tensor) -> list[TimedWord]:
        """Add (samples,) at 8 kHz and return the words that are complete."""
        return self._timed(self._words.push(samples))

    def finish(self) -> list[TimedWord]:
        """Return the remaining words at the end of the recording."""
        return self._timed(self._words.finish())

    def _timed(self, words: Iterable[Word]) -> list[TimedWord]:
        calibrated = map(self._recognizer.calibrate, words)
        accepted = filter(self._recognizer.accepts, calibrated)
        return [self._add_times(word) for word in accepted]

    def _add_times(self, word: Word) -> TimedWord:
        middle_s = position_time_s((word.first + word.last) / 2)
        return TimedWord(
            self._recognizer.vocabulary[word.label],
            round(min(max(0.0, middle_s - _HALF_WORD_S), self.length_s), 3),
            round(min(max(0.0, middle_s + _HALF_WORD_S), self.length_s), 3),
            round(word.confidence, 4),
        )


def read_vocabulary(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the words of a checkpoint; those of older versions have YESNO's.

    Raises:
        InputError: there are no words, or a word twice.
    """
    words = tuple(checkpoint.corpus.get("vocabulary", " ".join(YESNO_WORDS)).split())
    if not words or len({*words}) < len(words):
        raise InputError("the checkpoint's vocabulary is damaged; use another checkpoint")
    return words


def find_split(checkpoint: Checkpoint, corpus: "Corpus") -> str:
    """Return how the parts of a corpus are found: ``column``, ``position`` or ``speaker``.

    A corpus of the training is split as there. The column ``split`` of another one counts in any
    case: it says which of its recordings are for tests.
    """
    by = as_speech(checkpoint.config).split_by
    is_other = corpus.fingerprint != checkpoint.corpus.get("fingerprint")
    if corpus.parts and (by == "auto" or is_other):
        return "column"
    return "position" if by == "auto" else by


def select_part(checkpoint: Checkpoint, corpus: "Corpus", part: str) -> Sequence[int]:
    """Return the indices of the recordings in a part of a corpus.

    Args:
        checkpoint: determines the split, see :func:`find_split`.
        corpus: the corpus.
        part: ``train``, ``valid``, ``test`` or ``all``.

    Raises:
        InputError: the corpus does not name the part and cannot be split.
    """
    if part == "all":
        return range(len(corpus))
    config = as_speech(checkpoint.config)
    by = find_split(checkpoint, corpus)
    parts = corpus.parts if by == "column" else ()
    # A corpus may be for tests alone. Without a part valid, that is drawn from the part train.
    if part in parts and (part != "train" or "valid" in parts):
        return [n for n, named in enumerate(parts) if named == part]
    try:
        options = split_options(config) | {"split_by": by}
        split = split_corpus(corpus, seed=config.seed, **options)
    except InputError as error:
        raise InputError(f"{error}; `evaluate --split all` uses all recordings") from error
    return {"train": split.train, "valid": split.valid, "test": split.test}[part]
