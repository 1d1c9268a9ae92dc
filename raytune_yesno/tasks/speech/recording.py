"""Read recordings as 8 kHz mono: WAV of any kind, and every other format of libsndfile.

:func:`read_recording` returns a whole recording. :func:`read_blocks` yields it in blocks with
bounded memory, from a file or from a pipe of unknown length.
"""

import contextlib
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from raytune_yesno.errors import InputError
from raytune_yesno.home import expand_home
from raytune_yesno.tasks.speech.completeness import check_whole, has_length
from raytune_yesno.tasks.speech.resampler import RATE_RANGE_HZ, Resampler, Samples
from raytune_yesno.tasks.speech.wav_header import Header, read_header

MAX_BYTES = 100_000_000  # an hour and three quarters of 16-bit samples at 8 kHz
MAX_PEAK = 2.0  # float WAV files may overshoot full scale a little; larger values have another unit


class Recording(NamedTuple):
    """A waveform at 8 kHz mono, and properties of the file before conversion.

    Attributes:
        waveform: (samples,) in [-1, 1] at 8 kHz.
        file_rate_hz: sample rate of the file.
        num_channels: channels of the file.
        silent: whether all samples of the file are equal, which resampling would hide.
    """

    waveform: Samples
    file_rate_hz: int
    num_channels: int
    silent: bool


def read_recording(source: str | Path | BinaryIO) -> Samples:
    """Return a whole recording as samples in [-1, 1] at 8 kHz, shape (samples,).

    Args:
        source: a file, a named pipe, or an open stream such as ``sys.stdin.buffer``.

    Raises:
        InputError: the source cannot be read, is damaged, or is larger than ``MAX_BYTES``.
    """
    with _opened(source) as stream:
        return decode(_read_limited(stream)).waveform


def read_blocks(source: str | Path | BinaryIO, block_s: float = 1.0) -> Iterator[Samples]:
    """Yield a recording in blocks of samples in [-1, 1] at 8 kHz, each of shape (samples,).

    The concatenated blocks equal the result of :func:`read_recording` up to rounding. An
    uncompressed WAV file may have any length and is read with bounded memory as it arrives.
    Recordings in other codings and formats are limited to ``MAX_BYTES`` compressed bytes.

    Args:
        source: as for :func:`read_recording`.
        block_s: length of a block before resampling, in seconds. The yielded blocks differ from it
            by some milliseconds.

    Raises:
        InputError: as for :func:`read_recording`. A truncated WAV file raises at its end; for other
            formats see :mod:`raytune_yesno.tasks.speech.completeness`.
    """
    with _opened(source) as stream:
        resampler = None
        for samples_TC, rate in _read_sound(stream, block_s):
            resampler = resampler or Resampler(rate)
            block = resampler.push(_mix(samples_TC))
            if len(block):
                yield np.clip(block, -1, 1)
        if resampler is None:
            raise ValueError("no samples in it")
        block = resampler.push(np.zeros(0, np.float32), last=True)
        if len(block):
            yield np.clip(block, -1, 1)


def read_raw_blocks(
    source: str | Path | BinaryIO, rate: int, block_s: float = 1.0
) -> Iterator[Samples]:
    """Yield a recording without a header in blocks, like :func:`read_blocks`.

    Args:
        source: 16-bit little-endian mono samples.
        rate: sample rate, Hz.
        block_s: length of a block before resampling, in seconds.

    Raises:
        InputError: the source cannot be read or has no samples, or the rate is out of range.
    """
    with _opened(source) as stream:
        if not RATE_RANGE_HZ[0] <= rate <= RATE_RANGE_HZ[1]:
            raise ValueError(f"a sample rate of {rate} Hz is out of range")
        resampler = Resampler(rate)
        num_bytes = 2 * max(1, round(block_s * rate))
        present = 0
        while data := stream.read(num_bytes):
            present += len(data)
            steps = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
            if len(block := resampler.push(steps.astype(np.float32) / np.float32(2**15))):
                yield np.clip(block, -1, 1)
        if present < 2:
            raise ValueError("no samples in it")
        if present % 2:
            raise ValueError("half a sample at its end: it is not 16 bit, or it is truncated")
        if len(block := resampler.push(np.zeros(0, np.float32), last=True)):
            yield np.clip(block, -1, 1)


def decode(data: bytes) -> Recording:
    """Decode the bytes of a recording.

    Raises:
        ValueError: the bytes are not a readable recording.
    """
    blocks = list(_read_sound(io.BytesIO(data), block_s=None))
    if not blocks:
        raise ValueError("no samples in it")
    mono = np.concatenate([_mix(samples_TC) for samples_TC, _ in blocks])
    (samples_TC, rate), silent = blocks[0], bool(mono.min() == mono.max())
    waveform = np.clip(Resampler(rate).push(mono, last=True), -1, 1).astype(np.float32)
    return Recording(waveform, rate, samples_TC.shape[1], silent)


@contextlib.contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """Open a source; name it in errors."""
    is_path = isinstance(source, str | Path)
    name = str(source) if is_path else str(getattr(source, "name", "stream"))
    if name in ("0", "<stdin>"):
        name = "standard input"
    try:
        with contextlib.ExitStack() as stack:
            if isinstance(source, str | Path):
                source = stack.enter_context(expand_home(source).open("rb"))
            elif isinstance(source, io.RawIOBase):  # its reads may be short
                source = io.BufferedReader(source)
                stack.callback(source.detach)
            yield source
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error


def _read_limited(stream: BinaryIO) -> bytes:
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:  # a device or a pipe may be endless
        raise ValueError(f"more than {MAX_BYTES:,} bytes; give shorter recordings")
    return data


def _mix(samples_TC: Samples) -> Samples:
    """Check samples and return the mean of their channels, shape (samples,)."""
    if not np.isfinite(samples_TC).all():
        raise ValueError("NaN or infinite samples")
    peak = float(np.abs(samples_TC).max())
    if peak > MAX_PEAK:
        raise ValueError(f"samples reach {peak:.3g} times full scale")
    return samples_TC[:, 0] if samples_TC.shape[1] == 1 else samples_TC.mean(axis=1)


def _read_sound(stream: BinaryIO, block_s: float | None) -> Iterator[tuple[Samples, int]]:
    """Yield the sound of a stream: samples of shape (samples, channels), and their rate in Hz.

    Args:
        stream: result of :func:`_opened`; need not be seekable.
        block_s: length of a block in seconds; None reads everything first.
    """
    magic = stream.read(12)
    if not magic:
        raise ValueError("empty file")
    header = read_header(stream, magic)
    if header is None:
        yield from _read_other(magic + _read_limited(stream))
        return
    num_bytes = header.measure_block(block_s) if block_s else None
    for sound in _read_bytes(stream, header, num_bytes):
        try:
            yield from _decode_file(io.BytesIO(header.wrap(sound)))
        except soundfile.SoundFileError as error:
            raise ValueError(
                f"not a readable WAV file: {_reason(error)} Its coding is {header.coding}; "
                "convert it to 16-bit PCM"
            ) from error


def _read_bytes(stream: BinaryIO, header: Header, num_bytes: int | None) -> Iterator[bytes]:
    """Yield the bytes of a WAV file's sound, all at once or in blocks of ``num_bytes``.

    libsndfile silently reads a truncated file as a shorter one, so lengths are checked here.
    """
    present, lead = 0, header.lead
    while header.size is None or present < header.size:
        wanted = MAX_BYTES + 1 if num_bytes is None else num_bytes
        if header.size is not None:
            wanted = min(wanted, header.size - present)
        sound = lead + stream.read(wanted - len(lead))
        if num_bytes is None and len(sound) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes; give shorter recordings")
        present, lead = present + len(sound), b""
        if sound:
            yield sound
        if len(sound) < wanted:
            break
    if header.size is not None and present < header.size:
        raise ValueError(
            f"truncated: its header promises {header.size} bytes of sound, {present} are there"
        )


_MIN_UNKNOWN_FRAMES = 1 << 62  # this many or more: the FLAC encoder did not know the number


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read sequentially: libsndfile cannot seek in every coding."""

    def seekable(self) -> bool:
        return False


def _decode_file(
    source: BinaryIO | str | int, *, check_length: bool = False
) -> Iterator[tuple[Samples, int]]:
    """Yield the sound of a file in a format of libsndfile, and its rate in Hz."""
    with _ForwardFile(source, closefd=False) as file:
        rate = file.samplerate
        if not RATE_RANGE_HZ[0] <= rate <= RATE_RANGE_HZ[1]:
            raise ValueError(f"a sample rate of {rate} Hz is out of range")
        present, num_frames = 0, max(1, 1_000_000 // file.channels)
        while len(samples_TC := file.read(num_frames, dtype="float32", always_2d=True)):
            present += len(samples_TC)
            yield samples_TC, rate
        if check_length and present < file.frames < _MIN_UNKNOWN_FRAMES:
            raise ValueError(
                f"truncated: its header promises {file.frames} samples, {present} are there"
            )


def _read_other(data: bytes) -> Iterator[tuple[Samples, int]]:
    """Yield the sound of a file that is not of the WAV family."""
    check_whole(data)
    try:
        if not has_length(data):
            with _open_pipe(data) as pipe:
                yield from _decode_file(pipe)
            return
        # libsndfile recognises MP3 only in a named file.
        with tempfile.NamedTemporaryFile(prefix="raytune-yesno-") as file:
            file.write(data)
            file.flush()
            yield from _decode_file(file.name, check_length=True)
    except soundfile.LibsndfileError as error:
        for start, magic, name in _UNREADABLE_CONTAINERS:
            if data[start : start + len(magic)] == magic:
                raise ValueError(f"not a WAV file but {name}; convert it to WAV") from error
        if error.code == _UNRECOGNISED:
            raise ValueError("not a WAV file or another known audio format") from error
        raise ValueError(f"not a readable audio file: {_reason(error)}") from error


@contextlib.contextmanager
def _open_pipe(data: bytes) -> Iterator[int]:
    """Yield the descriptor of a pipe from which these bytes can be read."""
    reader, writer = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        os.close(reader)
        thread.join()


_UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error))  # without the name of our own file


_UNREADABLE_CONTAINERS = (
    (4, b"ftyp", "an MP4 or M4A file"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA or ASF file"),
    (8, b"AVI ", "an AVI file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"TTA1", "a True Audio file"),
    (0, b"ajkg", "a Shorten file"),
    (0, b"DSD ", "a DSD file"),
    (0, b"FLV\x01", "a Flash video"),
    (0, b".RMF", "a RealMedia file"),
    (0, b"MThd", "a MIDI file"),
    (0, b"\xff\xf1", "an AAC file"),
    (0, b"\xff\xf9", "an AAC file"),
)
