"""Errors and files name what the user knows: the URI, the study, what to give instead."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.builders import write_study

from raytune_yesno import cli
from raytune_yesno.commands.init import write_study_file
from raytune_yesno.commands.next_steps import suggest_next
from raytune_yesno.commands.output_folders import advise_on_others
from raytune_yesno.commands.recognize import name_model
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE, StudyStore


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
    assert name_model(Path("/", checkpoint)) == name


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


def write_begun(folder: Path, *, points: int = 0, failed: int = 1, **asked: Any) -> Study:
    """Write a finished study of four trials, the first of which failed."""
    space = {"learning_rate": {"float": [1e-4, 1e-1]}}
    options = {"points": [{"learning_rate": 0.01 * n} for n in range(1, points + 1)]}
    begun: dict[str, Any] = {"config": {"task": "sine"}, "space": space, "data": "", "trials": 4}
    begun |= {"search": "random", "search_options": options if points else {}}
    begun |= {"scheduler": "fifo", "scheduler_options": {}} | asked
    store = StudyStore(folder)
    store.append("study", format=1, slots=1, corpus={}, versions={}, **begun)
    for number in range(4):
        rate = {"learning_rate": 0.01 * (number + 1)}
        store.append("asked", trial=number, point=rate)
        store.append("started", trial=number, attempt=1)
        status = "failed" if number < failed else "done"
        store.append("ended", trial=number, status=status, **({"error": "x"} if not number else {}))
    store.append("searched")
    return load(folder)


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        ({}, ["--retry", "--add-trials"]),
        ({"search": "manual", "points": 4}, ["--retry"]),
        ({"search": "grid", "failed": 0, "search_options": {"levels": 4}}, []),
        ({"scheduler": "pbt"}, ["--add-trials"]),
    ],
)
def test_only_commands_that_are_carried_out_are_suggested(
    asked: dict[str, Any], flags: list[str], tmp_path: Path
) -> None:
    study = write_begun(tmp_path, **asked)
    lines = [line for line in suggest_next(study, {}, str(tmp_path)) if " tune " in line]
    assert [line.split()[4] for line in lines] == flags


def test_a_failed_trial_outside_a_changed_space_is_not_suggested_to_be_retried(
    tmp_path: Path,
) -> None:
    write_begun(tmp_path)
    space = {"learning_rate": {"float": [0.02, 0.1]}}
    StudyStore(tmp_path).append("resumed", slots=1, trials=4, space=space)
    StudyStore(tmp_path).append("searched")
    study = load(tmp_path)
    assert study.trial_list[0].outside
    assert not any("--retry" in line for line in suggest_next(study, {}, str(tmp_path)))


def test_advice_names_a_task_of_the_users_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_begun(tmp_path, config={"task": "own.py:Net"}, metrics=[{"name": "loss"}])
    assert "--task own.py:Net" in read_error(capsys, "study", str(tmp_path), "stop", "search")
    assert "--task own.py:Net" in advise_on_others("train", "runs/a", "own.py:Net")
    assert "--task" not in advise_on_others("train", "runs/a", "sine")
