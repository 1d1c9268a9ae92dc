"""A corpus: recordings, and the words that are spoken in them.

A transcript has no word boundaries. :mod:`raytune_yesno.tasks.speech.layouts` finds the words of a
folder of recordings, :mod:`raytune_yesno.tasks.speech.load` lists the sources.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from raytune_yesno.tasks.speech.transcript import YESNO_WORDS, Transcript, list_words, parse_name

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.stored_samples import StoredSamples

SHORT_S = 1.6


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
