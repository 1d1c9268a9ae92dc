"""What is said of an output folder that cannot be used."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import Ended

from raytune_yesno.commands.output_folders import check_new_folder
from raytune_yesno.errors import InputError


@pytest.mark.parametrize(
    ("record", "command"), [("study.jsonl", "tune"), ("settings.yaml", "train"), ("a.txt", "")]
)
@pytest.mark.parametrize("given", ["study.jsonl", "settings.yaml"])
def test_the_command_that_continues_other_work_is_named(
    record: str, command: str, given: str, tmp_path: Path
) -> None:
    (tmp_path / "other").touch()
    (tmp_path / record).write_text("{}\n")
    with pytest.raises(InputError) as refused:
        check_new_folder(str(tmp_path), given)
    assert "new or empty folder" in str(refused.value)
    resumed = f"raytune-yesno {command} --resume {tmp_path}" if command else "--resume"
    assert (resumed in str(refused.value)) == bool(command)


@pytest.mark.parametrize(
    ("record", "text", "command"),
    [
        ("study.jsonl", '{"event": "study", "time": 1.0, "config": {"task": "%s"}}\n', "tune"),
        ("settings.yaml", "config: {task: '%s'}\n", "train"),
    ],
)
@pytest.mark.parametrize(("task", "option"), [("a b.py:f", "--task 'a b.py:f'"), ("sine", "")])
def test_the_command_names_a_task_of_the_users_own(
    record: str, text: str, command: str, task: str, option: str, tmp_path: Path
) -> None:
    (tmp_path / record).write_text(text % task)
    with pytest.raises(InputError) as refused:
        check_new_folder(str(tmp_path), "other")
    resumed = f"raytune-yesno {command} --resume {tmp_path} {option}".rstrip()
    assert str(refused.value).endswith(resumed)


def test_a_folder_without_work_is_not_resumed(run: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    ended = run("train", "--task", "sine", "--num-workers", "0", "--out", str(tmp_path))
    assert ended.code == 2
    assert "new or empty folder" in ended.err
    assert "--resume" not in ended.err
