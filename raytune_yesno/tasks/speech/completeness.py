"""Check that a recording is complete. libsndfile silently returns the part that is there.

Headers of the WAV family are in :mod:`raytune_yesno.tasks.speech.wav_header`. A FLAC file, and most
MP3 files, count their samples. Not checked are VOC and rare formats, and a file of the Ogg family
that ends between two pages: several recorders do not mark the last page.
"""

import re
from typing import Literal

_MIN_PLACEHOLDER = 0x7F00_0000  # a writer that cannot seek leaves a larger size, or 0
_SLACK_BYTES = 4096  # MP3 writers disagree whether the first frame, of up to 1441 bytes, counts
_TAGS = (b"Xing", b"Info", b"VBRI")


def check_whole(data: bytes) -> None:
    """Check a file that is not of the WAV family.

    Raises:
        ValueError: the file is truncated or unfinished, or several recordings are joined in it.
    """
    promised = _measure(data)
    if promised > len(data):
        raise ValueError(f"truncated: its header promises {promised} bytes, {len(data)} are there")
    if data[:4] == b"OggS":
        _check_pages(data)
    else:
        _check_mp3(data)


def has_length(data: bytes) -> bool:
    """Return whether a file says how many samples it has.

    An MP3 file does in its first frame, if at all. For others libsndfile estimates the number from
    the size of the first frame, and reads no more than that, but it reads a pipe to its end.
    """
    start = _find_mp3(data)
    return start is None or any(tag in data[start : start + 200] for tag in _TAGS)


def _measure(data: bytes) -> int:
    """Return the size of a file according to its header; 0 if that does not say it."""
    if data[:4] == b"FORM":  # AIFF and 8SVX; some writers count a last byte that they omit
        size = int.from_bytes(data[4:8], "big")
        return 7 + size if 0 < size < _MIN_PLACEHOLDER else 0
    if data[:4] in (b".snd", b"dns."):
        order: Literal["little", "big"] = "big" if data[:4] == b".snd" else "little"
        start, size = (int.from_bytes(data[at : at + 4], order) for at in (4, 8))
        return start + size if 0 < size < _MIN_PLACEHOLDER else 0
    if data[:4] == b"caff":
        at = 8
        while at + 12 <= len(data):  # the name of a chunk and its size, -1 if it was not known
            size = int.from_bytes(data[at + 4 : at + 12], "big")
            if data[at : at + 4] == b"data":
                return at + 12 + size if size < 1 << 62 else 0
            at += 12 + size
        return at
    if data[:8] == b"NIST_1A\n":
        names = (b"sample_count", b"channel_count", b"sample_n_bytes")
        found = [
            re.search(rb"^%s -i (\d{1,9})\s" % name, data[:1024], re.MULTILINE) for name in names
        ]
        head = re.match(rb" *(\d{1,9})\n", data[8:24])
        coding = re.search(rb"^sample_coding -s\d+ (\S+)", data[:1024], re.MULTILINE)
        is_plain = coding is None or coding[1] in (b"pcm", b"ulaw", b"alaw")
        if head and all(found) and is_plain:
            count, channels, width = (int(number[1]) for number in found if number)
            return int(head[1]) + count * channels * width
    return 0


def _check_pages(data: bytes) -> None:
    """Check the pages of a file of the Ogg family: Vorbis, Opus, FLAC, Speex."""
    at, has_sound = 0, False
    while data[at : at + 4] == b"OggS":
        # A page may be empty, such as one that only says that the stream has ended.
        num_lengths = data[at + 26] if at + 26 < len(data) else len(data)
        body = at + 27 + num_lengths
        end = body + sum(data[at + 27 : body])
        if max(body, end) > len(data):
            raise ValueError("truncated: its last page is not whole")
        is_first = bool(data[at + 5] & 2)
        if is_first and has_sound:
            raise _joined()
        at, has_sound = end, has_sound or not is_first


def _check_mp3(data: bytes) -> None:
    """Check the frames and bytes that the first frame of an MP3 file counts, if it does."""
    start = _find_mp3(data)
    head = b"" if start is None else data[start : start + 200]
    tag = re.search(b"Xing|Info", head)
    if start is None or not tag or len(head) < tag.end() + 12:
        return
    has_frames, has_size = (bool(head[tag.end() + 3] & flag) for flag in (1, 2))
    at = tag.end() + 4
    if not (has_frames and any(head[at : at + 4])):  # libsndfile then reads a part
        raise ValueError("unfinished: its header does not say how long it is; convert it to WAV")
    size = int.from_bytes(head[at + 4 : at + 8], "big") if has_size else 0  # 0: unknown
    rest = data[start + size :] if size else b""
    if len(rest) > _SLACK_BYTES and _find_mp3(rest) is not None:  # more frames than it counts
        raise _joined()


def _find_mp3(data: bytes) -> int | None:
    """Return where the first MP3 frame begins, after a tag; None if there is none."""
    start = 0
    if data[:3] == b"ID3":  # its size has seven bits in each byte
        size = zip(data[6:10], (21, 14, 7, 0), strict=False)
        start = 10 + sum(byte << shift for byte, shift in size)
    frame = data[start : start + 2]
    return start if frame[:1] == b"\xff" and frame[1:] >= b"\xe0" else None


def _joined() -> ValueError:
    return ValueError("several recordings joined in one file; split it, or convert it to WAV")
