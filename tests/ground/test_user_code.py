"""The user's own code: its digest, and what is sent to workers that have no file of it."""

import functools
import importlib
import linecache
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from examples.digits import Digits
from ray import cloudpickle

from raytune_yesno.config import EngineConfig, build_config, declare_task, register_task
from raytune_yesno.errors import InputError
from raytune_yesno.space import Float
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tuning.ranks import seal
from raytune_yesno.user_code import Code, describe_error, gather_sources, import_file

Write = Callable[..., types.ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write files of a folder on the path, and import the module ``own_main`` from there."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if name.startswith("own_"):
                del sys.modules[name]

    def import_main(name: str = "own_main", **texts: str) -> types.ModuleType:
        for path, text in texts.items():
            file = tmp_path / (path.replace("__", "/") + ".py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        forget()
        importlib.invalidate_caches()
        return importlib.import_module(name)

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield import_main
    forget()


def digest(value: Any) -> str:
    return Code("test", value=value).digest


FUNCTION = """
import own_helpers
def unused(): return 1
def scale(x): return 2 * x
class Model:
    def fit(self): return scale(1)
def objective(config): return {"loss": Model().fit() + own_helpers.add(1)}
"""
HELPERS = "def add(x): return x + 1\n"


class TestDigest:
    @pytest.mark.parametrize("wrap", [lambda each: each, functools.partial, lambda each: (each,)])
    def test_is_of_what_the_object_uses(self, write: Write, wrap: Any) -> None:
        def take(text: str, helpers: str = HELPERS) -> str:
            return digest(wrap(write(own_main=text, own_helpers=helpers).objective))

        first = take(FUNCTION)
        assert take(FUNCTION.replace("return 1", "return 9")) == first  # not used
        assert take(FUNCTION.replace("2 * x", "3 * x")) != first
        assert take(FUNCTION.replace("scale(1)", "scale(4)")) != first
        assert take(FUNCTION, HELPERS.replace("+ 1", "+ 2")) != first

    def test_of_a_class_is_of_its_methods(self, write: Write) -> None:
        first = digest(write(own_main=FUNCTION, own_helpers=HELPERS).Model)
        changed = FUNCTION.replace("scale(1)", "scale(4)")
        assert digest(write(own_main=changed, own_helpers=HELPERS).Model) != first

    def test_is_found_whatever_objects_the_code_uses(self, write: Write) -> None:
        used = "class Keys(dict):\n    __getattr__ = dict.__getitem__\nKEYS = Keys(rate=1)\n"
        text = used + "class Task:\n    keys = KEYS\n    def fit(self): return KEYS.rate\n"
        module = write(own_main=text + "def objective(config): return KEYS.rate + Task().fit()\n")
        assert digest(module.objective) != digest(module.Task)

    def test_of_code_that_was_typed(self) -> None:
        def take(name: str) -> str:
            found: dict[str, Any] = {}
            text = f"def f(config):\n    def inner(): return math.{name}(1)\n    return inner()"
            exec(text, found)
            return digest(found["f"])

        assert take("sin") == take("sin")
        assert take("sin") != take("cos")


def run_elsewhere(task: str) -> str:
    """Run a task in a process that finds no file of the user's; return its loss."""
    declared = declare_task(task, space={"x": Float(0, 1)}, config={"metric": "loss"})
    config = build_config({"task": task}, {"x": 0.5}, declaration=declared)
    program = (
        "import sys, ray.cloudpickle as pickle\n"
        "from raytune_yesno.tasks.task import open_records\n"
        "(record,) = open_records(pickle.load(sys.stdin.buffer), None)\n"
        "print(record.metrics['loss'])\n"
    )
    return run_worker(program, config).decode().strip()


def run_worker(program: str, config: EngineConfig) -> bytes:
    """Return what a program prints that reads a sealed config and finds no file of the user's."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=seal(config),
        capture_output=True,
        check=True,
        cwd="/",
    )
    return done.stdout


class TestSending:
    @pytest.mark.long
    def test_an_object_is_sent_with_the_modules_beside_it(self, write: Write) -> None:
        found = write(own_main=FUNCTION, own_helpers=HELPERS)
        register_task("test:sent", (found.objective, None, None))
        assert run_elsewhere("test:sent") == "4"

    @pytest.mark.long
    def test_a_module_of_a_package_without_a_file(self, write: Write) -> None:
        text = "from . import own_part\ndef objective(config): return {'loss': own_part.VALUE}\n"
        write("own_space.main", own_space__main=text, own_space__own_part="VALUE = 7\n")
        TASKS.trust("own_space.main:objective")
        assert run_elsewhere("own_space.main:objective") == "7"


CELL = "def fail(config):\n    return config['missing']\n"


@pytest.mark.parametrize(
    "name", ["/tmp/ipykernel_4711/1234567890.py", "<ipython-input-1-0123456789ab>"]
)
def test_tracebacks_of_a_worker_show_notebook_cells(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (len(CELL), None, CELL.splitlines(keepends=True), name)  # as IPython stores it
    monkeypatch.setitem(linecache.cache, name, known)
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(CELL, name, "exec"), cell)
    cell["objective"] = cell["fail"]
    exec("def objective(config):\n    return fail(config)\n", cell)
    sent = cloudpickle.dumps(Code("test", value=(cell["objective"], None, None)))
    monkeypatch.delitem(linecache.cache, name)
    objective, *_ = cloudpickle.loads(sent).value
    with pytest.raises(KeyError) as raised:
        objective({})
    _, lines = describe_error(raised.value)
    assert "return config['missing']" in lines


@pytest.mark.long
def test_a_worker_gives_the_driver_no_copy_of_its_class() -> None:
    register_task("test:digits", Digits)
    config = build_config({"task": "test:digits"})
    program = (
        "import dataclasses, sys, ray.cloudpickle as pickle\n"
        "from raytune_yesno.config import find_task\n"
        "config = pickle.load(sys.stdin.buffer)\n"
        "fields = dataclasses.fields(find_task(config.task).Settings())\n"  # of a copy
        "assert all(each.default_factory is dataclasses.MISSING for each in fields)\n"
        "sys.stdout.buffer.write(pickle.dumps(config))\n"
    )
    before = dict(vars(Digits))
    assert cloudpickle.loads(run_worker(program, config)) == config
    assert dict(vars(Digits)) == before


@pytest.mark.parametrize(
    ("encoding", "first"), [("utf-8-sig", ""), ("latin-1", "# coding: latin-1\n")]
)
def test_a_file_is_read_in_the_encoding_that_python_reads(
    encoding: str, first: str, tmp_path: Path
) -> None:
    beside = f"own_{encoding.replace('-', '_')}"
    (tmp_path / f"{beside}.py").write_text(f"{first}name = 'größe'\n", encoding=encoding)
    (tmp_path / "mine.py").write_text(f"{first}from {beside} import name\n", encoding=encoding)
    module = import_file(tmp_path / "mine.py")
    assert module.name == "größe"
    sources = gather_sources(module)
    assert {source.text for source in sources.values()} == {
        f"{first}name = 'größe'\n",
        f"{first}from {beside} import name\n",
    }


def test_a_traceback_shows_the_text_that_ran(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f():\n    raise ValueError('as it was')\n")
    module = import_file(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text("# edited\n\n\n")
    with pytest.raises(ValueError, match="as it was") as caught:
        module.f()
    assert "raise ValueError('as it was')" in describe_error(caught.value)[1]


def test_a_file_of_a_package_is_named_as_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "task.py").write_text("from . import part\n")
    with pytest.raises(InputError, match=r"own_package\.task:.*PYTHONPATH"):
        import_file(tmp_path / "own_package" / "task.py")
    monkeypatch.chdir(tmp_path)
    TASKS.trust("own_package.task:Name")
    with pytest.raises(InputError, match="PYTHONPATH"):
        TASKS.find("own_package.task:Name")


def test_a_task_of_a_program_is_continued_from_there() -> None:
    with pytest.raises(InputError, match="Python"):
        TASKS.find("__main__:objective")
