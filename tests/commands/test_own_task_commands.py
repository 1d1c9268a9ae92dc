"""Commands that name a task of the user's own: ``evaluate``, ``doctor``, ``train``."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Ended
from helpers.own_task import TASK

from raytune_yesno.config import build_config, find_task
from raytune_yesno.errors import UnfinishedError
from raytune_yesno.task_registry import TASKS
from raytune_yesno.training.evaluate import run_test
from raytune_yesno.training.loop import fit
from raytune_yesno.user_code import stopped_by_errors


@pytest.fixture
def task(tmp_path: Path) -> str:
    (tmp_path / "own_line.py").write_text(TASK)
    name = f"{tmp_path / 'own_line.py'}:"
    for each in ("Line", "Tested"):
        TASKS.trust(f"{name}{each}")
        (record,) = fit(build_config({"task": f"{name}{each}", "epochs": 1}), None)
        record.save(tmp_path / each)
    return name


def test_evaluate_shows_what_the_task_measures(
    task: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = run("evaluate", str(tmp_path / "Line"), "--task", f"{task}Line", "--json")
    assert ended.json["split"] == "valid"
    assert ended.json["metrics"].keys() == {"loss"}
    ended = run("evaluate", str(tmp_path / "Tested"), "--task", f"{task}Tested", "--json")
    assert ended.json["metrics"] == {"score": 0.25, "by_word": [3]}
    assert "score 0.25" in ended.err


def test_a_checkpoint_of_another_task_is_named(
    task: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    for words in (["evaluate"], ["export"], ["evaluate", "--task", f"{task}Tested"]):
        ended = run(words[0], str(tmp_path / "Line"), *words[1:])
        assert ended.code == 2
        assert "own_line.py:Line" in ended.err
        assert len(ended.err.splitlines()) == 1


def test_doctor_checks_the_task(task: str, run: Callable[..., Ended]) -> None:
    checks = run("doctor", "--task", f"{task}Line", "--json").json["checks"]
    (check,) = (check for check in checks if check["name"] == "task")
    assert check["status"] == "ok"
    assert "loss" in check["said"]
    checks = run("doctor", "--task", f"{task}Nothing", "--json").json["checks"]
    (check,) = (check for check in checks if check["name"] == "task")
    assert check["status"] == "problem"


def test_the_keys_of_a_task_are_listed(task: str, run: Callable[..., Ended]) -> None:
    keys = run("train", "--help-config", "--task", f"{task}broken").out
    assert "epochs" in keys
    assert "optimizer" not in keys


def test_an_error_in_training_has_the_users_lines(
    task: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    words = ("--task", f"{task}broken", "--out", str(tmp_path / "run"), "--num-workers", "0")
    ended = run("train", *words)
    assert ended.code == 1
    assert "KeyError" in ended.err
    assert 'return {"loss": config["missing"]}' in ended.err
    assert "--resume" in ended.err


def test_a_run_that_trained_nothing_is_begun_with_other_settings(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        "def f(config):\n    return {'accuracy': config.get('x', 1)}\n"
    )
    words = ("train", "--task", f"{tmp_path}/own.py:f", "--mode", "max", "--num-workers", "0")
    words = (*words, "--out", str(tmp_path / "run"))
    assert run(*words, "--metric", "precision").code == 2
    assert run(*words, "--metric", "accuracy", "--set", "x=2").code == 0


def test_a_test_that_cannot_be_recorded_is_named(task: str, tmp_path: Path) -> None:
    checkpoint: Any = None
    declared = replace(find_task("sine"), test=lambda checkpoint, data: {"score": object()})
    with pytest.raises(ValueError, match=r"test .* object"), stopped_by_errors("it"):
        run_test(declared, checkpoint, None)

    def fail(checkpoint: object, data: object) -> object:
        raise KeyError("part")

    with pytest.raises(UnfinishedError, match="KeyError"), stopped_by_errors("it"):
        run_test(replace(declared, test=fail), checkpoint, None)


def test_a_missing_checkpoint_is_named_with_a_hint(
    task: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "Line").rename(tmp_path / "run" / "best")
    for words in (["evaluate", "--task", f"{task}Line"], ["evaluate"], ["export"]):
        ended = run(words[0], str(tmp_path / "run"), *words[1:])
        assert ended.code == 2
        assert "no checkpoint" in ended.err
        assert str(tmp_path / "run" / "best") in ended.err
    description = tmp_path / "run" / "best" / "checkpoint.json"
    description.write_text(description.read_text()[:-9])
    for words in (["evaluate", "--task", f"{task}Line"], ["evaluate"]):
        ended = run(words[0], str(tmp_path / "run" / "best"), *words[1:])
        assert ended.code == 2
        assert "damaged" in ended.err
