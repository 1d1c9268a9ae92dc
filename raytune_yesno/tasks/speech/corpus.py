"""A corpus: recordings whose names are their transcripts, `0_1_1` for no, yes, yes.

There are no word boundaries. :mod:`raytune_yesno.tasks.speech.load` says where corpora come from.
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
    """Hold recordings and their words; items are those of `torchaudio.datasets.YESNO`.

    The samples lie in one read-only array, so that a pickled corpus is one buffer that processes
    on a machine can share.
    """

    names: tuple[str, ...]  # file names without suffix, sorted
    samples: npt.NDArray[np.float32]  # all recordings end to end, in [-1, 1]
    offsets: npt.NDArray[np.int64]  # recording n is samples[offsets[n]:offsets[n + 1]]
    labels: tuple[tuple[int, ...], ...]  # 1 yes, 0 no
    sample_rate: int
    source: str  # where it came from, for people
    fingerprint: str  # of names, labels and samples: 16 hexadecimal digits
    notes: tuple[str, ...] = ()  # what was done to make the recordings usable

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int, list[int]]:
        """Return a waveform of shape (1, samples), the sample rate and the words."""
        return torch.tensor(self.waveform(n))[None], self.sample_rate, list(self.labels[n])

    @property
    def num_words(self) -> int:
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
    """Make a corpus of waveforms at 8 kHz, each under the name that spells its words."""
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
    """Return the words that a file name without suffix spells, 1 for yes and 0 for no.

    Raise ValueError where it spells none.
    """
    if not re.fullmatch(r"[01](_[01])*", name):
        raise ValueError("its name must be its words, 0 (no) and 1 (yes), joined by underscores")
    return tuple(int(word) for word in name.split("_"))


@dataclass(frozen=True)
class Split:
    """Hold the positions of a corpus's recordings in three parts that share none."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


def split_corpus(corpus: Corpus | int, *, seed: int, swap_halves: bool = False) -> Split:
    """Split a corpus (or as many recordings) into halves, and the first into train and valid.

    As lhotse and icefall split YESNO: of the sorted names the even positions are for training and
    the odd ones for the test; `swap_halves` exchanges the two. A fifth of the training half, at
    least one recording, becomes the validation part: those whose hashed position and seed come
    first, which is the same everywhere. Raise InputError where a part would be empty.
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
