"""Read recordings as 8 kHz mono: WAV of any kind, and every other format of libsndfile.

:func:`read_recording` returns a whole recording. :func:`read_blocks` yields it in blocks with
bounded memory, from a file or from a pipe of unknown length.
"""

import contextlib
import io
import math
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import torch

from raytune_yesno.errors import InputError

SAMPLE_RATE = 8000
RATE_RANGE_HZ = (2000, 384_000)  # below, words are indistinguishable; above, headers are damaged
MAX_BYTES = 100_000_000  # an hour and three quarters of 16-bit samples at 8 kHz
MAX_PEAK = 2.0  # float WAV files may overshoot full scale a little; larger values have another unit

Samples = npt.NDArray[np.float32]


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
        InputError: as for :func:`read_recording`. A truncated recording raises at its end.
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


class Resampler:
    """Resample a waveform that arrives in blocks to 8 kHz.

    The output does not depend on the sizes of the blocks, up to rounding.

    Args:
        rate: sample rate of the input, Hz.
    """

    def __init__(self, rate: int) -> None:
        # The filter grows with the terms of the ratio: the exact one of 44,101 Hz would take
        # gigabytes. A denominator up to 320 is exact for the usual rates (11,025 Hz is 441/320);
        # for others the error is 1e-5.
        ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(320)
        self._step, self._num_out = ratio.numerator, ratio.denominator  # samples in, samples out
        # torchaudio's filter reaches 6 zero crossings at 0.99 of the lower Nyquist frequency.
        reach = 6 * self._step / (0.99 * min(ratio.numerator, ratio.denominator))
        self._context = math.ceil(reach / self._step) * self._step
        self._pending = np.zeros(0, np.float32)
        self._num_past = 0  # samples of ``_pending`` that are only context

    def push(self, block: Samples, *, last: bool = False) -> Samples:
        """Add a block and return the output samples that it completes.

        Args:
            block: (samples,).
            last: whether no more blocks follow; all remaining samples are then returned.
        """
        if self._step == self._num_out:
            return block
        self._pending = np.concatenate([self._pending, block])
        num_ready = len(self._pending) - self._num_past - self._context
        num_steps = max(0, num_ready // self._step)
        if not last and not num_steps:
            return np.zeros(0, np.float32)
        begin = self._num_past // self._step * self._num_out
        end = None if last else begin + num_steps * self._num_out
        resampled = self._resample(self._pending)[begin:end]
        done = self._num_past + num_steps * self._step
        self._num_past = min(self._context, done)
        self._pending = self._pending[done - self._num_past :]
        return resampled

    def _resample(self, waveform: Samples) -> Samples:
        from torchaudio.functional import resample

        wave = torch.from_numpy(np.ascontiguousarray(waveform))
        return np.asarray(resample(wave, self._step, self._num_out).numpy(), dtype=np.float32)


@contextlib.contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """Open a source; name it in errors."""
    is_path = isinstance(source, str | Path)
    name = str(source) if is_path else str(getattr(source, "name", "stream"))
    try:
        with contextlib.ExitStack() as stack:
            if isinstance(source, str | Path):
                source = stack.enter_context(Path(source).expanduser().open("rb"))
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
    header = _read_header(stream, magic)
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


def _read_bytes(stream: BinaryIO, header: "_Header", num_bytes: int | None) -> Iterator[bytes]:
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


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read sequentially: libsndfile cannot seek in every coding."""

    def seekable(self) -> bool:
        return False


def _decode_file(
    source: BinaryIO | str, *, check_length: bool = False
) -> Iterator[tuple[Samples, int]]:
    """Yield the sound of a file in a format of libsndfile, and its rate in Hz."""
    with _ForwardFile(source) as file:
        rate = file.samplerate
        if not RATE_RANGE_HZ[0] <= rate <= RATE_RANGE_HZ[1]:
            raise ValueError(f"a sample rate of {rate} Hz is out of range")
        present, num_frames = 0, max(1, 1_000_000 // file.channels)
        while len(samples_TC := file.read(num_frames, dtype="float32", always_2d=True)):
            present += len(samples_TC)
            yield samples_TC, rate
        if check_length and present < file.frames:
            raise ValueError(
                f"truncated: its header promises {file.frames} samples, {present} are there"
            )


def _read_other(data: bytes) -> Iterator[tuple[Samples, int]]:
    """Yield the sound of a file that is not of the WAV family."""
    try:
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


_UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT


def _reason(error: Exception) -> str:
    return str(error).rpartition(">: ")[2]  # the part before it describes our own buffer


# ---- The WAV family: RIFF, RIFX (big-endian), RF64 and BW64 (64-bit sizes), and Wave64 ----

# A writer that cannot seek leaves a size near a signed or an unsigned maximum, or 0.
_PLACEHOLDER_32 = (range(0x7FFF_0000, 0x8001_0000), range(0xFFFF_0000, 0x1_0000_0000))
_MIN_PLACEHOLDER_64 = 1 << 62
_MAX_HEADER_BYTES = 1 << 16  # of a format or fact chunk; known ones have fewer than 100
_WAVE64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_AFTER_SOUND = {b"list", b"fact", b"cue ", b"bext", b"peak", b"smpl", b"inst", b"junk", b"pad "}
_AFTER_SOUND |= {b"id3 ", b"_pmx", b"ixml", b"axml", b"chna", b"cart", b"acid", b"plst", b"afsp"}
_STATELESS = {0x0001: 0, 0x0003: 0, 0x0006: 8, 0x0007: 8, 0x0002: 4, 0x0011: 4}  # bits a sample
_EXTENSIBLE = 0xFFFE
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # follows the tag in a standard GUID

# Common format tags, from Microsoft's mmreg.h.
_CODINGS = {
    **{0x0001: "PCM", 0x0002: "MS ADPCM", 0x0003: "IEEE float", 0x0006: "A-law", 0x0007: "µ-law"},
    **{0x0005: "IBM CVSD", 0x0008: "DTS", 0x000A: "WMA Voice", 0x0010: "OKI ADPCM"},
    **{0x0011: "IMA ADPCM", 0x0014: "G.723 ADPCM", 0x0016: "G.723 ADPCM", 0x0017: "VOX ADPCM"},
    **{0x0020: "Yamaha ADPCM", 0x0022: "TrueSpeech", 0x0031: "GSM 6.10", 0x0038: "NMS ADPCM"},
    **{0x0040: "G.721 ADPCM", 0x0042: "G.723.1", 0x0045: "G.726 ADPCM", 0x0050: "MPEG layer 1/2"},
    **{
        0x0055: "MP3",
        0x0057: "AMR",
        0x0061: "Duck ADPCM",
        0x0064: "G.726 ADPCM",
        0x0069: "Voxware",
    },
    **{0x0075: "Voxware", 0x0083: "G.729", 0x0092: "Dolby AC-3", 0x00FF: "AAC", 0x0130: "ACELP"},
    **{0x0160: "Windows Media Audio", 0x0161: "Windows Media Audio", 0x0162: "WMA Professional"},
    **{0x0163: "WMA lossless", 0x0200: "Creative ADPCM", 0x0270: "ATRAC3", 0x028E: "Siren"},
    **{0x1600: "AAC (ADTS)", 0x1602: "AAC (LATM)", 0x1610: "HE-AAC", 0x2000: "Dolby AC-3"},
    **{0x2001: "DTS", 0x5756: "WavPack", 0x674F: "Ogg Vorbis", 0x6750: "Ogg Vorbis"},
    **{0x676F: "Ogg Vorbis", 0x704F: "Opus", 0x7A21: "AMR", 0xA109: "Speex", 0xF1AC: "FLAC"},
}
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


@dataclass(frozen=True)
class _Header:
    """Header of a file of the WAV family."""

    order: Literal["little", "big"]
    fmt: bytes  # body of the format chunk
    fact: bytes  # body of the fact chunk, empty without one
    size: int | None  # bytes of sound; None if unknown: the sound then lasts to the end of the file
    lead: bytes = b""  # bytes of the sound that were already read

    @property
    def tag(self) -> int:
        tag = self._number(0)
        standard = tag == _EXTENSIBLE and self.fmt[26:40] == _SUBFORMAT
        return self._number(24) if standard else tag

    @property
    def coding(self) -> str:
        """Name and number of the coding, for people."""
        if self.tag == _EXTENSIBLE and len(self.fmt) >= 40:
            return f"unknown (sub-format {uuid.UUID(bytes_le=self.fmt[24:40])})"
        return f"{_CODINGS.get(self.tag, 'unknown')} (format tag 0x{self.tag:04X})"

    def measure_block(self, block_s: float) -> int | None:
        """Return the number of bytes of sound per block.

        None if the coding carries state from block to block, which requires decoding at once.
        """
        if self.tag not in _STATELESS:
            return None
        channels, align = max(1, self._number(2)), self._number(12)
        rate = min(self._number(4, width=4), RATE_RANGE_HZ[1])
        bits = _STATELESS[self.tag] or self._number(14)
        # 24 bytes per channel are a whole number of plain samples of every width.
        unit = max(1, align) if bits == 4 else 24 * channels
        return unit * max(1, min(round(block_s * rate * channels * bits / 8), 1 << 24) // unit)

    def wrap(self, sound: bytes) -> bytes:
        """Return a WAV file of a part of the sound, with correct sizes."""
        chunks = _chunk(b"fmt ", self.fmt, self.order)
        if self.fact and self.size == len(sound):  # the fact chunk counts all samples
            chunks += _chunk(b"fact", self.fact[:4], self.order)
        chunks += _chunk(b"data", sound, self.order)
        magic = b"RIFF" if self.order == "little" else b"RIFX"
        return magic + (len(chunks) + 4).to_bytes(4, self.order) + b"WAVE" + chunks

    def _number(self, at: int, width: int = 2) -> int:
        return int.from_bytes(self.fmt[at : at + width], self.order)


def _chunk(kind: bytes, body: bytes, order: Literal["little", "big"]) -> bytes:
    return kind + len(body).to_bytes(4, order) + body + b"\0" * (len(body) % 2)


def _read_header(stream: BinaryIO, magic: bytes) -> _Header | None:
    """Read the header of a file of the WAV family up to its sound.

    Args:
        stream: the file after its first 12 bytes.
        magic: those 12 bytes.

    Returns:
        The header; None for a file of another kind, of which nothing more is read.

    Raises:
        ValueError: the file ends before its sound, or has no format chunk.
    """
    wave64 = magic == _WAVE64[:12]
    if not wave64 and (magic[:4] not in _RIFF or magic[8:] != b"WAVE"):
        return None
    if wave64:
        stream.read(28)  # the rest of the first GUID, a size, the GUID of "wave"
    order: Literal["little", "big"] = "big" if magic[:4] == b"RIFX" else "little"
    bodies: dict[bytes, bytes] = {}
    while True:
        kind, size = _read_chunk_head(stream, order, wave64)
        if kind == b"data":
            break
        kept = min(size, _MAX_HEADER_BYTES) if kind in (b"fmt ", b"fact", b"ds64") else 0
        bodies[kind] = stream.read(kept)
        _skip(stream, size - kept + (-size % 8 if wave64 else size % 2))
    if b"fmt " not in bodies:
        raise ValueError("not a readable WAV file: no format chunk before its sound")
    known, lead = _find_size(stream, size, bodies.get(b"ds64"), wave64)
    return _Header(order, bodies[b"fmt "], bodies.get(b"fact", b""), known, lead)


_RIFF = (b"RIFF", b"RIFX", b"RF64", b"BW64")


def _read_chunk_head(
    stream: BinaryIO, order: Literal["little", "big"], wave64: bool
) -> tuple[bytes, int]:
    """Return the name of a chunk and the size of its body in bytes."""
    head = stream.read(24 if wave64 else 8)
    if len(head) < (24 if wave64 else 8):
        raise ValueError("truncated: the file ends before its sound begins")
    if wave64:  # a GUID that begins with the name, and a size that includes this head
        return head[:4], max(0, int.from_bytes(head[16:], "little") - 24)
    return head[:4], int.from_bytes(head[4:], order)


def _find_size(
    stream: BinaryIO, size: int, ds64: bytes | None, wave64: bool
) -> tuple[int | None, bytes]:
    """Return the size of the sound in the header, None if unknown, and any sound it had to read."""
    wide = wave64
    if ds64 is not None and size == 0xFFFF_FFFF:  # RF64 has its sizes in a separate chunk
        size, wide = int.from_bytes(ds64[8:16], "little"), True
    if wide and size >= _MIN_PLACEHOLDER_64:
        return None, b""
    if not wide and any(size in placeholder for placeholder in _PLACEHOLDER_32):
        return None, b""
    if size:
        return size, b""
    lead = stream.read(4)  # sound of unknown size, unless the name of another chunk
    return (0, b"") if lead.lower() in _AFTER_SOUND else (None, lead)


def _skip(stream: BinaryIO, num_bytes: int) -> None:
    """Read and discard bytes: a pipe cannot seek."""
    while num_bytes > 0 and (got := len(stream.read(min(num_bytes, 1 << 20)))):
        num_bytes -= got
