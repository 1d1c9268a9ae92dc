"""Commands that name a task: of other work, without data, with data that cannot be used."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import write_study
from helpers.commands import Ended
from helpers.own_task import TASK

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, UnfinishedError
from raytune_yesno.study.store import StudyStore
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.task import check_same_data, describe_data, load_data
from raytune_yesno.training.loop import fit

READING = """
from pathlib import Path
from types import SimpleNamespace

class Reads(Line):
    found = None

    @classmethod
    def load_data(cls, source, **_):
        return cls.found

class Raises(Reads):
    @classmethod
    def load_data(cls, source, **_):
        return {"x": 1}[source]

class Dict(Reads):
    found = {"x": torch.zeros(3)}

class Pair(Reads):
    found = (torch.zeros(3), torch.zeros(3))

class Frame(Reads):
    class found:
        source = "a table"

class Method(Reads):
    class found:
        source = "a table"
        def fingerprint(self):
            return "f00d"

class Plain(Reads):
    class found:
        source = Path("a table")
        fingerprint = 12

class Empty(Reads):
    found = type("Empty", (), {"source": "none", "fingerprint": "f", "__len__": lambda self: 0})()

def walk(config, checkpoint=None):
    yield {"loss": config["rate"]}, 1
"""
WITHOUT_WORKERS = ("--num-workers", "0", "--epochs", "1")


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own_data.py").write_text(TASK + READING)
    name = f"{tmp_path / 'own_data.py'}:"
    for each in ("Raises", "Dict", "Pair", "Frame", "Method", "Plain", "Empty", "Line", "walk"):
        TASKS.trust(f"{name}{each}")
    return name


def test_an_error_in_reading_the_data_has_the_users_lines(
    own: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "run"))
    ended = run("train", "--task", f"{own}Raises", *out, "--data", "y", *WITHOUT_WORKERS)
    assert ended.code == 1
    assert "KeyError: 'y'" in ended.err
    assert 'return {"x": 1}[source]' in ended.err
    with pytest.raises(UnfinishedError, match="KeyError"):
        load_data(build_config({"task": f"{own}Raises"}), "y")
    (check,) = (
        check
        for check in run("doctor", "--task", f"{own}Raises", "--json").json["checks"]
        if check["name"] == "task"
    )
    assert "KeyError" in check["said"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Dict", "dict without source"),
        ("Pair", "tuple without source"),
        ("Frame", "type without fingerprint"),
        ("Method", "type whose fingerprint is a function, not text"),
    ],
)
def test_data_without_the_required_texts_are_named(name: str, says: str, own: str) -> None:
    with pytest.raises(InputError, match=f"load_data returned a {says}"):
        load_data(build_config({"task": f"{own}{name}"}), "x")


def test_paths_and_numbers_are_recorded_as_text(own: str) -> None:
    data = load_data(build_config({"task": f"{own}Plain"}), "x")
    recorded = describe_data(data)
    assert [recorded["source"], recorded["fingerprint"]] == ["a table", "12"]
    check_same_data(data, recorded, "this run")


def test_data_may_be_empty(own: str) -> None:
    data = load_data(build_config({"task": f"{own}Empty"}), "x")
    assert describe_data(data)["fingerprint"] == "f"
    with pytest.raises(InputError, match="give the same data"):
        check_same_data(data, {"fingerprint": "other", "source": "x"}, "this run")


def test_a_study_of_another_task_is_named(
    own: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    write_study(tmp_path / "study")
    for words in (("--resume", str(tmp_path / "study"), "--add-trials", "1"),
                  ("--replay", str(tmp_path / "study"), "0")):  # fmt: skip
        ended = run("tune", *words, "--task", f"{own}Line")
        assert ended.code == 2
        assert "is of the task yesno" in ended.err


def test_a_resumed_run_keeps_the_keys_of_its_function(
    own: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    task, out = ("--task", f"{own}walk"), str(tmp_path / "run")
    words = ("--metric", "loss", "--set", "rate=0.5", *WITHOUT_WORKERS)
    assert run("train", *task, *words, "--out", out).code == 0
    ended = run("train", "--resume", out, *task, "--set", "rate=0.4")
    assert ended.code == 2
    assert "rate: a resumed run keeps its config" in ended.err
    ended = run("train", "--resume", out, "--task", f"{own}Line")
    assert "is of the task" in ended.err
    assert run("train", "--resume", out, *task, "--epochs", "1").code == 0
    ended = run("tune", "--resume", out, *task, "--set", "rate=0.4")
    assert "--set: --resume uses the original settings" in ended.err
    ended = run("evaluate", f"{out}/best", *task)
    assert ended.code == 2
    assert "function" in ended.err


def test_a_resumed_run_has_the_keys_of_its_task(run: Callable[..., Ended], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert run("train", "--task", "sine", *WITHOUT_WORKERS, "--out", out).code == 0
    ended = run("train", "--resume", out, "--set", "model=cnn")
    assert "model" in ended.err
    ended = run("train", "--resume", out, "--set", "learning_rate=1e-5")
    assert "learning_rate: a resumed run keeps its config" in ended.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("init", "a.yaml", "--task", "sine", "--data", "x"), 2),
        (("init", "a.yaml", "--task", "sine"), 0),
        (("evaluate", "line", "--task", "{own}Line", "--data", "x"), 2),
        (("evaluate", "line", "--task", "{own}Line", "--skip-bad"), 2),
        (("doctor", "--task", "{own}Line", "--data", "x"), 1),
    ],
)
def test_data_for_a_task_without_data_are_refused(
    words: tuple[str, ...],
    code: int,
    own: str,
    run: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (record,) = fit(build_config({"task": f"{own}Line", "epochs": 1}), None)
    record.save(tmp_path / "line")
    ended = run(*(word.format(own=own) for word in words))
    assert ended.code == code
    assert ("reads no data" in ended.out + ended.err) == bool(code)


@pytest.mark.parametrize("words", [("--set", "task=sine"), ("--config", "s.yaml")])
def test_the_keys_of_the_named_task_are_listed(
    words: tuple[str, ...],
    run: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("config: {task: sine}")
    assert (
        run("train", *words, "--help-config").out
        == run("train", "--task", "sine", "--help-config").out
    )


def test_an_option_that_looks_like_a_number_is_enqueued_as_text(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    space = {"revision": {"choice": ["1e3", "2e5"]}}
    settings = {"search": "random", "search_options": {}, "scheduler": "fifo", "trials": 4}
    settings |= {"scheduler_options": {}, "data": "", "corpus": {}, "versions": {}, "slots": 1}
    StudyStore(tmp_path / "study").append("study", format=1, config={}, space=space, **settings)
    ended = run("study", str(tmp_path / "study"), "enqueue", "revision=2e5", "--json")
    assert ended.json["point"]["revision"] == "2e5"
