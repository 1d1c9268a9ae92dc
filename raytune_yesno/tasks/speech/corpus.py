"""A corpus: recordings, the words that are spoken in them, and how it is split.

A transcript has no word boundaries. :mod:`raytune_yesno.tasks.speech.layouts` finds the words of a
folder of recordings, :mod:`raytune_yesno.tasks.speech.load` lists the sources.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from raytune_yesno.text import join_names, list_some

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.stored_samples import StoredSamples

_MAX_SHOWN = 8

YESNO_WORDS = ("no", "yes")
"""Vocabulary of YESNO, whose file names spell them 0 and 1."""
SHORT_S = 1.6
PARTS = ("train", "valid", "test")
MAX_VALIDATION = 250
"""Maximum number of validation recordings: a larger part costs time and decides nothing more."""
SPEAKERS_TO_VALIDATE = 4
"""With as many training speakers, the validation part has speakers of its own."""


@dataclass(frozen=True)
class Transcript:
    """What is known of a recording: its words, its speaker and its part, empty if unknown.

    The name of the speaker is brought to one form of Unicode, NFC.
    """

    words: tuple[str, ...]
    speaker: str = ""
    part: str = ""

    def __post_init__(self) -> None:
        """Normalise the speaker: one in two forms would be in two parts of a split."""
        object.__setattr__(self, "speaker", _normalise(self.speaker))


def _normalise(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


@dataclass(frozen=True, eq=False)
class Corpus(Dataset[tuple[torch.Tensor, int, list[int]]]):
    """Recordings and their words, with the items of ``torchaudio.datasets.YESNO``.

    All samples are in one read-only array, so that a pickled corpus is one buffer that the
    processes of a node can share. Those of a large corpus are in a file instead, of which they read
    the recordings that they use.

    Attributes:
        names: file names without suffix, relative to the folder, sorted.
        samples: all recordings end to end, in [-1, 1]; of a large corpus, in a file.
        offsets: recording n is ``samples[offsets[n]:offsets[n + 1]]``.
        labels: words of each recording, as indices into ``vocabulary``.
        sample_rate: Hz.
        source: where the recordings were read from, for people.
        fingerprint: digest of names, labels and samples, and of vocabulary, speakers and parts
            unless they are those of YESNO; 16 hexadecimal digits.
        notes: changes that made the recordings usable, for people.
        vocabulary: the words; for YESNO 0 is no and 1 is yes.
        speakers: speaker of each recording, or nothing if no speaker is known.
        parts: part of each recording, or nothing if the corpus does not split itself.
        layout: how the words were found, for people.
    """

    names: tuple[str, ...]
    samples: "npt.NDArray[np.float32] | StoredSamples"
    offsets: npt.NDArray[np.int64]
    labels: tuple[tuple[int, ...], ...]
    sample_rate: int
    source: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = YESNO_WORDS
    speakers: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    layout: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int, list[int]]:
        """Return a waveform of shape (1, samples), the sample rate and the words."""
        return torch.tensor(self.waveform(n))[None], self.sample_rate, list(self.labels[n])

    @property
    def recorded(self) -> dict[str, str]:
        """Texts that checkpoints and studies record with the source and the fingerprint."""
        short = {"short": "yes"} if self.is_short else {}
        return {"vocabulary": " ".join(self.vocabulary), **short}

    @property
    def is_short(self) -> bool:
        """Whether most recordings are too short to contain a pause: under 1.6 s."""
        return bool(np.median(np.diff(self.offsets)) < SHORT_S * self.sample_rate)

    @property
    def spoken(self) -> list[str]:
        """Words of the vocabulary that occur: a corpus of *yes* alone has YESNO's vocabulary."""
        labels = {label for words in self.labels for label in words}
        return [word for label, word in enumerate(self.vocabulary) if label in labels]

    @property
    def num_words(self) -> int:
        """Number of words in all recordings."""
        return sum(map(len, self.labels))

    def waveform(self, n: int) -> npt.NDArray[np.float32]:
        """Return recording n, read-only, of shape (samples,); of a large corpus, it is read now.

        Raises:
            InputError: the file of a large corpus is not on this machine, or has changed.
        """
        if not -len(self) <= n < len(self):
            raise IndexError(f"recording {n} of {len(self)}")
        n %= len(self)
        return self.samples[self.offsets[n] : self.offsets[n + 1]]

    def words_of(self, n: int) -> str:
        """Return the words of recording n as text."""
        return " ".join(self.vocabulary[label] for label in self.labels[n])

    def relabel(self, vocabulary: Sequence[str]) -> "Corpus":
        """Return the corpus with indices into another vocabulary.

        Raises:
            InputError: the corpus has words that the vocabulary lacks.
        """
        if tuple(vocabulary) == self.vocabulary:
            return self
        if unknown := [word for word in self.spoken if word not in vocabulary]:
            raise InputError(
                f"{one_line(self.source)}: the checkpoint does not know {list_words(unknown)}; "
                "give a corpus with the words of its training"
            )
        index = {word: label for label, word in enumerate(vocabulary)}
        labels = tuple(
            tuple(index[self.vocabulary[label]] for label in words) for words in self.labels
        )
        return replace(self, labels=labels, vocabulary=tuple(vocabulary))


def list_words(words: Iterable[str]) -> str:
    """Return the first words of a list as quoted text, and the number of the others."""
    return one_line(list_some(map(repr, words), _MAX_SHOWN))


def build_corpus(
    waveforms: Mapping[str, npt.NDArray[np.float32]],
    transcripts: Mapping[str, Transcript] | None = None,
    *,
    source: str,
    notes: tuple[str, ...] = (),
    layout: str = "",
) -> Corpus:
    """Build a corpus of waveforms, whose samples it copies.

    Args:
        waveforms: (samples,) waveforms at 8 kHz by name.
        transcripts: what is known of each recording; None if the names spell YESNO's words.
        source: where the recordings were read from, for people.
        notes: changes that made the recordings usable, for people.
        layout: how the words were found, for people.

    Raises:
        ValueError: there are no transcripts, and a name spells no words.
    """
    ordered = [waveforms[name] for name in sorted(waveforms)]
    samples = np.concatenate(ordered).astype(np.float32, copy=False)
    samples.flags.writeable = False
    lengths = {name: len(waveforms[name]) for name in sorted(waveforms)}
    return assemble(lengths, samples, transcripts, source=source, notes=notes, layout=layout)


def assemble(
    lengths: Mapping[str, int],
    samples: "npt.NDArray[np.float32] | StoredSamples",
    transcripts: Mapping[str, Transcript] | None = None,
    *,
    source: str,
    notes: tuple[str, ...] = (),
    layout: str = "",
    fingerprint: str = "",
) -> Corpus:
    """Build a corpus of samples that lie end to end; see :func:`build_corpus`.

    Args:
        lengths: number of samples of each recording by name, in the order of the names.
        samples: all recordings.
        transcripts: as of :func:`build_corpus`.
        source: as of :func:`build_corpus`.
        notes: as of :func:`build_corpus`.
        layout: as of :func:`build_corpus`.
        fingerprint: the fingerprint, if it is known.

    Raises:
        ValueError: there are no transcripts, and a name spells no words.
    """
    names = tuple(lengths)
    offsets = np.cumsum([0, *lengths.values()], dtype=np.int64)
    if transcripts is None:
        transcripts = {name: parse_name(name) for name in names}
    known = [transcripts[name] for name in names]
    vocabulary = tuple(sorted({word for about in known for word in about.words}))
    if set(vocabulary) <= set(YESNO_WORDS):
        vocabulary = YESNO_WORDS
    index = {word: label for label, word in enumerate(vocabulary)}
    labels = tuple(tuple(index[word] for word in about.words) for about in known)
    speakers = tuple(about.speaker for about in known)
    parts = tuple(about.part for about in known)
    speakers, parts = (column if any(column) else () for column in (speakers, parts))
    if not fingerprint:
        digest = hashlib.sha256()
        for n, (name, words) in enumerate(zip(names, labels, strict=True)):
            digest.update(f"{name} {words} {lengths[name]}\n".encode())
            digest.update(samples[offsets[n] : offsets[n + 1]].astype("<f4").tobytes())
        if (vocabulary, speakers, parts) != (YESNO_WORDS, (), ()):
            digest.update(repr((vocabulary, speakers, parts)).encode())
        fingerprint = digest.hexdigest()[:16]
    return Corpus(
        names,
        samples,
        offsets,
        labels,
        SAMPLE_RATE,
        source,
        fingerprint,
        notes,
        vocabulary,
        speakers,
        parts,
        layout,
    )


def parse_name(name: str) -> Transcript:
    """Return what a YESNO name without suffix spells, such as ``0_1_1`` or ``0_1_1-anna-2``.

    Raises:
        ValueError: the name spells no words.
    """
    *folders, stem = name.split("/")
    spelled, _, rest = stem.partition("-")
    about = [text for text in rest.split("-") if not re.fullmatch("[0-9]*", text)]
    words = tuple(YESNO_WORDS[label] for label in parse_labels(spelled))
    return Transcript(words, (about or folders[-1:] or [""])[0])


def parse_labels(name: str) -> tuple[int, ...]:
    """Return the words that a file name without suffix spells: 1 yes, 0 no.

    Raises:
        ValueError: the name spells no words.
    """
    if not re.fullmatch(r"[01](_[01])*", name):
        raise ValueError(
            "its name must be its words, 0 (no) and 1 (yes), joined by underscores; a speaker or "
            "take may follow a hyphen"
        )
    return tuple(int(word) for word in name.split("_"))


@dataclass(frozen=True)
class Split:
    """Indices of the recordings in three disjoint parts of a corpus."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


def split_corpus(
    corpus: Corpus | int,
    *,
    seed: int,
    swap_halves: bool = False,
    split_by: str = "auto",
    test_speakers: str = "",
    folds: int = 0,
) -> Split:
    """Split a corpus into training, validation and test parts.

    ``position``: as in lhotse and icefall, the recordings with an even index in the sorted names
    are for training and those with an odd one for the test. ``column``: the corpus names the part
    of each recording. ``speaker``: the test part has speakers of its own. ``auto``: by column if
    the corpus has one, else by position.

    Where the corpus names no validation part, it is a fifth of the training part, at least one
    recording and at most :data:`MAX_VALIDATION`. It is chosen by hashes of seed and index, which
    are the same on every machine. With ``speaker`` and at least :data:`SPEAKERS_TO_VALIDATE`
    training speakers, it is a fifth of these speakers. Recordings without a speaker are then for
    training.

    With ``folds``, it is instead fold ``seed % folds`` of a fixed division into that many folds, of
    speakers with ``speaker``, else of recordings. Repeats of a point have other seeds, and
    consecutive ones all folds in turn.

    Args:
        corpus: the corpus, or its number of recordings.
        seed: seed for the choice of the validation part.
        swap_halves: by position, train on the odd half and test on the even one.
        split_by: ``auto``, ``position``, ``column`` or ``speaker``.
        test_speakers: by speaker, the names of the test part's speakers, joined by commas; empty
            for a fifth of the speakers.
        folds: number of cross-validation folds; below 2 for a part that the seed draws.

    Raises:
        InputError: a part would be empty, folds are asked for but the corpus names its validation
            part or has fewer speakers, or the corpus does not know what to split by.
    """
    folds = folds if folds > 1 else 0
    size = corpus if isinstance(corpus, int) else len(corpus)
    parts = () if isinstance(corpus, int) else corpus.parts
    speakers = () if isinstance(corpus, int) else corpus.speakers
    valid: Sequence[int] = ()
    if split_by == "speaker":
        learn, test = _split_speakers(speakers, test_speakers)
        names = sorted({speakers[n] for n in learn} - {""})
        if folds:
            if len(names) < folds:
                raise InputError(
                    f"folds: {folds} folds need as many speakers to train on, not {len(names)}"
                )
            chosen = _choose_fold(names, folds, seed)
            valid = [n for n in learn if speakers[n] in chosen]
        elif len(names) >= SPEAKERS_TO_VALIDATE:
            chosen = _shuffle(names, seed)[: len(names) // 5 or 1]
            valid = [n for n in learn if speakers[n] in chosen]
    elif split_by == "column" or (split_by == "auto" and parts):
        if not parts:
            raise InputError("split_by=column: the corpus has no column 'split'; add it")
        learn, valid, test = ([n for n in range(size) if parts[n] == part] for part in PARTS)
    else:
        learn, test = list(range(0, size, 2)), list(range(1, size, 2))
        learn, test = (test, learn) if swap_halves else (learn, test)
    if valid and folds and split_by != "speaker":
        raise InputError("folds: the corpus names its validation part; omit folds")
    if not valid and folds:
        valid = _choose_fold(learn, folds, seed)
    elif not valid:
        valid = _shuffle(learn, seed)[: min(MAX_VALIDATION, max(1, len(learn) // 5))]
    held_out = {*valid}
    train = [n for n in learn if n not in held_out]
    named = zip(PARTS, (train, valid, test), strict=True)
    if empty := [part for part, chosen in named if not chosen]:
        raise InputError(
            f"too few recordings: none of {size} is left for {join_names(empty)}; record more, or "
            "change the split (split_by, test_speakers, the column split)"
        )
    return Split(tuple(train), tuple(sorted(valid)), tuple(test))


def _choose_fold(items: Sequence[Any], folds: int, seed: int) -> list[Any]:
    """Return the items of fold ``seed % folds``. The folds depend only on the items."""
    return _shuffle(items, "folds")[seed % folds :: folds]


def _split_speakers(speakers: Sequence[str], chosen: str) -> tuple[list[int], list[int]]:
    """Return the recordings of the other speakers and those of the speakers of the test."""
    names = sorted({*speakers} - {""})
    if len(names) < 2:
        raise InputError(
            f"split_by=speaker: the corpus names {len(names)} speakers; name two or more, as "
            "folders in the folders of words (yes/anna/1.wav), in a column 'speaker' of "
            "transcripts.tsv, or in YESNO's names (0_1-anna.wav, anna/0_1.wav)"
        )
    tested = [name for name in map(_normalise, chosen.split(",")) if name]
    if unknown := sorted({*tested} - {*names}):
        raise InputError(
            f"test_speakers: the corpus has no speaker {list_words(unknown)}; it has "
            f"{list_words(names)}"
        )
    tested = tested or _shuffle(names, "test")[: len(names) // 5 or 1]
    test = [n for n, speaker in enumerate(speakers) if speaker in tested]
    return [n for n, speaker in enumerate(speakers) if speaker not in tested], test


def _shuffle(items: Sequence[Any], seed: int | str) -> list[Any]:
    """Return items in the order of hashes of seed and item."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item}".encode()).digest())
