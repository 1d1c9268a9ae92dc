"""The layouts of a folder of recordings, and the splits by column and by speaker."""

import re
import runpy
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.cli import main
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, one_line
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.declaration import SpeechTask
from raytune_yesno.tasks.speech.features import Example, collate, no_alignment
from raytune_yesno.tasks.speech.folder import check_folder
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.recognizer import Recognizer, find_split, select_part
from raytune_yesno.tasks.speech.split import Split, split_corpus
from raytune_yesno.tasks.speech.task import ctc_loss
from raytune_yesno.training.loop import fit


def record(path: Path, number: int = 0, seconds: float = 0.5) -> None:
    """Write a tone that no other number has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.sin(2 * np.pi * (200 + 7 * number) * np.arange(int(8000 * seconds)) / 8000)
    soundfile.write(path, 0.3 * x, 8000)


def write_table(folder: Path, *rows: str, header: str = "path\twords\tspeaker\tsplit") -> Path:
    folder.mkdir(exist_ok=True)
    for number, row in enumerate(rows):
        record(folder / row.split("\t")[0], number)
    (folder / "transcripts.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def spoken(corpus: Corpus) -> dict[str, str]:
    return {name: corpus.words_of(n) for n, name in enumerate(corpus.names)}


def problems_of(folder: Path) -> dict[str, str]:
    return {problem.name: problem.what for problem in check_folder(folder)[1]}


class TestFolders:
    def test_a_folder_is_a_word_and_the_next_one_a_speaker(self, tmp_path: Path) -> None:
        for number, name in enumerate(["sieben/a", "sieben/anna/1", "fünf/x y", "turn left/0_1"]):
            record(tmp_path / f"{name}.wav", number)
        corpus = load_corpus(str(tmp_path))
        assert corpus.vocabulary == ("fünf", "left", "sieben", "turn")
        assert spoken(corpus) == {
            "fünf/x y": "fünf",
            "sieben/a": "sieben",
            "sieben/anna/1": "sieben",
            "turn left/0_1": "turn left",
        }
        assert corpus.speakers == ("", "", "anna", "")

    def test_takes_of_a_word_may_be_numbers(self, tmp_path: Path) -> None:
        for number, name in enumerate(["on/0", "on/1", "off/0", "off/1"]):
            record(tmp_path / f"{name}.wav", number)
        assert set(spoken(load_corpus(str(tmp_path))).values()) == {"on", "off"}

    def test_folders_yes_and_no_are_words_whatever_the_names(self, tmp_path: Path) -> None:
        for number, name in enumerate(["yes/0_1", "yes/0_0", "no/0_1", "no/1_1"]):
            record(tmp_path / f"{name}.wav", number)
        corpus = load_corpus(str(tmp_path))
        assert spoken(corpus)["yes/0_1"] == "yes"
        assert corpus.speakers == ()

    def test_folders_that_are_taken_for_speakers_are_named(self, tmp_path: Path) -> None:
        for number, name in enumerate(["on/0_1", "on/0_0", "off/0_1", "off/1_1"]):
            record(tmp_path / f"{name}.wav", number)
        corpus = load_corpus(str(tmp_path))
        assert set(corpus.speakers) == {"on", "off"}
        assert [note for note in corpus.notes if "'off'" in note and "transcripts.tsv" in note]

    def test_files_of_other_kinds_are_counted(self, tmp_path: Path) -> None:
        for number, name in enumerate(["a/1", "b/1"]):
            record(tmp_path / f"{name}.wav", number)
        for name in ("a/1.mid", "b/2.mkv", "README", "README.md", ".hidden.mkv", "a/1.txt"):
            (tmp_path / name).write_bytes(b"x")
        notes = [note for note in load_corpus(str(tmp_path)).notes if "other kinds" in note]
        assert ["2 files" in note for note in notes] == [True]

    @pytest.mark.parametrize("suffix", ["mp4", "m4b", "MOV", "weba", "3ga", "3g2", "spx"])
    def test_recordings_in_unreadable_formats_are_problems(
        self, tmp_path: Path, suffix: str
    ) -> None:
        for number, name in enumerate(["a/1", "b/1"]):
            record(tmp_path / f"{name}.wav", number)
        (tmp_path / "a" / f"2.{suffix}").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
        assert [*problems_of(tmp_path)] == [f"a/2.{suffix}"]

    def test_mpeg_layer_2_is_read(self, tmp_path: Path) -> None:
        record(tmp_path / "a" / "1.wav", 1)
        silent = bytes([0xFF, 0xFD, 0x44, 0xC0]) + bytes(188)  # a frame of 64 kbit/s at 48 kHz
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "1.mp2").write_bytes(50 * silent)
        assert [what.partition(":")[0] for what in problems_of(tmp_path).values()] == ["silence"]

    def test_channels_that_cancel_are_told(self, tmp_path: Path) -> None:
        record(tmp_path / "a" / "1.wav", 1)
        x = 0.3 * np.sin(np.arange(8000) / 5)
        (tmp_path / "b").mkdir()
        soundfile.write(tmp_path / "b" / "1.wav", np.stack([x, -x], axis=1), 8000, "FLOAT")
        assert "cancel" in problems_of(tmp_path)["b/1.wav"]

    def test_words_and_speakers_that_differ_in_case_are_named(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for number, name in enumerate(["ja/Anna", "Ja/anna", "nein/Ben", "nein/Ben", "ja/x"]):
            record(tmp_path / name / f"{number}.wav", number)
        assert main(["corpus", "check", str(tmp_path)]) == 0
        named = [line for line in capfd.readouterr().out.splitlines() if "differ" in line]
        assert [re.findall("'(.*?)'", line) for line in named] == [["Ja", "ja"], ["Anna", "anna"]]

    def test_one_word_in_two_forms_of_unicode_is_one(self, tmp_path: Path) -> None:
        for number, form in enumerate(("NFC", "NFD")):
            record(tmp_path / unicodedata.normalize(form, "fünf") / f"{number}.wav", number)
        record(tmp_path / "acht" / "1.wav", 5)
        assert load_corpus(str(tmp_path)).vocabulary == (
            "acht",
            unicodedata.normalize("NFC", "fünf"),
        )

    def test_ignores_background_noise_and_reports_strays(self, tmp_path: Path) -> None:
        for number, name in enumerate(["a/1", "b/1", "_background_/1", ".trash/1", "stray"]):
            record(tmp_path / f"{name}.wav", number)
        corpus, problems = check_folder(tmp_path)
        assert corpus
        assert corpus.vocabulary == ("a", "b")
        assert [problem.name for problem in problems] == ["stray.wav"]

    def test_links_to_folders_are_followed_once(self, tmp_path: Path) -> None:
        record(tmp_path / "all" / "a" / "1.wav", 1)
        (tmp_path / "all" / "a" / "again").symlink_to(tmp_path / "all")
        record(tmp_path / "other" / "b" / "1.wav", 2)
        (tmp_path / "all" / "b").symlink_to(tmp_path / "other" / "b")
        assert load_corpus(str(tmp_path / "all")).vocabulary == ("a", "b")

    def test_one_folder_may_not_be_a_word(self, tmp_path: Path) -> None:
        for number in range(12):
            record(tmp_path / "recordings" / f"{number}_george_{number}.wav", number)
        (problem,) = [p for p in check_folder(tmp_path)[1] if "12 recordings" in p.what]
        assert "'recordings'" in problem.what
        assert "transcripts.tsv" in problem.what

    @pytest.mark.parametrize("count", [2, 12])
    def test_names_of_another_kind_are_one_problem(self, tmp_path: Path, count: int) -> None:
        for number in range(count):
            record(tmp_path / f"{number}_george_{number}.wav", number)
        (problem,) = [p for p in check_folder(tmp_path)[1] if f"{count} recordings" in p.what]
        assert "transcripts.tsv" in problem.what

    @pytest.mark.parametrize("suffix", ["wave", "flac", "ogg", "opus", "MP3", "aiff", "au", "caf"])
    def test_every_format_counts(self, tmp_path: Path, suffix: str) -> None:
        record(tmp_path / "a" / "1.wav", 1)
        x = 0.3 * np.sin(np.arange(8000) / 5)
        kinds = {"wave": "WAV", "opus": "OGG"}
        subtype = "OPUS" if suffix == "opus" else None
        (tmp_path / "b").mkdir()
        with (tmp_path / "b" / f"2.{suffix}").open("wb") as file:
            soundfile.write(file, x, 8000, subtype, format=kinds.get(suffix, suffix.upper()))
        corpus = load_corpus(str(tmp_path))
        assert spoken(corpus) == {"a/1": "a", "b/2": "b"}
        assert corpus.notes == ()

    def test_a_recording_that_cannot_be_read_is_a_problem(self, tmp_path: Path) -> None:
        record(tmp_path / "a" / "1.wav", 1)
        (tmp_path / "a" / "2.m4a").write_bytes(b"\0\0\0\x20ftypM4A isom")
        (tmp_path / "a" / "3.txt").write_text("no recording")
        assert problems_of(tmp_path).keys() == {"a/2.m4a"}

    def test_of_one_name_in_two_formats_the_wav_is_used(self, tmp_path: Path) -> None:
        for number, name in enumerate(["a/1.flac", "a/1.wav", "b/1.wav", "b/2.ogg"]):
            record(tmp_path / name, number, seconds=0.5 if name.endswith("wav") else 1.0)
        corpus, problems = check_folder(tmp_path)
        assert corpus
        assert not problems
        assert spoken(corpus) == {"a/1": "a", "b/1": "b", "b/2": "b"}
        assert len(corpus.waveform(0)) == 4000
        (note,) = corpus.notes
        assert "a/1.flac" in note


class TestYesno:
    def test_speaker_and_take_follow_a_hyphen(self, tmp_path: Path) -> None:
        for number, name in enumerate(["0_1", "0_1-2", "0_1-anna", "0_1-anna-2"]):
            record(tmp_path / f"{name}.wav", number)
        corpus = load_corpus(str(tmp_path))
        assert set(spoken(corpus).values()) == {"no yes"}
        assert corpus.speakers == ("", "", "anna", "anna")

    def test_folders_are_speakers(self, tmp_path: Path) -> None:
        for number, name in enumerate(["anna/0_1", "ben/0_1", "ben/1"]):
            record(tmp_path / f"{name}.wav", number)
        corpus = load_corpus(str(tmp_path))
        assert spoken(corpus) == {"anna/0_1": "no yes", "ben/0_1": "no yes", "ben/1": "yes"}
        assert corpus.speakers == ("anna", "ben", "ben")


class TestTable:
    def test_reads_words_speakers_and_parts(self, tmp_path: Path) -> None:
        folder = write_table(
            tmp_path,
            "x/1.wav\teins zwei\tanna\ttrain",
            "2.wav\t東\tben\tdev",
            "3.wav\teins\t\ttest",
        )
        corpus = load_corpus(str(folder))
        assert corpus.vocabulary == ("eins", "zwei", "東")
        assert spoken(corpus) == {"2.wav": "東", "3.wav": "eins", "x/1.wav": "eins zwei"}
        assert corpus.speakers == ("ben", "", "anna")
        assert corpus.parts == ("valid", "test", "train")

    @pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
    def test_finds_a_file_in_another_form_of_unicode(
        self, tmp_path: Path, forms: tuple[str, str]
    ) -> None:
        listed, named = (unicodedata.normalize(form, "für/jürgen.wav") for form in forms)
        folder = write_table(tmp_path, f"{listed}\ta", "2.wav\tb", header="path\twords")
        same = load_corpus(str(folder))
        (tmp_path / listed).rename(tmp_path / "kept.wav")
        (tmp_path / listed).parent.rmdir()
        (tmp_path / named).parent.mkdir()
        (tmp_path / "kept.wav").rename(tmp_path / named)
        corpus = load_corpus(str(folder))
        assert corpus.fingerprint == same.fingerprint
        assert not corpus.notes

    def test_its_name_may_have_upper_case(self, tmp_path: Path) -> None:
        folder = write_table(tmp_path, "1.wav\ta", "2.wav\tb", header="path\twords")
        (folder / "transcripts.tsv").rename(folder / "Transcripts.TSV")
        assert len(load_corpus(str(folder))) == 2
        (folder / "TRANSCRIPTS.tsv").write_text("path\twords\n")
        (problem,) = [p for p in check_folder(folder)[1] if "keep one" in p.what]
        assert "Transcripts.TSV" in problem.what

    def test_needs_two_columns_only(self, tmp_path: Path) -> None:
        folder = write_table(tmp_path, "1.wav\ta", "2.wav\tb", header="path\twords")
        corpus = load_corpus(str(folder))
        assert (corpus.speakers, corpus.parts) == ((), ())

    def test_names_of_columns_may_have_capitals_and_spaces(self, tmp_path: Path) -> None:
        folder = write_table(
            *(tmp_path, "1.wav\ta\tanna\ttest\t", "2.wav\tb\tben\ttrain\tx"),
            header="Path\twords \tSpeaker \t SPLIT\tMicrophone",
        )
        corpus = load_corpus(str(folder))
        assert (corpus.speakers, corpus.parts) == (("anna", "ben"), ("test", "train"))
        (note,) = corpus.notes
        assert "microphone" in note
        assert "speaker" not in note

    def test_a_column_twice_is_a_problem(self, tmp_path: Path) -> None:
        folder = write_table(tmp_path, "1.wav\ta\tb\tc", header="path\twords\tspeaker\tSpeaker")
        assert "speaker" in problems_of(folder)["transcripts.tsv"]

    def test_words_that_are_separated_by_tabs_are_a_problem(self, tmp_path: Path) -> None:
        folder = write_table(tmp_path, "1.wav\ta\tb", "2.wav\ta\t", header="path\twords")
        assert problems_of(folder).keys() == {"1.wav"}

    def test_names_each_row_that_is_wrong(self, tmp_path: Path) -> None:
        folder = write_table(
            tmp_path,
            "1.wav\ta\t\ttrain",
            "2.wav\t\t\ttrain",
            "3.wav\tb\t\tnever",
            "4.wav\tb\t\ttest",
        )
        with (folder / "transcripts.tsv").open("a") as table:
            table.write("gone.wav\ta\t\ttest\n1.wav\tb\t\ttest\n\ta\t\ttest\n")
        found = problems_of(folder)
        assert found.keys() == {"1.wav", "2.wav", "3.wav", "gone.wav", "transcripts.tsv, line 8"}
        assert "line 7" in found["1.wav"]
        assert "never" in found["3.wav"]
        assert "no such file" in found["gone.wav"]

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"file\twords\n", "path"),
            (b"", "path and words"),
            (b"path\twords\n\xff\xfe\n", "UTF-8"),
            ("path\twords\n1.wav\ta\n".encode("utf-16-le"), "UTF-8"),
            (b"path\twords\n1\0.wav\ta\n", "UTF-8"),
        ],
    )
    def test_names_a_table_that_is_wrong(self, tmp_path: Path, content: bytes, what: str) -> None:
        (tmp_path / "transcripts.tsv").write_bytes(content)
        assert what in problems_of(tmp_path)["transcripts.tsv"]

    def test_cells_may_be_quoted_as_spreadsheets_do(self, tmp_path: Path) -> None:
        folder = write_table(tmp_path, "1.wav\ta", "2.wav\tb")
        rows = ['"path"\t"words"\t"speaker"', '1.wav\t"a, b"\t"Anna ""Ann"" Lee"', '"2.wav"\t"\tx']
        (folder / "transcripts.tsv").write_text("\r\n".join(rows), encoding="utf-8-sig")
        corpus = load_corpus(str(folder))
        assert spoken(corpus) == {"1.wav": "a, b", "2.wav": '"'}
        assert corpus.speakers == ('Anna "Ann" Lee', "x")

    def test_a_row_may_have_any_length_and_any_space_between_words(self, tmp_path: Path) -> None:
        rows = "1.wav\ta\u2028b\x85c\x0bd", "2.wav\t" + "a " * 100_000
        folder = write_table(tmp_path, *rows, header="path\twords")
        found = problems_of(folder)
        assert found.keys() == {"2.wav"}
        assert "too short for 100000 words" in found["2.wav"]
        corpus, _ = check_folder(folder)
        assert corpus
        assert spoken(corpus) == {"1.wav": "a b c d"}

    def test_says_which_files_are_not_listed(self, tmp_path: Path) -> None:
        folder = write_table(tmp_path, "1.wav\ta", header="path\twords")
        record(folder / "other.wav", 9)
        assert any("not used: 1" in note for note in load_corpus(str(folder)).notes)

    def test_vocabulary_speakers_and_parts_count_for_the_fingerprint(self, tmp_path: Path) -> None:
        tables = [
            ("1.wav\ta\tx\ttrain", "2.wav\tb\ty\ttest"),
            ("1.wav\tc\tx\ttrain", "2.wav\td\ty\ttest"),
            ("1.wav\ta\ty\ttrain", "2.wav\tb\tx\ttest"),
            ("1.wav\ta\tx\ttest", "2.wav\tb\ty\ttrain"),
        ]
        prints = {load_corpus(str(write_table(tmp_path, *rows))).fingerprint for rows in tables}
        assert len(prints) == 4


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Hold five recordings of each of six speakers, the last one for the test."""
    rows = [
        f"{name}{take}.wav\t{take}\t{name}\t{'test' if take == 4 else 'train'}"
        for name in "abcdef"
        for take in range(5)
    ]
    return load_corpus(str(write_table(tmp_path_factory.mktemp("speakers"), *rows)))


WORDS_BY_PART = (("old", "train"), ("old", "valid"), ("new", "valid"), ("new", "test"))
BY = ("speaker", "position")


def remarks_of(corpus: Corpus, **changes: str) -> list[str]:
    return SpeechTask.remarks(build_config(changes), corpus)  # type: ignore[arg-type]


def heard(corpus: Corpus, part: tuple[int, ...]) -> set[str]:
    return {corpus.speakers[n] for n in part}


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("می\u200cروم", True),  # Persian
        ("ක්\u200dෂ", True),  # Sinhala
        ("ന്\u200d", True),  # Malayalam
        ("\u200cyes", False),
        ("yes\u200d", False),
        ("y\u200c\u200ces", False),
        ("y\u200bes", False),
        ("y\x1bes", False),
    ],
)
def test_joiners_in_words_are_spelling(tmp_path: Path, word: str, allowed: bool) -> None:
    folder = write_table(tmp_path, "1.wav\tyes", f"2.wav\t{word}", header="path\twords")
    corpus, problems = check_folder(folder)
    assert corpus
    assert (word in corpus.vocabulary) == allowed
    assert one_line(word) == word or not allowed  # printed as it is
    assert [problem.name for problem in problems] == ([] if allowed else ["2.wav"])


class TestSplit:
    def everything_once(self, corpus: Corpus, split: Split) -> bool:
        return sorted((*split.train, *split.valid, *split.test)) == [*range(len(corpus))]

    def test_by_column_where_there_is_one(self, speakers: Corpus) -> None:
        split = split_corpus(speakers, seed=1)
        assert {speakers.words_of(n) for n in split.test} == {"4"}
        assert len(split.valid) == 4
        assert self.everything_once(speakers, split)

    def test_by_position_if_asked(self, speakers: Corpus) -> None:
        assert split_corpus(speakers, seed=1, split_by="position") == split_corpus(30, seed=1)

    def test_by_speaker_no_part_shares_one(self, speakers: Corpus) -> None:
        split = split_corpus(speakers, seed=1, split_by="speaker", test_speakers="c, e")
        parts = [heard(speakers, part) for part in (split.train, split.valid, split.test)]
        assert parts[2] == {"c", "e"}
        assert sum(map(len, parts)) == 6
        assert self.everything_once(speakers, split)
        other = [split_corpus(speakers, seed=s, split_by="speaker").test for s in (1, 2)]
        assert other[0] == other[1]

    def test_folds_leave_no_speaker_on_both_sides(self, speakers: Corpus) -> None:
        parts = [
            split_corpus(speakers, seed=seed, split_by="speaker", folds=3) for seed in range(3)
        ]
        assert all(heard(speakers, p.valid).isdisjoint(heard(speakers, p.train)) for p in parts)
        validated = [n for part in parts for n in part.valid]
        assert sorted(validated) == sorted({*parts[0].train, *parts[0].valid})
        with pytest.raises(InputError, match="speakers"):
            split_corpus(speakers, seed=0, split_by="speaker", folds=50)

    @pytest.mark.parametrize("path", ["yes/{}/{n}.wav", "{}/0_1-{n}.wav", "0_1-{}-{n}.wav"])
    def test_a_speaker_in_two_forms_of_unicode_is_one(self, tmp_path: Path, path: str) -> None:
        names = [unicodedata.normalize(form, "Jürgen") for form in ("NFC", "NFD")]
        for n, name in enumerate([*names, "Anna", *names, "Anna"]):
            record(tmp_path / path.format(name, n=n), n)
        corpus = load_corpus(str(tmp_path))
        assert {*corpus.speakers} == {names[0], "Anna"}
        for name in names:
            split = split_corpus(corpus, seed=0, split_by="speaker", test_speakers=name)
            assert heard(corpus, split.test) == {names[0]}

    def test_of_few_speakers_validates_on_those_of_training(self, speakers: Corpus) -> None:
        split = split_corpus(speakers, seed=1, split_by="speaker", test_speakers="a,b,c,d")
        assert heard(speakers, split.valid) | heard(speakers, split.train) == {"e", "f"}
        assert len(split.valid) == 2

    @pytest.mark.parametrize(
        ("options", "what"),
        [
            ({"split_by": "speaker", "test_speakers": "zoe"}, "zoe"),
            ({"split_by": "speaker", "test_speakers": "a,b,c,d,e,f"}, "too few"),
        ],
    )
    def test_refuses_speakers_it_cannot_hold_out(
        self, speakers: Corpus, options: dict[str, str], what: str
    ) -> None:
        with pytest.raises(InputError, match=what):
            split_corpus(speakers, seed=0, **options)

    def test_words_that_are_not_in_training_are_named(self, tmp_path: Path) -> None:
        rows = [f"{n}.wav\t{word}\t\t{part}" for n, (word, part) in enumerate(WORDS_BY_PART)]
        corpus = load_corpus(str(write_table(tmp_path, *rows)))
        few = [line for line in remarks_of(corpus) if "in training" in line]
        assert [line for line in few if "'new'" in line and "cannot recognise" in line] == few[:1]
        assert ["'old'" in line and "as few as 1 " in line for line in few] == [False, True]

    def test_recordings_without_a_speaker_are_remarked_on(self, tmp_path: Path) -> None:
        rows = [f"{n}.wav\ta\t{speaker}" for n, speaker in enumerate(["x", "y", "", "x", "y", ""])]
        header = "path\twords\tspeaker"
        corpus = load_corpus(str(write_table(tmp_path, *rows, header=header)))
        said = ["without a speaker: 2" in "\n".join(remarks_of(corpus, split_by=by)) for by in BY]
        assert said == [True, False]

    @pytest.mark.parametrize("folds", [0, 4])
    def test_recordings_without_a_speaker_are_not_a_speaker(
        self, speakers: Corpus, folds: int
    ) -> None:
        known = [name if n % 2 else "" for n, name in enumerate(speakers.speakers)]
        corpus = replace(speakers, speakers=(*known,))
        for seed in range(8):
            split = split_corpus(corpus, seed=seed, split_by="speaker", folds=folds)
            assert "" not in heard(corpus, split.valid) | heard(corpus, split.test)
            assert "" in heard(corpus, split.train)

    @pytest.mark.parametrize(
        ("parts", "empty"), [("train valid train", "test"), ("test test", "train and valid")]
    )
    def test_names_the_parts_that_are_empty(self, tmp_path: Path, parts: str, empty: str) -> None:
        rows = [f"{n}.wav\ta\t\t{part}" for n, part in enumerate(parts.split())]
        corpus = load_corpus(str(write_table(tmp_path, *rows)))
        with pytest.raises(InputError, match=f"{empty};"):
            split_corpus(corpus, seed=0)

    def test_says_where_speakers_are_named(self, tmp_path: Path, small_corpus: Corpus) -> None:
        """The examples of the message are understood."""
        with pytest.raises(InputError) as caught:
            split_corpus(small_corpus, seed=0, split_by="speaker")
        paths = re.findall(r"[\w/-]+\.wav", str(caught.value))
        assert any(path.count("/") == 2 for path in paths)
        for number, path in enumerate(paths):
            record(tmp_path / str(number) / path, number)
            assert load_corpus(str(tmp_path / str(number))).speakers == ("anna",)

    @pytest.mark.parametrize("way", ["speaker", "column"])
    def test_refuses_what_the_corpus_does_not_know(self, small_corpus: Corpus, way: str) -> None:
        with pytest.raises(InputError, match=way):
            split_corpus(small_corpus, seed=0, split_by=way)


class TestSelectPart:
    def checkpoint(self, **settings: object) -> Checkpoint:
        return Checkpoint(build_config(settings), {}, 1, [], False, {})

    def test_agrees_with_the_split_of_training(self, speakers: Corpus, tmp_path: Path) -> None:
        rows = [f"{n}.wav\ta\t\t{part}" for n, part in enumerate(["train", "dev", "test"] * 3)]
        named = load_corpus(str(write_table(tmp_path, *rows)))
        checkpoint = self.checkpoint(seed=3)
        for corpus in (speakers, named):
            split = split_corpus(corpus, seed=3)
            for part in ("train", "valid", "test"):
                assert (*select_part(checkpoint, corpus, part),) == getattr(split, part)

    def test_takes_a_corpus_for_tests_alone(self, tmp_path: Path) -> None:
        folder = write_table(tmp_path, *(f"{n}.wav\ta\t\ttest" for n in range(2)))
        corpus = load_corpus(str(folder))
        assert [*select_part(self.checkpoint(), corpus, "test")] == [0, 1]
        with pytest.raises(InputError, match="--split all"):
            select_part(self.checkpoint(), corpus, "valid")
        assert len(select_part(self.checkpoint(), corpus, "all")) == 2

    @pytest.mark.parametrize("by", ["position", "speaker"])
    def test_the_column_of_another_corpus_counts(self, speakers: Corpus, by: str) -> None:
        own = Checkpoint(
            build_config({"split_by": by, "seed": 3}),
            {"fingerprint": speakers.fingerprint},
            *(1, [], False, {}),
        )
        split = split_corpus(speakers, seed=3, split_by=by)
        assert find_split(own, speakers) == by
        assert (*select_part(own, speakers, "test"),) == split.test
        other = replace(own, corpus={"fingerprint": "f00d"})
        assert find_split(other, speakers) == "column"
        named = [n for n, part in enumerate(speakers.parts) if part == "test"]
        assert [*select_part(other, speakers, "test")] == named
        without = replace(speakers, parts=())
        assert (*select_part(other, without, "test"),) == split.test


class TestLength:
    """CTC needs a position for each word, and a blank between equal neighbours."""

    @pytest.mark.parametrize(
        ("words", "seconds", "enough"),
        [
            (["no"] * 40, 6.11, False),
            (["no"] * 40, 8.0, True),
            (["no", "yes"] * 20, 6.11, True),
            (["no"], 0.13, True),
            (["no"], 0.11, False),
        ],
    )
    def test_a_recording_too_short_for_its_words_is_named(
        self, tmp_path: Path, words: list[str], seconds: float, enough: bool
    ) -> None:
        folder = write_table(tmp_path, "1.wav\tno", header="path\twords")
        record(folder / "2.wav", 7, seconds)
        with (folder / "transcripts.tsv").open("a") as table:
            table.write(f"2.wav\t{' '.join(words)}\n")
        assert [*problems_of(folder)] == ([] if enough else ["2.wav"])

    def test_what_passes_can_be_trained_at_every_speed(self, tmp_path: Path) -> None:
        for take in range(10):
            record(tmp_path / ("no " * 20).strip() / f"{take}.wav", take, 3.71)
        corpus, problems = check_folder(tmp_path)
        assert corpus
        assert not problems
        record(tmp_path / ("no " * 20).strip() / "short.wav", 11, 3.6)
        assert len(problems_of(tmp_path)) == 1
        config = build_config(
            {
                **{"epochs": 1, "hidden_units": 4, "batch_size": 4, "valid_noise": False},
                **{"min_examples": 1, "augment_scenes": 0.0, "augment_speed": 0.3},
            }
        )
        (trained,) = fit(config, corpus)
        assert np.isfinite(trained.metrics["train_loss"])


def test_ctc_counts_no_example_that_is_too_short() -> None:
    """An infinite loss of another kind is not hidden."""
    features = torch.zeros(28, 8)
    flat_PC = no_alignment(features)
    short = Example(features, (0,) * len(flat_PC), flat_PC)
    logp_BPC = torch.full((1, len(flat_PC), 3), 1 / 3).log()
    batch = collate([short], torch.float32, torch.device("cpu"))
    assert not batch.fits
    assert ctc_loss(logp_BPC, batch) == 0
    good = collate([short._replace(words=(0, 1))], torch.float32, torch.device("cpu"))
    assert good.fits
    logp_BPC[..., 1] = -np.inf
    assert ctc_loss(logp_BPC, good) == np.inf


class TestRelabel:
    def test_keeps_the_words(self, speakers: Corpus) -> None:
        words = ("x", *reversed(speakers.vocabulary))
        assert spoken(speakers.relabel(words)) == spoken(speakers)

    def test_words_that_do_not_occur_do_not_matter(self, tmp_path: Path) -> None:
        rows = [f"{number}.wav\tyes" for number in range(50)]
        corpus = load_corpus(str(write_table(tmp_path, *rows, header="path\twords")))
        assert {*spoken(corpus.relabel(("stop", "yes"))).values()} == {"yes"}
        remarks = "\n".join(SpeechTask.remarks(build_config({}), corpus))
        assert "'no'" not in remarks
        with pytest.raises(InputError, match="'yes'"):
            corpus.relabel(("no", "stop"))

    def test_a_word_that_is_missing_in_training_is_named(self, tmp_path: Path) -> None:
        rows = [
            f"{n}.wav\t{'yes' if n % 3 else 'no'}\t\t{('test', 'train')[n % 3 > 0]}"
            for n in range(9)
        ]
        corpus = load_corpus(str(write_table(tmp_path, *rows)))
        assert any("'no'" in line for line in SpeechTask.remarks(build_config({}), corpus))

    def test_refuses_words_that_are_not_known(self, speakers: Corpus) -> None:
        with pytest.raises(InputError, match="'4'"):
            speakers.relabel(("0", "1", "2", "3"))


class TestCheck:
    def test_shows_layout_words_speakers_and_parts(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        rows = [f"{n}.wav\t{n % 2}\tspk{n % 3}\t{'test' if n > 6 else 'train'}" for n in range(9)]
        folder = write_table(tmp_path, *rows)
        assert main(["corpus", "check", str(folder)]) == 0
        printed = capfd.readouterr().out
        for text in ("transcripts.tsv", "words: 2: 0 5, 1 4", "spk0 3", "6 train, 1 valid, 2 test"):
            assert text in printed

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_agrees_with_training_on_what_is_enough(self, tmp_path: Path, count: int) -> None:
        for number in range(count):
            record(tmp_path / f"0_1-{number}.wav", number)
        config = build_config({})
        try:
            SpeechTask.load_data(str(tmp_path), config=config)
            trains = True
        except InputError:
            trains = False
        assert main(["corpus", "check", str(tmp_path)]) == (0 if trains else 2)
        assert trains == (count == 3)

    def test_splits_as_the_settings_say(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        rows = [f"{n}.wav\t{n % 2}\tspk{n % 3}" for n in range(9)]
        folder = write_table(tmp_path, *rows, header="path\twords\tspeaker")
        command = ["corpus", "check", str(folder), "--set", "split_by=speaker"]
        assert main([*command, "--set", "test_speakers=spk1"]) == 0
        assert "3 test" in capfd.readouterr().out
        assert main([*command, "--set", "test_speakers=nobody"]) == 2

    def test_show_prints_the_name_and_the_words(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        folder = write_table(tmp_path, "a.wav\teins zwei", "b.wav\tdrei", header="path\twords")
        assert main(["corpus", "show", "0", str(folder)]) == 0
        assert "a.wav: eins zwei" in capfd.readouterr().out


def test_the_example_writes_a_table_of_spoken_digits(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "scripts" / "examples" / "spoken_digits.py"
    for number, name in enumerate(["0_anna_0", "7_anna_5", "0_ben_11"]):
        record(tmp_path / "recordings" / f"{name}.wav", number)
    runpy.run_path(str(path))["write_table"](tmp_path, tmp_path / "out")
    corpus = load_corpus(str(tmp_path / "out"))
    assert corpus.vocabulary == ("seven", "zero")
    about = zip(corpus.speakers, corpus.parts, map(corpus.words_of, range(3)), strict=True)
    assert sorted(about) == [
        ("anna", "test", "zero"),
        ("anna", "train", "seven"),
        ("ben", "train", "zero"),
    ]


def test_the_example_reads_digits_alone_and_in_strings(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[2] / "scripts" / "examples" / "spoken_digits.py"
    for take in range(8):
        for digit in range(2):
            file = tmp_path / "recordings" / f"{digit}_anna_{take}.wav"
            record(file, 2 * take + digit)
    settings = ("epochs=1", "min_examples=1", "max_examples=4", "hidden_units=4", "valid_noise=no")
    example = runpy.run_path(str(path))
    example["main"](str(tmp_path / "recordings"), str(tmp_path / "out"), *settings)
    printed = capfd.readouterr().out
    assert "zero   " in printed
    assert "connected" in printed
    recognizer = Recognizer.load(tmp_path / "out" / "checkpoint")
    strings = example["read_strings"](recognizer, load_corpus(str(tmp_path / "out")), 3)
    assert [len(string.reference) for string in strings] == [3, 3, 3]
