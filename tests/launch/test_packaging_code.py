"""The user's own code in a launched command."""

from pathlib import Path

import pytest

from raytune_yesno.errors import InputError
from raytune_yesno.launch.packaging import gather_inputs


def test_a_task_is_sent_with_the_modules_beside_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "parts").mkdir(parents=True)
    (mine / "task.py").write_text("import json\nfrom beside import x\nimport parts.deep as deep\n")
    (mine / "beside.py").write_text("import further\n")
    (mine / "further.py").write_text("")
    (mine / "parts" / "deep.py").write_text("")
    (mine / "unrelated.py").write_text("")
    sent = tmp_path / "sent"
    words = gather_inputs(["tune", "--task", f"{mine / 'task.py'}:Mine"], sent)
    assert words == ["tune", "--task", "task/task.py:Mine"]
    found = {str(path.relative_to(sent / "task")) for path in sent.rglob("*.py")}
    assert found == {"task.py", "beside.py", "further.py", "parts/deep.py"}


@pytest.mark.parametrize("linked", ["task.py", "beside.py", "parts"])
def test_links_are_sent_as_files(linked: str, tmp_path: Path) -> None:
    mine, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    for folder in (mine, elsewhere):
        (folder / "parts").mkdir(parents=True)
        (folder / "task.py").write_text("import beside\nimport parts.deep\n")
        (folder / "beside.py").write_text(f"# {folder.name}\n")
        (folder / "parts" / "deep.py").write_text("")
    if (mine / linked).is_dir():
        (mine / linked / "deep.py").unlink()
        (mine / linked).rmdir()
    else:
        (mine / linked).unlink()
    (mine / linked).symlink_to(elsewhere / linked)
    sent = tmp_path / "sent"
    words = gather_inputs(["tune", "--task", f"{mine / 'task.py'}:Mine"], sent)
    assert words == ["tune", "--task", "task/task.py:Mine"]
    found = {str(path.relative_to(sent / "task")) for path in sent.rglob("*.py")}
    assert found == {"task.py", "beside.py", "parts/deep.py"}
    # The task of a link is imported from where the link leads.
    assert (sent / "task/beside.py").read_text() == (
        "# mine\n" if linked == "parts" else "# elsewhere\n"
    )


def test_names_that_are_no_file_stay(tmp_path: Path) -> None:
    for task in ("sine", "package.module:Name"):
        assert gather_inputs([f"--task={task}"], tmp_path / "sent") == [f"--task={task}"]
    with pytest.raises(InputError, match=r"none\.py"):
        gather_inputs(["tune", "--task", "none.py:Name"], tmp_path / "sent")


def test_a_package_of_the_users_own_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "here" / "own_launched"
    (package / "parts").mkdir(parents=True)
    for name in ("__init__.py", "task.py", "parts/deep.py", "data.csv"):
        (package / name).write_text("")
    monkeypatch.syspath_prepend(str(package.parent))
    sent = tmp_path / "sent"
    task = ["--task", "own_launched.task:Mine"]
    assert gather_inputs(task, sent) == task
    found = {str(path.relative_to(sent)) for path in sent.rglob("*.*")}
    names = ("__init__.py", "task.py", "parts/deep.py")
    assert found == {f"own_launched/{name}" for name in names}


def test_data_of_a_task_may_be_a_file_or_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numbers.txt").write_text("1 2")
    sent = tmp_path / "sent"
    words = gather_inputs(["tune", "--data", str(tmp_path / "numbers.txt")], sent)
    assert words[2] == "data/numbers.txt"
    assert (sent / words[2]).read_text() == "1 2"
    sub = tmp_path / "folder" / "sub"
    sub.mkdir(parents=True)
    (tmp_path / "folder/numbers.txt").write_text("3")
    monkeypatch.chdir(sub)
    words = gather_inputs(["tune", "--data", ".."], sent)
    assert words[2] == "data/folder"
    assert (sent / "data/folder/numbers.txt").read_text() == "3"
    for name in ("synthetic:10", "s3://bucket/numbers.txt"):
        assert gather_inputs(["tune", "--data", name], sent) == ["tune", "--data", name]
