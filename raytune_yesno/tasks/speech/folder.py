"""Read and check a folder of recordings. All problems are reported at once, by file name."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.home import expand_home
from raytune_yesno.tasks.speech.corpus import Corpus, assemble, build_corpus
from raytune_yesno.tasks.speech.features import count_positions, needed_positions
from raytune_yesno.tasks.speech.layouts import (
    LAYOUTS,
    ListedRecording,
    Listing,
    Problem,
    list_recordings,
)
from raytune_yesno.tasks.speech.recording import Recording, decode
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from raytune_yesno.tasks.speech.settings import MAX_SPEED_CHANGE
from raytune_yesno.tasks.speech.stored_samples import Store, Stored, StoredRecording
from raytune_yesno.text import plural

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes so far and the total, None if unknown."""

FOLDER = "waves_yesno"  # its name in the published archive and in torchaudio
LEAST_WORD_S = 0.12  # shorter than any spoken word; YESNO's take 0.6 s with their pauses
MAX_WORDS = 1000  # words of a vocabulary


def read_folder(folder: str | Path, *, skip_bad: bool = False) -> Corpus:
    """Read a folder of recordings.

    Args:
        folder: contains recordings, or a folder ``waves_yesno`` with them.
        skip_bad: leave bad recordings out, with a note, instead of raising.

    Raises:
        InputError: recordings are bad, one line for each, or there are none.
    """
    return accept(str(folder), *check_folder(folder), skip_bad=skip_bad)


def accept(
    name: str, corpus: Corpus | None, problems: Sequence[Problem], *, skip_bad: bool
) -> Corpus:
    """Return a checked corpus, with a note on the bad recordings that are left out.

    Raises:
        InputError: recordings are bad and ``skip_bad`` is false, or there are none.
    """
    if corpus is None or (problems and not skip_bad):
        raise InputError(f"{name} cannot be used as a corpus:", *map(str, problems))
    if not problems:
        return corpus
    bad = ", ".join(problem.name for problem in problems)
    note = one_line(f"left out {plural(len(problems), 'bad recording')}: {bad}")
    return replace(corpus, notes=(*corpus.notes, note))


def check_folder(
    folder: str | Path, progress: Progress | None = None
) -> tuple[Corpus | None, list[Problem]]:
    """Read the good recordings of a folder and list all problems.

    Args:
        folder: recordings in one of the layouts of :mod:`raytune_yesno.tasks.speech.layouts`.
        progress: called while a large corpus is decoded for the first time, which takes minutes.

    Returns:
        The corpus, None if no recording is good, and the problems.
    """
    folder = expand_home(folder)
    try:
        folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
        listing = list_recordings(folder)
    except OSError as error:
        return None, [Problem(str(folder), f"cannot be read: {error.strerror}")]
    store, problems = Store(listing.entries), list(listing.problems)
    found: Stored | dict[str, Recording]
    if store.is_needed:
        found = store.read() or _store(store, listing, progress)
        problems += found.problems
    else:
        found = dict(_read_each(listing.entries, problems))
    words = {word for entry in listing.entries for word in entry.about.words}
    if len(words) > MAX_WORDS:
        problems.append(Problem(str(folder), f"{len(words)} different words, over {MAX_WORDS}"))
    elif found:
        corpus = _build(folder, listing, found)
        if isinstance(found, Stored) and not found.fingerprint:
            store.remember(corpus.fingerprint)
        return corpus, _sort(problems)
    else:
        problems.append(Problem(str(folder), "no usable recordings (WAV, FLAC, Ogg, MP3, …) in it"))
    return None, _sort(problems)


def _sort(problems: list[Problem]) -> list[Problem]:
    """Return problems in the order of files; those of whole folders are last."""
    return sorted(problems, key=lambda problem: (problem.name.startswith("/"), problem.name))


def _store(store: Store, listing: Listing, progress: Progress | None) -> Stored:
    """Decode the recordings into the user's cache.

    Raises:
        InputError: the cache cannot be written.
    """
    problems: list[Problem] = []

    def count() -> Iterator[ListedRecording]:
        done = 0
        for entry in sorted(listing.entries, key=lambda entry: entry.name):
            yield entry
            with contextlib.suppress(OSError):
                done += entry.file.stat().st_size
            if progress:
                progress(done, store.num_bytes)

    store.write(_read_each(count(), problems), problems)
    stored = store.read(retry=False)
    if stored is None:
        raise InputError(f"{store.folder}: the decoded corpus cannot be read")
    return stored


def _read_each(
    entries: Iterable[ListedRecording], problems: list[Problem]
) -> Iterator[tuple[str, Recording]]:
    """Yield the good recordings by name; append what is wrong with the others to ``problems``."""
    first_with: dict[bytes, str] = {}
    for entry in entries:
        try:
            recording = read_checked(entry)
            digest = hashlib.sha256(recording.waveform.tobytes()).digest()
            if digest in first_with:
                raise ValueError(f"the same recording as {first_with[digest]}")
        except ValueError as error:
            may_pass = isinstance(error.__cause__, OSError)
            problems.append(Problem(entry.shown, str(error), may_pass))
        else:
            first_with[digest] = entry.shown
            yield entry.name, recording


def _build(folder: Path, listing: Listing, found: Stored | dict[str, Recording]) -> Corpus:
    recordings = found.recordings if isinstance(found, Stored) else found
    about: dict[str, Any] = {
        "transcripts": {entry.name: entry.about for entry in listing.entries},
        "source": str(folder.resolve()),
        "notes": (*listing.notes, *_describe_changes(recordings.values())),
        "layout": LAYOUTS[listing.layout],
    }
    if isinstance(found, Stored):
        lengths = {name: recording.length for name, recording in found.recordings.items()}
        return assemble(lengths, found.samples, **about, fingerprint=found.fingerprint)
    return build_corpus({name: recording.waveform for name, recording in found.items()}, **about)


def read_checked(entry: ListedRecording) -> Recording:
    """Read one recording of a corpus; raise ValueError if it cannot be used."""
    try:
        if not entry.file.exists() and not entry.file.is_symlink():
            raise ValueError("no such file")
        if not entry.file.is_file():  # reading a named pipe would block
            raise ValueError("not a file, or a broken link")
        data = entry.file.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    recording = decode(data)
    if recording.silent:
        what = "silence: all samples are the same"
        if recording.num_channels > 1:
            what += ", in the mean of its channels; if these cancel, keep one of them"
        raise ValueError(what)
    words = entry.about.words
    seconds = len(recording.waveform) / SAMPLE_RATE
    # Training may play a recording faster, and still has to find a place for each word.
    positions = count_positions(int(len(recording.waveform) / (1 + MAX_SPEED_CHANGE)))
    if seconds < LEAST_WORD_S * len(words) or positions < needed_positions(words):
        raise ValueError(f"{seconds:.2f} s is too short for {plural(len(words), 'word')}")
    return recording


def _describe_changes(recordings: Collection[Recording | StoredRecording]) -> tuple[str, ...]:
    """Return notes about the recordings that were converted to 8 kHz mono."""
    rates = Counter(r.file_rate_hz for r in recordings if r.file_rate_hz != SAMPLE_RATE)
    mixed = sum(recording.num_channels > 1 for recording in recordings)
    notes = [
        f"resampled {plural(count, 'recording')} from {rate} Hz"
        for rate, count in sorted(rates.items())
    ]
    if mixed:
        notes.append(f"mixed {plural(mixed, 'recording')} of several channels down to one")
    return tuple(notes)
