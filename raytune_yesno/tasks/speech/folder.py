"""Read and check a folder of recordings. All problems are reported at once, by file name."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.tasks.speech.corpus import Corpus, build_corpus, parse_labels
from raytune_yesno.tasks.speech.recording import SAMPLE_RATE, Recording, decode

FOLDER = "waves_yesno"  # its name in the published archive and in torchaudio
LEAST_WORD_S = 0.15  # shorter than any spoken "no"; YESNO's words take 0.6 s with their pauses


@dataclass(frozen=True)
class Problem:
    """A reason why a file or a folder cannot be used."""

    name: str
    what: str

    def __str__(self) -> str:
        return one_line(f"{self.name}: {self.what}")


def read_folder(
    folder: str | Path, *, skip_bad: bool = False, num_expected: int | None = None
) -> Corpus:
    """Read a folder of recordings.

    Args:
        folder: contains WAV files, or a folder ``waves_yesno`` with them.
        skip_bad: leave bad recordings out, with a note, instead of raising.
        num_expected: number of recordings; a note says if the corpus has another.

    Raises:
        InputError: recordings are bad, one line for each, or there are none.
    """
    corpus, problems = check_folder(folder)
    if corpus is None or (problems and not skip_bad):
        raise InputError(f"{folder} cannot be used as a corpus:", *map(str, problems))
    notes = list(corpus.notes)
    if problems:
        bad = ", ".join(problem.name for problem in problems)
        notes.append(one_line(f"left out {_count(len(problems), 'bad recording')}: {bad}"))
    if num_expected not in (None, len(corpus)):
        notes.append(f"incomplete: {len(corpus)} of {num_expected} recordings")
    return replace(corpus, notes=tuple(notes))


def check_folder(folder: str | Path) -> tuple[Corpus | None, list[Problem]]:
    """Read the good recordings of a folder and list all problems.

    Hidden files and files without the suffix ``.wav`` are ignored.

    Returns:
        The corpus, None if no recording is good, and the problems.
    """
    folder = Path(folder).expanduser()
    try:
        folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
        found = [file for file in folder.iterdir() if file.suffix.lower() == ".wav"]
    except OSError as error:
        return None, [Problem(str(folder), f"cannot be read: {error.strerror}")]
    files = sorted(
        (file for file in found if not file.name.startswith(".")), key=lambda f: (f.stem, f.name)
    )
    recordings: dict[str, Recording] = {}
    first_with: dict[bytes, str] = {}
    problems: list[Problem] = []
    for before, file in zip([None, *files], files, strict=False):
        twin = before if before and before.stem == file.stem else None
        try:
            if twin:
                raise ValueError(f"the same name as {twin.name} except for upper case")
            recording = _read_checked(file)
            digest = hashlib.sha256(recording.waveform.tobytes()).digest()
            if digest in first_with:
                raise ValueError(f"the same recording as {first_with[digest]}")
        except ValueError as error:
            problems.append(Problem(file.name, str(error)))
        else:
            first_with[digest] = file.name
            recordings[file.stem] = recording
    if not recordings:
        problems.append(Problem(str(folder), "no usable recordings (WAV files) in it"))
        return None, problems
    waveforms = {name: recording.waveform for name, recording in recordings.items()}
    source, notes = str(folder.resolve()), _describe_changes(list(recordings.values()))
    return build_corpus(waveforms, source=source, notes=notes), problems


def _read_checked(file: Path) -> Recording:
    """Read one recording of a corpus; raise ValueError if it cannot be used."""
    words = parse_labels(file.stem)
    try:
        if not file.is_file():  # reading a named pipe would block
            raise ValueError("not a file, or a broken link")
        data = file.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    recording = decode(data)
    if recording.silent:
        raise ValueError("silence: all samples are the same")
    seconds = len(recording.waveform) / SAMPLE_RATE
    if seconds < LEAST_WORD_S * len(words):
        raise ValueError(f"{seconds:.2f} s is too short for {_count(len(words), 'word')}")
    return recording


def _describe_changes(recordings: list[Recording]) -> tuple[str, ...]:
    """Return notes about the recordings that were converted to 8 kHz mono."""
    rates = Counter(r.file_rate_hz for r in recordings if r.file_rate_hz != SAMPLE_RATE)
    mixed = sum(recording.num_channels > 1 for recording in recordings)
    notes = [
        f"resampled {_count(count, 'recording')} from {rate} Hz"
        for rate, count in sorted(rates.items())
    ]
    if mixed:
        notes.append(f"mixed {_count(mixed, 'recording')} of several channels down to one")
    return tuple(notes)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
