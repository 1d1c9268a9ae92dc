"""Bad recordings, folders of them, and archives of such folders."""

import gzip
import hashlib
import io
import os
import tarfile
import wave
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.download import fetch
from raytune_yesno.tasks.speech.folder import FOLDER, check_folder, read_folder
from raytune_yesno.tasks.speech.recording import read_recording
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE
from reliability.fuzz.kind import Kind, find_untidy
from reliability.fuzz.mutations import mutate_bytes, mutate_head

Files = dict[str, bytes]

CHUNKS = (
    *(b"RIFF", b"WAVE", b"fmt ", b"data", b"LIST", b"fact", b"RF64", b"RIFX", b"ds64", b"JUNK"),
    *(b"data\xff\xff\xff\xff", b"fmt \x10\0\0\0\1\0\1\0", b"LIST\4\0\0\0INFO", b"\0" * 16),
    *((code).to_bytes(2, "little") for code in (1, 2, 3, 6, 7, 17, 49, 85, 0xFFFE)),
)
_STREAM = 0x7FFF_0000  # bytes


def make_recording(
    seed: int,
    kind: str = "PCM_16",
    rate: int = 8000,
    channels: int = 1,
    container: str = "WAV",
    order: str = "FILE",
) -> bytes:
    """Return a recording of a second of noise."""
    random = np.random.default_rng(seed)
    samples = random.uniform(-0.5, 0.5, (rate, channels)).astype("float32")
    with io.BytesIO() as file:
        soundfile.write(file, samples, rate, format=container, subtype=kind, endian=order)
        return file.getvalue()


def good_recordings(folder: Path) -> list[bytes]:
    kinds = ["PCM_16", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
    kinds += ["IMA_ADPCM", "MS_ADPCM", "GSM610"]
    return [
        *(make_recording(n, kind) for n, kind in enumerate(kinds)),
        make_recording(20, rate=44_100, channels=2),
        make_recording(21, rate=16_000, channels=3),
        make_recording(22, order="BIG"),
        *(make_recording(23, container=name) for name in ("WAVEX", "RF64", "W64", "FLAC", "AIFF")),
    ]


def damage_recording(random: Random, data: bytes) -> bytes:
    if random.random() < 0.2:
        return mutate_bytes(random, data, CHUNKS)
    return mutate_head(random, data)


def try_recording(data: bytes, folder: Path) -> str | None:
    file = folder / "0_1.wav"
    file.write_bytes(data)
    waveform = read_recording(file)
    if not (waveform.ndim == 1 and len(waveform) and np.isfinite(waveform).all()):
        return f"a waveform of shape {waveform.shape}"
    if np.abs(waveform).max() > 1:
        return "beyond full scale"
    try:  # the standard library's reader knows plain PCM
        with wave.open(str(file)) as other:
            frames, rate = other.getnframes(), other.getframerate()
            width, channels = other.getsampwidth(), other.getnchannels()
            present = len(other.readframes(frames)) // (width * channels)
    except (wave.Error, EOFError, ValueError, ZeroDivisionError, RuntimeError):
        return None
    if not 0 < frames * width * channels < _STREAM:
        return None  # the sizes that programs write into streams of unknown length
    wanted = frames * SAMPLE_RATE / rate
    whole = int.from_bytes(data[4:8], "little") == len(data) - 8
    if abs(len(waveform) - wanted) > 2 + 0.002 * wanted or (whole and present < frames):
        return f"{len(waveform)} samples of {frames} frames at {rate} Hz, {present} of them there"
    return None


def good_folders(folder: Path) -> list[Files]:
    words = ("0_0_1", "0_1_0", "1_0_0", "1_1_0", "1_1_1", "0_0_0")
    return [{f"{name}.wav": make_recording(n) for n, name in enumerate(words)}]


def damage_folder(random: Random, files: Files) -> Files:
    """Damage a file, its name, or what it is."""
    files = dict(files)
    name = random.choice(list(files))
    match random.randrange(7):
        case 0 | 1 | 2:
            files[name] = damage_recording(random, files[name])
        case 3:
            names = ["2.wav", "0_.wav", "_0.wav", "0_1.WAV", ".0.wav", "é.wav", "a\nb.wav", ".wav"]
            names += ["0_1_1.wav.wav", "0" * 240 + ".wav", "\udcff.wav", "0__1.wav", "٠_١.wav"]
            names += ["x.wav", "0.txt", "\x1b[2J.wav"]
            files[random.choice(names)] = files.pop(name)
        case 4:
            other = random.choice(("0.wav", "1_0_1.wav", "1_1_0.WAV"))
            files[other] = files[name]
        case 5:
            marks = (b"@folder", b"@pipe", b"@loop", b"@nowhere", b"@zero", b"@device")
            files[name] = random.choice(marks)
        case _:
            files = {name: files[name]}
    return files


def write_files(files: Files, folder: Path) -> None:
    """Write files; some contents stand for what is no file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        match data:
            case b"@folder":
                path.mkdir()
            case b"@pipe":
                os.mkfifo(path)
            case b"@loop":
                path.symlink_to(path.name)
            case b"@nowhere":
                path.symlink_to("nowhere")
            case b"@zero":
                path.symlink_to("/dev/zero")
            case b"@device":
                path.symlink_to("/dev/stdin")
            case _:
                path.write_bytes(data)


def try_folder(files: Files, folder: Path) -> str | None:
    write_files(files, folder / FOLDER)
    corpus, problems = check_folder(folder)
    for problem in problems:
        if untidy := find_untidy(str(problem)):
            raise ValueError(f"{untidy}: {problem}")
    wanted = {n for n in files if n.lower().endswith(".wav") and not n.startswith(".")}
    told = len(corpus.names if corpus else ()) + len(
        [p for p in problems if p.what[:9] != "no usable"]
    )
    if told < len(wanted):
        return f"{told} of {len(wanted)} recordings were used or named"
    if corpus:
        read_folder(folder, skip_bad=True)
    try:
        read_folder(folder)
    except InputError as error:  # all that is wrong, a line each
        lines = str(error).splitlines()
        if len(lines) != 1 + len(problems):
            raise ValueError(f"{len(lines)} lines on {len(problems)} problems") from None
        raise InputError(lines[-1]) from None
    return "taken for good" if problems else None


def good_archives(folder: Path) -> list[tuple[bool, bytes]]:
    """Return archives: whether the bytes are of the tar file in it, and these."""
    words = ("0_0_1", "1_0_0", "1_1_0", "0_0_0")
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for n, word in enumerate(words):
                entry = tarfile.TarInfo(f"{FOLDER}/{word}.wav")
                data = make_recording(n)[:2000]
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            link = tarfile.TarInfo(f"{FOLDER}/README")
            tar.addfile(link)
        data = file.getvalue()
    return [(True, data), (False, gzip.compress(data))]


HEADERS = (
    *(b"../", b"/etc/", b"..\\", b"C:", b"\0", b"./", b"\n", b"\xff\xfe", b"7777777", b"-1"),
    *(b"waves_yesno", b"1", b"2", b"3", b"4", b"5", b"6", b"L", b"K", b"x", b"g", b"S", b"7"),
    b"\x80" + b"\xff" * 11,
)


def damage_archive(random: Random, archive: tuple[bool, bytes]) -> tuple[bool, bytes]:
    plain, data = archive
    if not plain:
        return plain, mutate_bytes(random, data)
    block = random.randrange(max(1, len(data) // 512)) * 512
    head = data[block : block + 512]
    if random.random() < 0.5:
        at = random.choice((0, 100, 124, 148, 156, 157, 257, 345))
        word = random.choice(HEADERS)
        head = head[:at] + word + head[at + len(word) :]
    else:
        head = mutate_bytes(random, head, HEADERS)
    if random.random() < 0.8 and len(head) == 512:  # with the right checksum, as an attacker would
        summed = sum(head[:148]) + 8 * 32 + sum(head[156:])
        head = head[:148] + b"%06o\0 " % summed + head[156:]
    return plain, data[:block] + head + data[block + 512 :]


def try_archive(archive: tuple[bool, bytes], folder: Path) -> str | None:
    plain, data = archive
    inside = folder / "corpus"
    inside.mkdir()
    file = inside / f"{FOLDER}.tar.gz"
    file.write_bytes(gzip.compress(data, 1) if plain else data)
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        fetch(inside, url="file:///nowhere", checksum=checksum)
    except InputError:
        left = sorted(path.name for path in folder.rglob("*"))
        if left != ["corpus", file.name]:
            raise ValueError(f"left behind: {left}") from None
        raise
    outside = {path.name for path in folder.iterdir()} - {"corpus"}
    return f"written outside: {outside}" if outside else None


KINDS: tuple[Kind, ...] = (
    Kind(
        "WAV files",
        good_recordings,
        damage_recording,
        try_recording,
        ("raytune_yesno.tasks.speech.recording", "wave"),
    ),
    Kind(
        "corpus folders",
        good_folders,
        damage_folder,
        try_folder,
        ("raytune_yesno.tasks.speech.folder", "raytune_yesno.tasks.speech.recording"),
    ),
    Kind(
        "archives",
        good_archives,
        damage_archive,
        try_archive,
        ("raytune_yesno.tasks.speech.download", "tarfile", "gzip"),
    ),
)
