"""Read one recording: any WAV, as 8 kHz mono."""

import io
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import torch

from raytune_yesno.errors import InputError

SAMPLE_RATE = 8000
RATE_RANGE_HZ = (2000, 384_000)  # below, words cannot be told apart; above, a damaged header
MAX_BYTES = 100_000_000  # an hour and three quarters at 8 kHz
LOUDEST = 2.0  # a float WAV may overshoot full scale a little; more is another unit
# Writers that cannot seek back, into a pipe, leave a size near a signed or unsigned maximum.
LEAST_PLACEHOLDER_BYTES = 0x7FFF_0000


class Recording(NamedTuple):
    """Hold a waveform, and what the file had before it was made 8 kHz mono."""

    waveform: npt.NDArray[np.float32]  # (samples,) in [-1, 1] at 8 kHz
    file_rate_hz: int
    num_channels: int
    silent: bool  # all samples the same; resampling would hide that


def read_recording(source: str | Path | BinaryIO) -> npt.NDArray[np.float32]:
    """Read one WAV file, or a stream of one, as samples in [-1, 1] at 8 kHz, shape (samples,).

    Raise InputError naming the file where it cannot be read or is damaged.
    """
    if isinstance(source, str | Path):
        name = str(source)
        try:
            with Path(source).expanduser().open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error.strerror}") from error
        streamed = False
    else:
        name = str(getattr(source, "name", "stream"))
        data = source.read(MAX_BYTES + 1)
        streamed = True
    if len(data) > MAX_BYTES:  # a device, or a pipe, may have no end
        raise InputError(f"{name}: more than {MAX_BYTES:,} bytes; give shorter recordings")
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
        reason = str(error).rpartition(">: ")[2]  # what comes before describes our own buffer
        raise ValueError(f"not a readable WAV file: {reason}") from error
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
