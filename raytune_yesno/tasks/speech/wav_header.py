"""Headers of the WAV family: RIFF, RIFX (big-endian), RF64 and BW64 (64-bit sizes), and Wave64."""

import uuid
from dataclasses import dataclass
from typing import BinaryIO, Literal

from raytune_yesno.tasks.speech.resampler import RATE_RANGE_HZ

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


@dataclass(frozen=True)
class Header:
    """Header of a file of the WAV family."""

    order: Literal["little", "big"]
    fmt: bytes  # body of the format chunk
    fact: bytes  # body of the fact chunk, empty without one
    size: int | None  # bytes of sound; None if unknown: the sound then lasts to the end of the file
    lead: bytes = b""  # bytes of the sound that were already read

    @property
    def tag(self) -> int:
        """Number of the coding, that of the subformat in an extensible format chunk."""
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


def read_header(stream: BinaryIO, magic: bytes) -> Header | None:
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
    return Header(order, bodies[b"fmt "], bodies.get(b"fact", b""), known, lead)


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
