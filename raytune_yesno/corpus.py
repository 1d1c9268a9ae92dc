"""YESNO recordings: find them, read and check them, split them.

A corpus is a folder of WAV files in which each file's name is its transcript: `0_1_1.wav` says
no, yes, yes. There are no word boundaries.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch.utils.data import Dataset

from raytune_yesno.errors import InputError, suggest_name

FOLDER = "waves_yesno"  # the name that the published archive and torchaudio give it
YESNO_RECORDINGS = 60
SAMPLE_RATE = 8000
RATE_RANGE_HZ = (2000, 384_000)  # below, words cannot be told apart; above, a damaged header
LOUDEST = 2.0  # a float WAV may overshoot full scale a little; more is another unit
# Writers that cannot seek back, into a pipe, leave a size near a signed or unsigned maximum.
LEAST_PLACEHOLDER_BYTES = 0x7FFF_0000
LEAST_WORD_S = 0.15  # quicker than anybody says "no"; YESNO's words take 0.6 s with their pauses

Progress = Callable[[int, int | None], None]  # (bytes so far, bytes in all if known)


class Recording(NamedTuple):
    """Hold a waveform, and what the file had before it was made 8 kHz mono."""

    waveform: npt.NDArray[np.float32]  # (samples,) in [-1, 1] at 8 kHz
    file_rate_hz: int
    num_channels: int
    silent: bool  # all samples the same; resampling would hide that


@dataclass(frozen=True)
class Problem:
    """Say what keeps one file, or a whole folder, from being used."""

    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


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
    samples = np.concatenate([waveforms[name] for name in names]).astype(np.float32)
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
        raise InputError(f"{size} recordings are too few for training, validation and test parts")
    return Split(tuple(train), tuple(valid), test)


def load_corpus(data: str, *, skip_bad: bool = False, progress: Progress | None = None) -> Corpus:
    """Read the corpus that `data` names.

    `yesno`: $YESNO_ROOT, else the user's cache, else a download into it, which calls `progress`.
    `synthetic`, `synthetic:N` or `synthetic:N:SEED`: the built-in one. Otherwise a folder that
    holds recordings or holds `waves_yesno`.

    Raise InputError with everything that is wrong; `skip_bad` leaves bad recordings out instead.
    """
    kind, *numbers = data.split(":")
    if kind == "synthetic":
        from raytune_yesno.synthetic import synthesize

        if len(numbers) > 2 or not all(re.fullmatch("[0-9]{1,18}", number) for number in numbers):
            raise InputError(f"{data!r}: write synthetic, synthetic:N or synthetic:N:SEED")
        return synthesize(*map(int, numbers))
    if data == "yesno":
        from raytune_yesno.download import find_yesno

        return read_folder(find_yesno(progress), skip_bad=skip_bad, num_expected=YESNO_RECORDINGS)
    folder = Path(data).expanduser()
    if not folder.is_dir():
        hint = suggest_name(data, ["yesno", "synthetic"])
        raise InputError(f"{data!r} is no folder and no corpus's name: {hint}")
    return read_folder(folder, skip_bad=skip_bad)


def read_folder(
    folder: str | Path, *, skip_bad: bool = False, num_expected: int | None = None
) -> Corpus:
    """Read a folder of recordings; raise InputError with one line for each that is bad."""
    corpus, problems = check_folder(folder)
    if corpus is None or (problems and not skip_bad):
        lines = [f"{folder} cannot be used as a corpus:", *map(str, problems)]
        raise InputError("\n  ".join(lines))
    notes = list(corpus.notes)
    if problems:
        bad = ", ".join(problem.name for problem in problems)
        notes.append(f"left out {_count(len(problems), 'bad recording')}: {bad}")
    if num_expected not in (None, len(corpus)):
        notes.append(f"incomplete: {len(corpus)} of {num_expected} recordings")
    return replace(corpus, notes=tuple(notes))


def check_folder(folder: str | Path) -> tuple[Corpus | None, list[Problem]]:
    """Return the good recordings of a folder, None if there are none, and all that is wrong.

    Files that are not named as WAV files, and hidden ones, are left alone.
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
                raise ValueError(f"the same name as {twin.name} but for upper case")
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
    """Read one recording of a corpus; raise ValueError with what is wrong with it."""
    words = parse_labels(file.stem)
    try:
        if not file.is_file():  # a named pipe would be waited for
            raise ValueError("not a file, or a link to none")
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
    """Say what was done to recordings that are not 8 kHz mono."""
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


def read_recording(source: str | Path | BinaryIO) -> npt.NDArray[np.float32]:
    """Read one WAV file, or a stream of one, as samples in [-1, 1] at 8 kHz, shape (samples,).

    Raise InputError naming the file where it cannot be read or is damaged.
    """
    if isinstance(source, str | Path):
        name = str(source)
        try:
            data = Path(source).expanduser().read_bytes()
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error.strerror}") from error
        streamed = False
    else:
        name = str(getattr(source, "name", "stream"))
        data = source.read()
        streamed = True
    try:
        return decode(data, streamed=streamed).waveform
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error


def decode(data: bytes, *, streamed: bool = False) -> Recording:
    """Decode a WAV file's bytes; raise ValueError with what is wrong with them.

    `streamed` allows the placeholder that a program which writes into a pipe leaves for a length.
    """
    _check_lengths(data, streamed)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            if not RATE_RANGE_HZ[0] <= rate <= RATE_RANGE_HZ[1]:
                raise ValueError(f"a sample rate of {rate} Hz is out of range")
            samples_TC = file.read(dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ValueError(f"not a readable WAV file: {error}") from error
    if not len(samples_TC):
        raise ValueError("no samples in it")
    if not np.isfinite(samples_TC).all():
        raise ValueError("NaN or infinite samples")
    peak = float(np.abs(samples_TC).max())
    if peak > LOUDEST:
        raise ValueError(f"samples reach {peak:.3g} times full scale")
    num_channels = samples_TC.shape[1]
    mono = samples_TC[:, 0] if num_channels == 1 else samples_TC.mean(axis=1)
    waveform = np.clip(_resample(mono, rate), -1, 1).astype(np.float32)
    return Recording(waveform, rate, num_channels, bool(mono.min() == mono.max()))


def _check_lengths(data: bytes, streamed: bool) -> None:
    """Raise ValueError unless the file holds the bytes of sound that its header promises.

    libsndfile reads a truncated file as a shorter one without a word.
    """
    if not data:
        raise ValueError("empty file")
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file")
    position = 12
    while position + 8 <= len(data):
        kind, size = data[position : position + 4], data[position + 4 : position + 8]
        promised, present = int.from_bytes(size, "little"), len(data) - position - 8
        if kind == b"data":
            if promised > present and not (streamed and promised >= LEAST_PLACEHOLDER_BYTES):
                raise ValueError(
                    f"truncated: its header promises {promised} bytes of sound, {present} are there"
                )
            return
        position += 8 + promised + promised % 2  # chunks begin at even positions
    raise ValueError("truncated: the file ends before its sound begins")


def _resample(waveform: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """Bring a waveform of shape (samples,) from `rate` to 8 kHz."""
    if rate == SAMPLE_RATE:
        return waveform
    from torchaudio.functional import resample

    # The filter grows with the ratio's terms: 44,101 Hz as it is would take gigabytes. A
    # denominator of 320 is exact for the usual rates (11,025 Hz is 441/320) and else off by 1e-5.
    ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(320)
    wave = torch.from_numpy(np.ascontiguousarray(waveform))
    resampled = resample(wave, ratio.numerator, ratio.denominator)
    return np.asarray(resampled.numpy(), dtype=np.float32)
