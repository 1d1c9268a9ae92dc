"""Recordings of every format, from files, pipes and standard input, whole and in blocks."""

import contextlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from raytune_yesno import cli
from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.recording import decode, read_blocks, read_recording
from raytune_yesno.tasks.speech.resampler import Resampler
from raytune_yesno.tasks.speech.synthetic import synthesize

PLACEHOLDERS = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFDB, 0x7FFFF024, 0)


def list_kinds() -> list[tuple[str, str, str]]:
    """Return every format, coding and byte order that libsndfile writes and can read again."""
    return [
        (format, coding, order)
        for format in soundfile.available_formats()
        # RAW has no header; SD2 has its header in a second file. This libsndfile reads MP3 in WAV,
        # which a test of its own covers, but does not write it.
        if format not in ("RAW", "SD2")
        for coding in soundfile.available_subtypes(format)
        for order in ("FILE", "BIG")
        if soundfile.check_format(format, coding, order)
        and coding not in ("MPEG_LAYER_I", "MPEG_LAYER_II")
        and (format, coding) not in (("WAV", "MPEG_LAYER_III"), ("AIFF", "DWVW_12"))
    ]


def tone(rate: int = 8000, seconds: float = 1.0) -> np.ndarray:
    time_s = np.arange(round(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * (300 + 400 * time_s) * time_s)).astype(np.float32)


def encode(
    samples: np.ndarray, format: str = "WAV", coding: str = "PCM_16", order: str = "FILE", rate=8000
) -> bytes:
    with io.BytesIO() as file:
        soundfile.write(file, samples, rate, format=format, subtype=coding, endian=order)
        return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def build_wav(fmt: bytes, sound: bytes, after: bytes = b"") -> bytes:
    body = b"WAVE" + chunk(b"fmt ", fmt) + chunk(b"data", sound) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_sizes(wav: bytes, *, data: int, riff: int | None = None) -> bytes:
    """Return a WAV file with other sizes in its header."""
    at = wav.index(b"data") + 4
    order = ">I" if wav[:4] == b"RIFX" else "<I"
    wav = wav[:at] + struct.pack(order, data) + wav[at + 4 :]
    return wav if riff is None else wav[:4] + struct.pack(order, riff) + wav[8:]


def from_pipe(data: bytes) -> np.ndarray:
    """Return the blocks of a recording that arrives through a pipe, end to end."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb", buffering=0) as pipe:
            for start in range(0, len(data), 1000):
                pipe.write(data[start : start + 1000])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with open(reading, "rb", buffering=0) as pipe:
            return np.concatenate(list(read_blocks(pipe, block_s=0.05)))
    finally:
        writer.join()


class ForwardFile(soundfile.SoundFile):
    """A sound file that soundfile does not seek in, as not every coding allows it."""

    def seekable(self) -> bool:
        return False


class TestEveryKind:
    @pytest.mark.parametrize(("format", "coding", "order"), list_kinds())
    @pytest.mark.parametrize("num_channels", [1, 2])
    def test_reads_what_libsndfile_writes(
        self, format: str, coding: str, order: str, num_channels: int, tmp_path: Path
    ) -> None:
        samples = np.stack([tone()] * num_channels, axis=1)
        try:
            data = encode(samples, format, coding, order)
        except soundfile.SoundFileError:
            pytest.skip("libsndfile does not write this one with two channels")
        file = tmp_path / "recording"
        file.write_bytes(data)
        waveform = read_recording(file)
        if format == "XI":  # knows one sample rate, 44.1 kHz
            assert len(waveform) == pytest.approx(8000 * 8000 / 44100, abs=2)
        else:
            # Block codings fill their last block: up to 1017 samples.
            assert 8000 <= len(waveform) < 9100
            if coding not in ("GSM610", "NMS_ADPCM_16", "MPEG_LAYER_III", "VORBIS", "OPUS"):
                noise = waveform[:8000] - tone()  # the others keep the waveform
                assert (noise**2).mean() < 0.01 * (tone() ** 2).mean()
        for again in (read_recording(io.BytesIO(data)), from_pipe(data)):
            assert len(again) == len(waveform)
            np.testing.assert_allclose(again, waveform, atol=1e-6)

    @pytest.mark.parametrize(("format", "coding", "order"), list_kinds())
    def test_gives_the_samples_that_libsndfile_gives(
        self, format: str, coding: str, order: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "recording"
        file.write_bytes(encode(tone(), format, coding, order))
        with ForwardFile(file) as sound:
            if sound.samplerate != 8000:
                pytest.skip("this format knows one sample rate")
            samples = sound.read(sound.frames, dtype="float32")
        waveform = read_recording(file)
        if (format, coding) == ("W64", "GSM610"):  # libsndfile cuts what fills the last block here,
            waveform = waveform[: len(samples)]  # and not in other files
        np.testing.assert_array_equal(waveform, np.clip(samples, -1, 1))

    def test_reads_mp3_in_wav(self) -> None:
        rate = 16_000
        fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
        wav = build_wav(fmt, encode(tone(rate), "MP3", "MPEG_LAYER_III", rate=rate))
        assert 8000 <= len(read_recording(io.BytesIO(wav))) < 9200
        np.testing.assert_array_equal(from_pipe(wav), read_recording(io.BytesIO(wav)))


class TestMp3WithoutLength:
    """An MP3 of a recorder's stream has no first frame that says how long it is."""

    @pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
    def test_is_read_to_its_end(self, rate: int, tmp_path: Path) -> None:
        whole = encode(tone(rate, 3.0), "MP3", "MPEG_LAYER_III", rate=rate)
        assert b"Xing" in whole[:40]
        (tmp_path / "stream.mp3").write_bytes(whole[whole.index(whole[:2], 40) :])
        expected = read_recording(io.BytesIO(whole))
        assert 0 <= len(read_recording(tmp_path / "stream.mp3")) - len(expected) < 2000


@pytest.mark.parametrize("format", ["FLAC", "MP3"])
def test_a_tag_before_the_sound_is_skipped(format: str, tmp_path: Path) -> None:
    tag = b"ID3\x04\0\0" + bytes((0, 0, 2, 0)) + bytes(256)
    sound = encode(tone(), format, {"MP3": "MPEG_LAYER_III"}.get(format, "PCM_16"))
    (tmp_path / "tagged").write_bytes(tag + sound)
    assert len(read_recording(tmp_path / "tagged")) == len(read_recording(io.BytesIO(sound)))


@pytest.mark.parametrize("data", [b"ID3", b"ID3\x04\0\0\x7f", b"\xff", b"\xff\xfb"])
def test_the_beginning_of_a_file_is_refused_as_no_recording(data: bytes) -> None:
    with pytest.raises(InputError):
        read_recording(io.BytesIO(data))


class TestStreamedSizes:
    @pytest.mark.parametrize("size", PLACEHOLDERS)
    @pytest.mark.parametrize("riff", [None, 0, 8, 0xFFFFFFFF])
    @pytest.mark.parametrize("order", ["LITTLE", "BIG"])
    def test_reads_to_the_end(
        self, size: int, riff: int | None, order: str, tmp_path: Path
    ) -> None:
        wav = encode(tone(), order=order)
        expected = decode(wav).waveform
        streamed = with_sizes(wav, data=size, riff=riff)
        (tmp_path / "streamed.wav").write_bytes(streamed)
        np.testing.assert_array_equal(read_recording(tmp_path / "streamed.wav"), expected)
        np.testing.assert_array_equal(read_recording(io.BytesIO(streamed)), expected)
        np.testing.assert_array_equal(from_pipe(streamed), expected)

    @pytest.mark.parametrize("coding", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "ULAW"])
    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
    def test_reads_every_coding_to_the_end(self, coding: str, size: int) -> None:
        wav = encode(tone(), coding=coding)
        streamed = with_sizes(wav, data=size)
        np.testing.assert_array_equal(decode(streamed).waveform, decode(wav).waveform)
        np.testing.assert_array_equal(from_pipe(streamed), decode(wav).waveform)

    @pytest.mark.parametrize("size", [0, (1 << 64) - 1, (1 << 63) - 1])
    def test_64_bit_sizes(self, size: int) -> None:
        rf64, wave64 = encode(tone(), "RF64"), encode(tone(), "W64")
        at = rf64.index(b"ds64") + 16
        streamed = rf64[:at] + struct.pack("<Q", size) + rf64[at + 8 :]
        np.testing.assert_array_equal(decode(streamed).waveform, decode(rf64).waveform)
        at = wave64.index(b"data") + 16
        streamed = wave64[:at] + struct.pack("<Q", size) + wave64[at + 8 :]
        np.testing.assert_array_equal(decode(streamed).waveform, decode(wave64).waveform)

    def test_an_empty_recording_with_a_tag_behind_it_is_empty(self) -> None:
        wav = build_wav(encode(tone())[20:36], b"", after=chunk(b"LIST", b"INFOISFT\4\0\0\0abc\0"))
        with pytest.raises(ValueError, match="no samples"):
            decode(wav)

    def test_a_tag_behind_the_sound_is_not_sound(self) -> None:
        wav = encode(tone()) + chunk(b"LIST", b"INFO" + b"x" * 1000)
        assert len(decode(wav).waveform) == len(from_pipe(wav)) == 8000

    @pytest.mark.parametrize("name", [0, "<stdin>"])  # 0: it was closed when Python started
    def test_standard_input_is_named(self, name: int | str) -> None:
        class Stream(io.BytesIO):
            pass

        stream = Stream()
        stream.name = name  # type: ignore[attr-defined]
        with pytest.raises(InputError, match=r"^standard input: empty file$"):
            read_recording(stream)

    def test_a_truncated_recording_is_refused(self, tmp_path: Path) -> None:
        flac = encode(tone(), "FLAC")
        for data, says in (
            (encode(tone())[:-2000], "promises 16000 bytes of sound, 14000"),
            (encode(tone(), "RF64")[:-2000], "promises 16000 bytes of sound, 14000"),
            (encode(tone(), "W64")[:-2000], "promises 16000 bytes of sound, 14000"),
            (with_sizes(encode(tone()), data=0x9000_0000), "promises 2415919104"),
            (flac[: len(flac) * 2 // 3], "flac"),
        ):
            with pytest.raises(ValueError, match=says):
                decode(data)
            with pytest.raises(InputError, match=says):
                from_pipe(data)

    @pytest.mark.parametrize(
        ("format", "coding"),
        [("AIFF", "PCM_16"), ("SVX", "PCM_16"), ("AU", "PCM_16"), ("NIST", "PCM_16"),
         ("CAF", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
    )  # fmt: skip
    @pytest.mark.parametrize("order", ["FILE", "LITTLE"])
    def test_so_is_one_in_another_format(self, format: str, coding: str, order: str) -> None:
        if not soundfile.check_format(format, coding, order):
            pytest.skip("no such byte order")
        whole = encode(tone(seconds=20), format, coding, order)
        assert len(decode(whole).waveform) >= 160_000
        for data in (whole[: len(whole) // 2], whole[:-100]):
            with pytest.raises(ValueError, match=r"truncated|malformed"):
                decode(data)

    @pytest.mark.parametrize(
        ("format", "at", "size"),
        [
            *(("AIFF", 4, size) for size in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7F000000)),
            *(("AU", 8, size) for size in (0xFFFFFFFF, 0x7F000000)),
        ],
    )
    def test_a_size_that_a_writer_did_not_know_counts_for_nothing(
        self, format: str, at: int, size: int
    ) -> None:
        data = encode(tone(), format)
        streamed = data[:at] + struct.pack(">I", size) + data[at + 4 :]
        np.testing.assert_array_equal(decode(streamed).waveform, decode(data).waveform)

    def test_a_flac_stream_without_a_number_of_samples_is_read(self) -> None:
        flac = bytearray(encode(tone(), "FLAC"))
        expected = decode(bytes(flac)).waveform
        flac[21] &= 0xF0  # 36 bits in the first metadata block
        flac[22:26] = bytes(4)
        np.testing.assert_array_equal(decode(bytes(flac)).waveform, expected)

    @pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\0\n" + bytes(10)])
    @pytest.mark.parametrize(
        ("format", "coding"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
    )
    def test_joined_recordings_are_refused(self, format: str, coding: str, tag: bytes) -> None:
        whole = encode(tone(seconds=10), format, coding)
        if format == "OGG":
            tag = b""
        with pytest.raises(ValueError, match="several recordings"):
            decode(tag + whole + tag + whole)
        decode(tag + whole + b"TAG" + bytes(5000))

    @pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
    def test_an_ogg_file_may_end_with_an_empty_page(self, coding: str) -> None:
        whole = encode(tone(), "OGG", coding)
        last = bytearray(whole[whole.rindex(b"OggS") :][:27])
        last[5], last[26] = 4, 0  # the end of the stream, no segments
        found = decode(whole + bytes(last)).waveform
        np.testing.assert_array_equal(found, decode(whole).waveform)
        with pytest.raises(ValueError, match="truncated"):
            decode(whole + bytes(last[:20]))

    @pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\0\n" + bytes(10)])
    def test_an_mp3_whose_header_was_never_filled_in_is_refused(self, tag: bytes) -> None:
        whole = bytearray(encode(tone(seconds=10), "MP3", "MPEG_LAYER_III"))
        counts = whole.index(b"Xing") + 8  # of frames and of bytes
        whole[counts : counts + 8] = bytes(8)
        with pytest.raises(ValueError, match=r"unfinished.*convert it"):
            decode(tag + bytes(whole))
        whole[counts - 1] &= ~3  # neither is there
        with pytest.raises(ValueError, match=r"unfinished.*convert it"):
            decode(tag + bytes(whole))


class TestWhatCannotBeRead:
    def test_no_path_of_a_temporary_file_is_shown(self) -> None:
        damaged = bytearray(encode(tone(), "AIFF"))
        damaged[26] ^= 0xFF  # bits of a sample
        with pytest.raises(ValueError, match="not a readable audio file") as caught:
            decode(bytes(damaged))
        assert "/" not in str(caught.value)

    @pytest.mark.parametrize(
        ("tag", "name"),
        [(0x0161, "Windows Media Audio"), (0x00FF, "AAC"), (0x0045, "G.726"), (0x1234, "0x1234")],
    )
    def test_names_the_coding(self, tag: int, name: str) -> None:
        fmt = struct.pack("<HHIIHH", tag, 1, 8000, 8000, 1, 8)
        with pytest.raises(ValueError, match=name):
            decode(build_wav(fmt, b"\1" * 1000))

    def test_names_the_sub_format_of_an_extensible_header(self) -> None:
        head = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 8000, 1, 8, 22, 8, 4)
        standard = bytes.fromhex("61010000000010008000 00aa00389b71")
        with pytest.raises(ValueError, match="Windows Media Audio"):
            decode(build_wav(head + standard, b"\1" * 1000))
        with pytest.raises(ValueError, match="03020100-0504-0706-0809-0a0b0c0d0e0f"):
            decode(build_wav(head + bytes(range(16)), b"\1" * 1000))

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b"\0\0\0\x20ftypM4A " + bytes(200), "MP4"),
            (b"\x1a\x45\xdf\xa3" + bytes(200), "Matroska"),
            (b"RIFF\0\2\0\0AVI LIST" + bytes(200), "AVI"),
            (b"#!AMR\n" + bytes(200), "AMR"),
            (b"hello", "not a WAV file"),
            (b"", "empty"),
        ],
    )
    def test_names_the_container(self, data: bytes, name: str) -> None:
        with pytest.raises(ValueError, match=name):
            decode(data)
        with pytest.raises(InputError, match=name):
            from_pipe(data)

    def test_a_format_chunk_may_say_anything(self) -> None:
        random = np.random.default_rng(0)
        wav = bytearray(encode(tone(seconds=0.1)))
        for _ in range(300):
            damaged = bytearray(wav)
            damaged[20 + random.integers(16)] = random.integers(256)
            for read in (lambda data: decode(data).waveform, from_pipe):
                with contextlib.suppress(ValueError):  # nothing else is raised
                    assert len(read(bytes(damaged)))


class TestBlocks:
    @pytest.mark.parametrize("rate", [2000, 8000, 11025, 16000, 44100, 44101, 48000, 96000, 384000])
    def test_block_ends_leave_no_trace(self, rate: int) -> None:
        whole = Resampler(rate).push(tone(rate), last=True)
        random = np.random.default_rng(rate)
        cuts = np.sort(random.integers(0, rate, size=40))
        resampler = Resampler(rate)
        parts = [resampler.push(part) for part in np.split(tone(rate), cuts)]
        parts.append(resampler.push(np.zeros(0, np.float32), last=True))
        assert sum(map(len, parts)) == len(whole)
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)

    def test_blocks_come_while_the_recording_lasts(self) -> None:
        reading, writing = os.pipe()
        with open(reading, "rb") as source, open(writing, "wb", buffering=0) as sink:
            sink.write(with_sizes(encode(tone(16000), rate=16000), data=0xFFFFFFFF))
            blocks = read_blocks(source, block_s=0.25)
            heard = [len(next(blocks)) for _ in range(3)]  # the pipe is still open
        assert 0.7 * 8000 < sum(heard) <= 0.75 * 8000

    @pytest.mark.long
    def test_memory_does_not_grow_with_the_recording(self) -> None:
        class Endless(io.RawIOBase):
            """A WAV stream of a given number of bytes that are never together in memory."""

            def __init__(self, num_bytes: int) -> None:
                self.head = with_sizes(encode(tone(seconds=0)), data=0xFFFFFFFF)
                self.left = num_bytes

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: memoryview) -> int:
                data = self.head or bytes(min(len(buffer), self.left))
                data, self.head = data[: len(buffer)], self.head[len(buffer) :]
                self.left -= len(data)
                buffer[: len(data)] = data
                return len(data)

        num_bytes = 150_000_000  # more than MAX_BYTES
        with pytest.raises(InputError, match="bytes; give shorter"):
            read_recording(Endless(num_bytes))
        longest = total = 0
        for block in read_blocks(Endless(num_bytes), block_s=1.0):
            longest, total = max(longest, len(block)), total + len(block)
        assert longest <= 8100
        assert total == pytest.approx(num_bytes / 2, abs=50)


class TestPredict:
    """``predict`` on trained weights: the words of a recording, whatever it comes in."""

    @pytest.fixture
    def keep_handlers(self) -> Iterator[None]:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        yield
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def words(self, answer: str) -> list[list[str]]:
        return [[w["word"] for w in file["words"]] for file in json.loads(answer)["files"]]

    @pytest.mark.long
    def test_hears_the_same_words_in_every_kind_of_wav(
        self,
        checkpoint: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        keep_handlers: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        samples = synthesize(10).waveform(1)
        samples = samples * (0.9 / np.abs(samples).max())  # eight bits are few for a quiet voice
        kinds = [
            kind for kind in list_kinds() if kind[0] in ("WAV", "WAVEX", "RF64", "W64", "NIST")
        ]
        files = []
        for number, kind in enumerate([("WAV", "PCM_16", "FILE"), *kinds]):
            files.append(tmp_path / f"{number}.wav")
            files[-1].write_bytes(encode(samples, *kind))
        assert cli.main(["predict", str(checkpoint), *map(str, files), "--json"]) == 0
        first, *others = self.words(capfd.readouterr().out)
        assert len(first) == 8
        # NMS ADPCM with 2 bits a sample has little to hear left in it.
        heard = dict(zip(kinds, others, strict=True))
        assert {kind for kind in kinds if heard[kind] != first} <= {
            ("WAV", "NMS_ADPCM_16", "FILE"),
            ("WAV", "NMS_ADPCM_16", "BIG"),
        }
        for file, kind in zip(files[1:], kinds, strict=True):
            with file.open("rb") as stream:
                monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream))
                assert cli.main(["predict", str(checkpoint), "-", "--json"]) == 0
            assert self.words(capfd.readouterr().out) == [heard[kind]]

    @pytest.mark.long
    def test_a_file_a_pipe_and_standard_input_are_the_same(
        self, checkpoint: Path, tmp_path: Path
    ) -> None:
        command = [sys.executable, "-m", "raytune_yesno", "predict", str(checkpoint), "--json"]
        wav = with_sizes(encode(synthesize(10).waveform(1)), data=0, riff=0)
        (tmp_path / "a.wav").write_bytes(wav)
        os.mkfifo(tmp_path / "pipe.wav")
        process = subprocess.Popen(
            [*command, str(tmp_path / "a.wav"), str(tmp_path / "pipe.wav"), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        (tmp_path / "pipe.wav").write_bytes(wav)
        out, _ = process.communicate(wav)
        assert process.returncode == 0
        file, pipe, stdin = self.words(out.decode())
        assert file == pipe == stdin
        assert len(file) == 8

    def test_reads_the_others_when_one_is_bad(
        self,
        checkpoint: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        keep_handlers: None,
    ) -> None:
        names = ("a.wav", "bad.wav", "c.wav")
        for number, name in enumerate(names):
            (tmp_path / name).write_bytes(encode(synthesize(10).waveform(number)))
        (tmp_path / "bad.wav").write_bytes(b"no sound")
        files = [str(tmp_path / name) for name in names]
        assert cli.main(["predict", str(checkpoint), *files, "--json"]) == 1
        said = capfd.readouterr()
        first, bad, last = json.loads(said.out.splitlines()[-1])["files"]
        assert [entry["path"] for entry in (first, bad, last)] == files
        assert len(first["words"]) == len(last["words"]) == 8
        assert "not a WAV file" in bad["error"]
        assert not bad["words"]
        assert [line for line in said.err.splitlines() if "bad.wav" in line]
        assert cli.main(["predict", str(checkpoint), *files]) == 1
        assert [line for line in capfd.readouterr().out.splitlines() if "c.wav: " in line]

    def test_an_odd_name_breaks_no_line(
        self,
        checkpoint: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        keep_handlers: None,
    ) -> None:
        names = ["a\nb.wav", "\x1b[2J\x1b[31m.wav", os.fsdecode(b"\xff\xfe.wav"), "\u202e.wav"]
        files = [tmp_path / name for name in names]
        for file in files:
            file.write_bytes(encode(synthesize(10).waveform(0)))
        files.append(tmp_path / "none\n\x1b[2J\udcff.wav")
        arguments = ["predict", str(checkpoint), *map(str, files)]
        assert cli.main(arguments) == 1
        said = capfd.readouterr()
        lines = said.out.splitlines()
        assert len(lines) == 4 * (1 + 8)
        assert all(line.isprintable() for line in (*lines, *said.err.splitlines()))
        assert len(said.err.splitlines()) == 1
        assert cli.main([*arguments, "--json"]) == 1
        out = capfd.readouterr().out
        assert len(out.splitlines()) == 1
        paths = [entry["path"] for entry in json.loads(out)["files"]]
        assert paths[0] == str(files[0])
        assert all(path.encode() for path in paths)  # no half of a surrogate pair
