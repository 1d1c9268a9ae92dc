"""Errors and files name what the user knows: the URI, the study, what to give instead."""

import json
from pathlib import Path

import pytest
import yaml
from helpers.builders import write_study

from raytune_yesno import cli
from raytune_yesno.commands.init import write_study_file
from raytune_yesno.commands.recognize import _name_model
from raytune_yesno.study.store import STORE


def read_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(list(words)) == 2
    *_, line = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("command", [("report",), ("tune", "--resume"), ("study",)])
def test_a_damaged_record_is_named_by_its_uri(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / STORE).write_text('{"event": "nothing"}\n')
    uri = f"file://{tmp_path}"
    more = ("status",) if command == ("study",) else ()
    assert f" {uri}/{STORE}: " in read_error(capsys, *command, uri, *more)


def test_the_result_of_a_report_names_a_study_by_its_uri(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "study")
    uri = f"file://{tmp_path}/study"
    assert cli.main(["report", uri, "--json", "--out", str(tmp_path / "report")]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["studies"] == [uri]
    assert result["best"]["study"] == uri


def test_a_dry_run_refuses_what_the_run_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    line = read_error(capsys, "tune", "--dry-run", "--fresh", "--out", "s3://bucket/study")
    assert "--fresh" in line


def test_a_missing_corpus_is_answered_with_what_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "synthetic" in read_error(capsys, "corpus", "check", "nope")


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [("s/first/refit/last", "first"), ("runs/a/best", "a"), ("models/mine", "mine")],
)
def test_an_exported_model_is_named_by_its_study_or_run(checkpoint: str, name: str) -> None:
    assert _name_model(Path("/", checkpoint)) == name


def test_a_study_file_shows_every_setting_in_a_form_that_is_valid(tmp_path: Path) -> None:
    text = write_study_file("sine", "yesno", "study.yaml")
    used = [line.removeprefix("# ") for line in text.splitlines()[2:]]
    settings = yaml.safe_load("\n".join(used))
    assert {"points", "repeats", "final_round", "keep_checkpoints"} <= settings.keys()
    del settings["time_budget"]  # excludes ordered
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(settings))
    assert cli.main(["tune", "--config", str(file), "--dry-run"]) == 0


def test_a_study_file_of_a_function_asks_for_the_metric_that_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bare.py").write_text(
        "from raytune_yesno.space import Float\n"
        "def objective(config):\n"
        "    return {'loss': config['x']}\n"
        "objective.space = {'x': Float(0, 1)}\n"
    )
    words = ["tune", "--task", "bare.py:objective", "--config", "study.yaml", "--dry-run"]
    assert cli.main(["init", "study.yaml", "--task", "bare.py:objective"]) == 0
    assert "metric" in capfd.readouterr().out
    assert cli.main(words) == 2
    assert "metric" in capfd.readouterr().err
    file = Path("study.yaml")
    file.write_text(file.read_text().replace('metric: "" ', "metric: loss "))
    assert cli.main(words) == 0
