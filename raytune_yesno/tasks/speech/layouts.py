"""Layouts of a folder of recordings: which files there are, and what is spoken in each.

``transcripts``
    a table ``transcripts.tsv`` with the columns ``path`` and ``words``, and optionally ``speaker``
    and ``split``;
``words``
    a folder per word, or per sequence of words: ``seven/anything.wav``. A folder below it is the
    speaker: ``seven/anna/1.wav``;
``yesno``
    YESNO's names, ``0_1_1.wav`` for no, yes, yes. Speaker and take may follow:
    ``0_1_1-anna-2.wav``. Files may be in folders, which are speakers.
"""

import itertools
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from raytune_yesno.errors import JOINERS, one_line
from raytune_yesno.tasks.speech.transcript import (
    PARTS,
    YESNO_WORDS,
    Transcript,
    list_words,
    parse_name,
)
from raytune_yesno.text import plural

TABLE = "transcripts.tsv"
COLUMNS = ("path", "words", "speaker", "split")
LAYOUTS = {
    "transcripts": f"words from {TABLE}",
    "words": "a folder per word",
    "yesno": "words from names, 0 no and 1 yes",
}
SUFFIXES = (
    *(".wav", ".wave", ".rf64", ".bwf", ".w64", ".flac", ".aif", ".aiff", ".aifc", ".caf", ".au"),
    *(".snd", ".sph", ".voc", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"),
    # Not readable: decoding says which format to convert.
    *(".m4a", ".aac", ".wma", ".webm", ".mka", ".amr", ".3gp", ".wv", ".ape"),
    *(".mp4", ".m4b", ".mov", ".weba", ".3ga", ".3g2", ".spx"),
)
"""Suffixes of recordings. Of files with the same name otherwise, the first is used."""
_DOCUMENTS = ("", ".txt", ".md", ".html", ".pdf", ".csv", ".tsv", ".json", ".yaml", ".yml", ".py")
_VIRAMA = 9  # its combining class
MAX_TABLE_BYTES = 50_000_000
MAX_ONE_FOLDER = 10  # recordings of a single folder that are taken for those of a word
_NOT_UTF8 = "not UTF-8 text; save it as UTF-8"
_SPLITS = {part: part for part in PARTS} | {"dev": "valid", "validation": "valid"}


@dataclass(frozen=True)
class Problem:
    """A reason why a file or a folder cannot be used.

    Attributes:
        name: the file or folder.
        what: the reason.
        may_pass: whether the file may be readable later: the system refused to read it.
    """

    name: str
    what: str
    may_pass: bool = False

    def __str__(self) -> str:
        return one_line(f"{self.name}: {self.what}")


@dataclass(frozen=True)
class ListedRecording:
    """A recording: its file, what is spoken in it, and its name in the corpus and in messages."""

    file: Path
    about: Transcript
    name: str
    shown: str


@dataclass
class Listing:
    """The recordings of a folder, the problems in finding their words, and notes."""

    layout: str
    entries: list[ListedRecording] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def list_recordings(folder: Path) -> Listing:
    """Find the recordings of a folder and their words.

    Hidden files, files without one of :data:`SUFFIXES` and folders whose name begins with an
    underscore are ignored, unless a table lists them.

    Raises:
        OSError: the folder cannot be read.
    """
    tables = [name for name in os.listdir(folder) if name.lower() == TABLE]
    if tables := [name for name in tables if (folder / name).is_file()]:
        if TABLE not in tables and len(tables) > 1:
            what = f"{list_words(sorted(tables))}: keep one table, {TABLE}"
            return Listing("transcripts", problems=[Problem(str(folder), what)])
        return _read_table(folder, TABLE if TABLE in tables else tables[0])
    found = [*_walk(folder)]
    files = sorted((path for path in found if _is_recording(path.name)), key=_sort_key)
    layout = _recognise(files)
    if not layout:
        what = f"cannot tell the words of {plural(len(files), 'recording')} such as {files[0]}: "
        if len(files[0].parts) > 1:
            what += f"is {files[0].parts[0]!r}, the only folder, their word? Write {TABLE}"
        else:
            what += f"write {TABLE}, use a folder per word, or name the files by their words, "
            what += "0 (no) and 1 (yes)"
        return Listing("yesno", problems=[Problem(str(folder), what)])
    listing = Listing(layout)
    names: dict[str, Path] = {}
    others: list[Path] = []
    for path in files:
        name = path.with_suffix("").as_posix()
        try:
            path.as_posix().encode()
            if name in names:
                if path.suffix.lower() != names[name].suffix.lower():
                    others.append(path)
                    continue
                raise ValueError(f"the same name as {names[name].name} except for upper case")
            about = parse_name(name) if layout == "yesno" else _parse_folders(path.parts)
        except UnicodeEncodeError:
            listing.problems.append(Problem(path.as_posix(), "its name is not UTF-8; rename it"))
        except ValueError as error:
            listing.problems.append(Problem(path.as_posix(), str(error)))
        else:
            names[name] = path
            listing.entries.append(ListedRecording(folder / path, about, name, path.as_posix()))
    if others:
        listing.notes.append(
            one_line(
                f"not used: {plural(len(others), 'file')} such as {others[0]}, with the name of a "
                "used recording in another format"
            )
        )
    kinds = (*SUFFIXES, *_DOCUMENTS)
    if strays := sorted(path for path in found if path.suffix.lower() not in kinds):
        listing.notes.append(
            one_line(f"not used: {plural(len(strays), 'file')} of other kinds, such as {strays[0]}")
        )
    if layout == "yesno" and files and all(len(path.parts) > 1 for path in files):
        listing.notes.append(
            one_line(
                f"folders such as {files[0].parts[0]!r} are speakers, and names are words; if the "
                f"folders are words, write {TABLE}"
            )
        )
    return listing


def _sort_key(path: Path) -> tuple[str, int, str]:
    """Return the key of a recording for the order of names, then of :data:`SUFFIXES`."""
    return path.with_suffix("").as_posix(), SUFFIXES.index(path.suffix.lower()), path.name


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the paths of files, relative to ``folder``; each folder is visited once.

    Hidden files are left out. A folder that is named as a recording counts as a file.
    """
    seen = set[str]()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        named = [name for name in folders if _is_recording(name)]  # reported, not read
        folders[:] = sorted(name for name in folders if name[0] not in "._" and name not in named)
        for name in [*files, *named]:
            if not name.startswith("."):
                yield Path(root, name).relative_to(folder)


def _is_recording(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _raise(error: OSError) -> None:
    raise error


def _recognise(files: list[Path]) -> str:
    """Return the layout of files without a table; empty if it cannot be told.

    Files at the top are in YESNO's layout if one of them spells words. Files in folders are if all
    spell words, and one of them several; otherwise, and if the folders are *yes* and *no*, the
    folders are words.
    """
    top = [path for path in files if len(path.parts) == 1]
    if any(map(_count_words, top)) or not files:
        return "yesno"
    if len(top) == len(files):
        return ""
    counts = [_count_words(path) for path in files if len(path.parts) > 1]
    folders = {path.parts[0] for path in files}
    if min(counts) and max(counts) > 1 and {name.lower() for name in folders} != {*YESNO_WORDS}:
        return "yesno"
    return "words" if len(folders) > 1 or len(files) <= MAX_ONE_FOLDER else ""


def _count_words(path: Path) -> int:
    """Return the number of words that a file's name spells in YESNO's layout."""
    try:
        return len(parse_name(path.with_suffix("").as_posix()).words)
    except ValueError:
        return 0


def _parse_folders(parts: tuple[str, ...]) -> Transcript:
    """Return the words that the first folder spells; the next folder is the speaker."""
    if len(parts) == 1:
        raise ValueError("not in the folder of a word")
    return Transcript(_split_words(parts[0]), parts[1] if len(parts) > 2 else "")


def _split_words(text: str) -> tuple[str, ...]:
    """Return the words of a transcript, in one form of Unicode.

    Raises:
        ValueError: there is no word, or a word has invisible characters.
    """
    words = tuple(unicodedata.normalize("NFC", text).split())
    if not words:
        raise ValueError("no words")
    if not all(_without_joiners(word).isprintable() for word in words):
        raise ValueError(f"words with control characters: {text!r}")
    return words


def _without_joiners(word: str) -> str:
    """Return a word without the joiners and non-joiners that its spelling may have.

    They are between letters, as in Persian, or after a virama, as in Malayalam.
    """
    return "".join(
        letter
        for n, letter in enumerate(word)
        if letter not in JOINERS
        or n == 0
        or word[n - 1] in JOINERS
        or (n + 1 == len(word) and unicodedata.combining(word[n - 1]) != _VIRAMA)
    )


def _unquote(cell: str) -> str:
    """Return a cell without the quotes that spreadsheets write around some cells."""
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _read_table(folder: Path, table: str) -> Listing:
    """Read ``transcripts.tsv``, whose name may have upper case."""
    listing = Listing("transcripts")
    try:
        if (folder / table).stat().st_size > MAX_TABLE_BYTES:
            raise ValueError(f"larger than {MAX_TABLE_BYTES} bytes")
        text = (folder / table).read_text(encoding="utf-8-sig")
        if "\0" in text:  # UTF-16, or no text at all
            raise ValueError(_NOT_UTF8)
        # The module csv limits the length of a cell.
        lines = enumerate(text.split("\n"), start=1)
        rows = [(number, [*map(_unquote, line.split("\t"))]) for number, line in lines if line]
        columns = [name.strip().lower() for name in rows[0][1]] if rows else []
        if twice := {name for name in COLUMNS if columns.count(name) > 1}:
            raise ValueError(f"column {' and '.join(sorted(twice))} twice; keep one")
        if missing := {"path", "words"} - {*columns}:
            raise ValueError(
                f"no column {' and '.join(sorted(missing))}; its first line names the columns "
                "path, words and optionally speaker and split, separated by tabs"
            )
    except UnicodeDecodeError:
        listing.problems.append(Problem(table, _NOT_UTF8))
        return listing
    except ValueError as error:
        listing.problems.append(Problem(table, str(error)))
        return listing
    if unknown := [name for name in columns if name and name not in COLUMNS]:
        listing.notes.append(f"columns of {table} that are not used: {list_words(unknown)}")
    paths = [*_walk(folder)]
    known, by_form = {path.as_posix() for path in paths}, dict[str, list[Path]]()
    for file in paths:
        by_form.setdefault(unicodedata.normalize("NFC", file.as_posix()), []).append(file)
    names = set[str]()
    for number, cells in rows[1:]:
        row = dict(itertools.zip_longest(columns, cells[: len(columns)], fillvalue=""))
        path, split = row["path"], row.get("split", "").strip().lower()
        shown = path or f"{table}, line {number}"
        try:
            if not path:
                raise ValueError("no path")
            if any(cells[len(columns) :]):
                raise ValueError(f"line {number} has more cells than the table has columns")
            if path in names:
                raise ValueError(f"listed again in line {number}")
            if split not in _SPLITS and "split" in row:
                raise ValueError(f"its split is {split!r}; write train, valid or test")
            words, speaker = _split_words(row["words"]), row.get("speaker", "")
            about = Transcript(words, speaker, _SPLITS.get(split, ""))
        except ValueError as error:
            listing.problems.append(Problem(shown, str(error)))
        else:
            names.add(path)
            file = Path(path)
            # File names may be in another form of Unicode than the table, as on macOS.
            alike = by_form.get(unicodedata.normalize("NFC", path), [])
            if path not in known and len(alike) == 1 and not os.path.lexists(folder / path):
                file = alike[0]
            listing.entries.append(ListedRecording(folder / file, about, path, path))
    listed = {os.path.normpath(entry.file) for entry in listing.entries}
    recordings = (path for path in paths if _is_recording(path.name))
    others = sum(os.path.normpath(folder / path) not in listed for path in recordings)
    if others:
        listing.notes.append(f"not in {table} and not used: {plural(others, 'recording')}")
    return listing
