"""The samples of a large corpus in a file, which the processes of a machine map into their memory.

The recordings of a folder are decoded once, into the user's cache. The kernel drops pages of the
file that are not in use, so a corpus may be larger than the memory. Examples are the same as those
of a corpus in memory.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from raytune_yesno.errors import InputError
from raytune_yesno.files.folders import replace_file, replace_folder
from raytune_yesno.home import cache_folder
from raytune_yesno.tasks.speech.layouts import Entry, Problem
from raytune_yesno.tasks.speech.recording import Recording
from raytune_yesno.tasks.speech.resampler import Samples

MIN_BYTES = 500_000_000
"""Size of a folder's recordings from which their samples are stored: 8 h at 8 kHz and 16 bit."""

_FORMAT = 1  # of the files; another way of decoding needs another number
_SAMPLES, _INDEX, _FINGERPRINT = "samples.f32", "index.json", "fingerprint"


@dataclass(frozen=True)
class StoredSamples:
    """Samples in a file. Pickled, it is the file's path; the file is mapped when it is first read.

    Attributes:
        file: the file, float32.
        count: number of samples.
    """

    file: str
    count: int

    def __getitem__(self, part: slice) -> Samples:
        """Return a read-only view of some samples.

        Raises:
            InputError: the file is not on this machine, or has changed.
        """
        return self._samples[part]

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "count": self.count}

    @cached_property
    def _samples(self) -> Samples:
        try:
            mapped = np.asarray(np.memmap(self.file, np.float32, "r"))
            if len(mapped) == self.count:
                return mapped
            why = "it has changed"
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{self.file}: the samples of the corpus cannot be read ({why}); on a cluster, set "
            "XDG_CACHE_HOME to a folder that all nodes share"
        )


@dataclass(frozen=True)
class Stored:
    """The decoded recordings of a folder.

    Attributes:
        samples: the samples of all recordings, end to end, in the order of their names.
        recordings: the good recordings by name.
        problems: what is wrong with the others.
        fingerprint: that of the corpus; empty if it is not known yet.
    """

    samples: StoredSamples
    recordings: dict[str, Recording]
    problems: list[Problem]
    fingerprint: str


class Store:
    """Decoded recordings in the user's cache, by a digest of their files' names, sizes and times.

    Args:
        entries: the recordings, and what is known of them.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        digest, self.num_bytes = hashlib.sha256(repr(_FORMAT).encode()), 0
        for entry in entries:
            with contextlib.suppress(OSError):  # a missing file is a problem for the reader
                about = entry.file.stat()
                digest.update(repr((entry, about.st_size, about.st_mtime_ns)).encode())
                self.num_bytes += about.st_size
        self.folder = cache_folder() / "corpora" / digest.hexdigest()[:16]

    @property
    def is_needed(self) -> bool:
        """Whether the recordings are too large for the memory of every process."""
        return self.num_bytes >= MIN_BYTES

    def read(self) -> Stored | None:
        """Return the recordings; None if they were not decoded yet."""
        try:
            index = json.loads((self.folder / _INDEX).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):
            index["fingerprint"] = (self.folder / _FINGERPRINT).read_text("utf-8")
        samples = StoredSamples(str(self.folder / _SAMPLES), index["count"])
        recordings, begin = {}, 0
        for name, length, rate_hz, num_channels in index["recordings"]:
            waveform = samples[begin : begin + length]
            recordings[name] = Recording(waveform, rate_hz, num_channels, silent=False)
            begin += length
        problems = [Problem(*problem) for problem in index["problems"]]
        return Stored(samples, recordings, problems, index.get("fingerprint", ""))

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
        try:
            with replace_folder(self.folder) as folder:
                with (folder / _SAMPLES).open("wb") as file:
                    for name, (waveform, rate_hz, num_channels, _) in recordings:
                        file.write(waveform.astype("<f4", copy=False).tobytes())
                        rows.append((name, len(waveform), rate_hz, num_channels))
                index = {
                    "count": sum(length for _, length, _, _ in rows),
                    "recordings": rows,
                    "problems": [(problem.name, problem.what) for problem in problems],
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
