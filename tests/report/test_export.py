"""Exports: each format gives back the recorded values."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.builders import write_study
from pyarrow import parquet

from raytune_yesno import cli
from raytune_yesno.report.export import format_markdown, write_table
from raytune_yesno.study import Study
from raytune_yesno.study.store import StudyStore

ROWS: list[dict[str, Any]] = [
    {"trial": 0, "loss": 0.5, "best": 3, "flag": True, "list": [8, 16], "mixed": "none",
     "map": {"a": [1]}, "error": None},
    {"trial": 1, "loss": None, "best": None, "flag": None, "list": [16, 32, 64], "mixed": 2,
     "map": {}, "error": None},
    {"trial": 2, "loss": float("nan"), "best": 1, "flag": False, "list": None, "mixed": [1, "x"],
     "map": None, "error": None, "late": "a | b\n<i>"},
]  # fmt: skip


def test_parquet_keeps_types(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "trial": "int64", "loss": "double", "best": "int64", "flag": "bool", "list":
        "list<element: int64>", "mixed": "string", "map": "string", "error": "string",
        "late": "string",
    }  # fmt: skip
    as_json = {f.name for f in table.schema if (f.metadata or {}).get(b"encoding") == b"json"}
    assert as_json == {"mixed", "map"}
    for row, read in zip(ROWS, table.to_pylist(), strict=True):
        for name in as_json:
            read[name] = None if read[name] is None else json.loads(read[name])
        expected = {name: row.get(name) for name in types}
        if expected["trial"] == 2:
            expected["loss"] = None
        assert read == expected


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "t.json")
    read = json.loads((tmp_path / "t.json").read_text(), parse_constant=pytest.fail)
    assert read[1] == {**ROWS[1], "late": None}
    assert read[2]["loss"] is None
    assert len(pd.read_json(tmp_path / "t.json")) == 3


def test_csv_holds_the_same(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["best"] for row in read] == ["3", "", "1"]
    assert read[0]["list"] == "[8, 16]"
    assert read[2]["late"] == r"a | b\n<i>"


HOSTILE = ["=1+1", "+1", "-2+3", "@SUM(A1)", "\uff1d1", " =1", "\x1b[31mred", "a\nb\r", "\u202egpj"]


def test_csv_is_safe_for_spreadsheets_and_terminals(tmp_path: Path) -> None:
    rows = [{"trial": -1, "loss": -0.5, "text": text, "=A1": None} for text in HOSTILE]
    for suffix in (".csv", ".json", ".parquet", ".md"):
        write_table(rows, tmp_path / f"t{suffix}")
    text = (tmp_path / "t.csv").read_text()
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == 1 + len(rows)
    with (tmp_path / "t.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["text"] for row in read[:6]] == [f"'{text}" for text in HOSTILE[:6]]
    assert read[6]["text"] == r"\x1b[31mred"
    assert list(read[0]) == ["trial", "loss", "text", "'=A1"]
    assert (read[0]["trial"], read[0]["loss"]) == ("-1", "-0.5")  # numbers stay numbers
    # Formats that no program executes keep the value.
    assert [row["text"] for row in json.loads((tmp_path / "t.json").read_text())] == HOSTILE
    assert parquet.read_table(tmp_path / "t.parquet").column("text").to_pylist() == HOSTILE
    assert all(line.isprintable() for line in (tmp_path / "t.md").read_text().splitlines())


def test_markdown_keeps_its_columns(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "t.md")
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert len(lines) == 5
    assert lines[4].endswith(r"|  | a \| b &lt;i> |")
    assert format_markdown(["x"], [[1 / 3]]).splitlines()[2] == "| 0.3333 |"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json", ".md"])
def test_an_empty_study_has_tables(tmp_path: Path, suffix: str) -> None:
    StudyStore(tmp_path).append("study", time=0.0)
    files = [str(tmp_path / f"t{suffix}"), str(tmp_path / f"e{suffix}")]
    assert (
        cli.main(["report", str(tmp_path), "--export", files[0], "--export-epochs", files[1]]) == 0
    )
    assert all(Path(file).is_file() for file in files)
    if suffix == ".csv":
        trials, epochs = (Path(file).read_text().split(",") for file in files)
        assert "status" in trials
        assert "pid" in epochs


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = tmp_path_factory.mktemp("export")
    return [write_study(folder / "a", 6), write_study(folder / "b", 4, seed=1)]


def test_the_command_writes_all_formats(
    studies: list[Study], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trials = [str(tmp_path / f"new/trials{suffix}") for suffix in (".csv", ".parquet", ".JSON")]
    epochs = str(tmp_path / "epochs.parquet")
    words = ["report", *(str(study.path) for study in studies), "--out", str(tmp_path), "--json"]
    words += [word for file in trials for word in ("--export", file)]
    assert cli.main([*words, "--export-epochs", epochs]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["exports"] == [*trials, epochs]
    rows = json.loads(Path(trials[2]).read_text())
    table = pd.read_parquet(trials[1])
    assert [row["study"] for row in rows] == ["a"] * 6 + ["b"] * 4 == table["study"].tolist()
    first = studies[0].trial_list[0]
    assert rows[0]["config.learning_rate"] == first.point["learning_rate"]
    assert table["config.channels"][0].tolist() == first.point["channels"]
    assert table["best_epoch"].dtype == "int64"
    assert len(pd.read_parquet(epochs)) == sum(len(study.epochs) for study in studies)


def test_an_unknown_format_or_folder_is_refused(
    studies: list[Study], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = ["report", str(studies[0].path), "--out", str(tmp_path / "out"), "--export"]
    assert cli.main([*words, "trials.xlsx"]) == 2
    assert ".csv, .parquet, .json, .md" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.main([*words, str(tmp_path / "file/t.csv")]) == 2
    assert "cannot be written" in capfd.readouterr().err
