"""The samples of a large corpus in a file, of which each process reads the recordings it uses.

The recordings of a folder are decoded once, into the user's cache. The kernel keeps of the file
what fits, so a corpus may be larger than the memory. Examples are the same as those of a corpus in
memory. The file is read, not mapped: in 2 GB of memory, a recording of 6 s took 0.6 ms, and 10 ms
through a mapping, of which the kernel fetches few pages at a time.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raytune_yesno.errors import InputError
from raytune_yesno.files.atomic import replace_file, replace_folder
from raytune_yesno.home import cache_folder
from raytune_yesno.tasks.speech.layouts import ListedRecording, Problem
from raytune_yesno.tasks.speech.recording import Recording
from raytune_yesno.tasks.speech.resampler import Samples

MIN_BYTES = 500_000_000
"""Size of a folder's recordings from which their samples are stored: 8 h at 8 kHz and 16 bit.

Compressed recordings count as WAV files of about their length.
"""

_EXPANSION = {".flac": 2}  # bytes of a WAV file for each; the others are of speech, 24 kbit/s
_EXPANSION |= dict.fromkeys((".opus", ".ogg", ".oga", ".mp3", ".mp2", ".mpga"), 8)
_STALE_S = 86_400  # a decoding that runs writes all the time
_FORMAT = 3  # of the files; another way of decoding or checking needs another number
_SAMPLES, _INDEX, _FINGERPRINT = "samples.f32", "index.json", "fingerprint"


@dataclass(frozen=True)
class StoredSamples:
    """Samples in a file. Pickled, it is the file's path.

    Attributes:
        file: the file, float32.
        count: number of samples.
    """

    file: str
    count: int

    def __getitem__(self, part: slice) -> Samples:
        """Read some samples into an array that is read-only, as that of a corpus in memory.

        Raises:
            InputError: the file is not on this machine, or has changed.
        """
        start, stop, _ = part.indices(self.count)
        samples = np.empty(stop - start, np.float32)
        try:
            with open(self.file, "rb", buffering=0) as file:
                whole = file.seek(0, os.SEEK_END) == samples.itemsize * self.count
                file.seek(samples.itemsize * start)
                if whole and file.readinto(samples.data) == samples.nbytes:
                    samples.flags.writeable = False
                    return samples
            why = "it has changed"
        except OSError as error:
            why = error.strerror or str(error)
        raise InputError(
            f"{self.file}: the samples of the corpus cannot be read ({why}); on a cluster, set "
            "XDG_CACHE_HOME to a folder that all nodes share"
        )


class StoredRecording(NamedTuple):
    """What is known of a recording without reading it.

    Attributes:
        length: number of samples.
        file_rate_hz, num_channels: those of the file, see :class:`Recording`.
    """

    length: int
    file_rate_hz: int
    num_channels: int


@dataclass(frozen=True)
class Stored:
    """The decoded recordings of a folder.

    Attributes:
        samples: the samples of all recordings, end to end, in the order of their names.
        recordings: the good recordings by name, in this order.
        problems: what is wrong with the others.
        fingerprint: that of the corpus; empty if it is not known yet.
    """

    samples: StoredSamples
    recordings: dict[str, StoredRecording]
    problems: list[Problem]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.recordings)


class Store:
    """Decoded recordings in the user's cache, by a digest of their files' names, sizes and times.

    Args:
        entries: the recordings, and what is known of them.
    """

    def __init__(self, entries: Sequence[ListedRecording]) -> None:
        digest, self.num_bytes = hashlib.sha256(repr(_FORMAT).encode()), 0
        self._wav_bytes = 0
        for entry in entries:
            size = modified_ns = -1  # a missing file is a problem for the reader, and is stored
            with contextlib.suppress(OSError):
                about = entry.file.stat()
                size, modified_ns = about.st_size, about.st_mtime_ns
                self.num_bytes += size
                self._wav_bytes += size * _EXPANSION.get(entry.file.suffix.lower(), 1)
            digest.update(repr((entry, size, modified_ns)).encode())
        self.folder = cache_folder() / "corpora" / digest.hexdigest()[:16]
        self._files = {entry.shown: entry.file for entry in entries}

    @property
    def is_needed(self) -> bool:
        """Whether the recordings are too large for the memory of every process."""
        return self._wav_bytes >= MIN_BYTES

    def read(self, *, retry: bool = True) -> Stored | None:
        """Return the recordings; None if they were not decoded yet.

        Args:
            retry: whether they count as not decoded if a file could not be read, by an error of a
                disk or a network, and now can.
        """
        try:
            index = json.loads((self.folder / _INDEX).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):
            index["fingerprint"] = (self.folder / _FINGERPRINT).read_text("utf-8")
        samples = StoredSamples(str(self.folder / _SAMPLES), index["count"])
        recordings = {name: StoredRecording(*about) for name, *about in index["recordings"]}
        problems = [Problem(*problem) for problem in index["problems"]]
        if retry and any(problem.may_pass and self._reads(problem.name) for problem in problems):
            return None
        return Stored(samples, recordings, problems, index.get("fingerprint", ""))

    def _reads(self, shown: str) -> bool:
        try:
            self._files[shown].read_bytes()
        except OSError:
            return False
        return True

    def write(
        self, recordings: Iterable[tuple[str, Recording]], problems: Sequence[Problem]
    ) -> None:
        """Store recordings, one after another.

        Args:
            recordings: names and recordings, in the order of the names.
            problems: may grow while ``recordings`` are read.

        Raises:
            InputError: the cache cannot be written.
        """
        rows = list[tuple[str, int, int, int]]()
        _remove_stale(self.folder.parent)
        try:
            with replace_folder(self.folder) as folder:
                with (folder / _SAMPLES).open("wb") as file:
                    for name, (waveform, rate_hz, num_channels, _) in recordings:
                        file.write(waveform.astype("<f4", copy=False).tobytes())
                        rows.append((name, len(waveform), rate_hz, num_channels))
                index = {
                    "count": sum(length for _, length, _, _ in rows),
                    "recordings": rows,
                    "problems": [dataclasses.astuple(problem) for problem in problems],
                }
                (folder / _INDEX).write_text(json.dumps(index), "utf-8")
        except OSError as error:
            raise InputError(
                f"{self.folder}: the decoded corpus cannot be written there: {error.strerror}; set "
                "XDG_CACHE_HOME to a folder with room"
            ) from error

    def remember(self, fingerprint: str) -> None:
        """Store the fingerprint of the corpus, which takes as long as reading all samples."""
        with contextlib.suppress(OSError), replace_file(self.folder / _FINGERPRINT) as file:
            file.write_text(fingerprint, "utf-8")


def _remove_stale(corpora: Path) -> None:
    """Remove the unfinished folders of decodings that were killed."""
    for left in corpora.glob(".*-*"):
        with contextlib.suppress(OSError):
            written = max(path.stat().st_mtime for path in (left, *left.iterdir()))
            if written < time.time() - _STALE_S:
                shutil.rmtree(left)
