"""A corpus: recordings whose names are their transcripts, ``0_1_1`` for no, yes, yes.

A transcript has no word boundaries. :mod:`raytune_yesno.tasks.speech.load` lists the sources.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.recording import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Corpus(Dataset[tuple[torch.Tensor, int, list[int]]]):
    """Recordings and their words, with the items of ``torchaudio.datasets.YESNO``.

    All samples are in one read-only array, so that a pickled corpus is one buffer that the
    processes of a node can share.

    Attributes:
        names: file names without suffix, sorted.
        samples: all recordings end to end, in [-1, 1].
        offsets: recording n is ``samples[offsets[n]:offsets[n + 1]]``.
        labels: words of each recording: 1 yes, 0 no.
        sample_rate: Hz.
        source: where the recordings were read from, for people.
        fingerprint: digest of names, labels and samples, 16 hexadecimal digits.
        notes: changes that made the recordings usable, for people.
    """

    names: tuple[str, ...]
    samples: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    labels: tuple[tuple[int, ...], ...]
    sample_rate: int
    source: str
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int, list[int]]:
        """Return a waveform of shape (1, samples), the sample rate and the words."""
        return torch.tensor(self.waveform(n))[None], self.sample_rate, list(self.labels[n])

    @property
    def num_words(self) -> int:
        """Number of words in all recordings."""
        return sum(map(len, self.labels))

    def waveform(self, n: int) -> npt.NDArray[np.float32]:
        """Return recording n as a read-only view of shape (samples,)."""
        if not -len(self) <= n < len(self):
            raise IndexError(f"recording {n} of {len(self)}")
        n %= len(self)
        return self.samples[self.offsets[n] : self.offsets[n + 1]]


def build_corpus(
    waveforms: Mapping[str, npt.NDArray[np.float32]], *, source: str, notes: tuple[str, ...] = ()
) -> Corpus:
    """Build a corpus.

    Args:
        waveforms: (samples,) waveforms at 8 kHz by name; a name spells the words.
        source: where the recordings were read from, for people.
        notes: changes that made the recordings usable, for people.

    Raises:
        ValueError: a name spells no words.
    """
    names = tuple(sorted(waveforms))
    labels = tuple(parse_labels(name) for name in names)
    digest = hashlib.sha256()
    for name, words in zip(names, labels, strict=True):
        digest.update(f"{name} {words} {len(waveforms[name])}\n".encode())
        digest.update(waveforms[name].astype("<f4").tobytes())
    samples = np.concatenate([waveforms[name] for name in names]).astype(np.float32, copy=False)
    samples.flags.writeable = False
    offsets = np.cumsum([0, *(len(waveforms[name]) for name in names)], dtype=np.int64)
    fingerprint = digest.hexdigest()[:16]
    return Corpus(names, samples, offsets, labels, SAMPLE_RATE, source, fingerprint, notes)


def parse_labels(name: str) -> tuple[int, ...]:
    """Return the words that a file name without suffix spells: 1 yes, 0 no.

    Raises:
        ValueError: the name spells no words.
    """
    if not re.fullmatch(r"[01](_[01])*", name):
        raise ValueError("its name must be its words, 0 (no) and 1 (yes), joined by underscores")
    return tuple(int(word) for word in name.split("_"))


@dataclass(frozen=True)
class Split:
    """Indices of the recordings in three disjoint parts of a corpus."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


def split_corpus(corpus: Corpus | int, *, seed: int, swap_halves: bool = False) -> Split:
    """Split a corpus into training, validation and test parts.

    As in lhotse and icefall, the recordings with an even index in the sorted names are for
    training and those with an odd one for the test. A fifth of the training half, at least one
    recording, becomes the validation part. It is chosen by hashes of seed and index, which are the
    same on every machine.

    Args:
        corpus: the corpus, or its number of recordings.
        seed: seed for the choice of the validation part.
        swap_halves: train on the odd half and test on the even one.

    Raises:
        InputError: a part would be empty.
    """
    size = corpus if isinstance(corpus, int) else len(corpus)
    halves = tuple(range(0, size, 2)), tuple(range(1, size, 2))
    learn, test = reversed(halves) if swap_halves else halves
    shuffled = sorted(learn, key=lambda n: hashlib.sha256(f"{seed} {n}".encode()).digest())
    num_valid = max(1, len(learn) // 5)
    train, valid = sorted(shuffled[num_valid:]), sorted(shuffled[:num_valid])
    if not (train and valid and test):
        raise InputError(f"too few recordings for training, validation and test parts: {size}")
    return Split(tuple(train), tuple(valid), test)
