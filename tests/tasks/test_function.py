"""A function or a generator as a task: its config, its reports, its state."""

import io
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import Config, build_config, declare_task, register_task
from raytune_yesno.errors import EveryTrialFails, InputError, MissingMetric
from raytune_yesno.space import Choice, Float, Int
from raytune_yesno.tasks.task import open_records
from raytune_yesno.training.loop import Record

SPACE = {"alpha": Float(0.01, 1.0), "width": Int(1, 9), "kind": Choice("a", "b")}
POINT = {"alpha": 0.5, "width": 3, "kind": "b"}


def prepare(function: Any, *, metric: str = "loss", mode: str = "", **keys: Any) -> Config:
    """Return the config of a trial of ``function``."""
    register_task("test:function", function)
    config = {"metric": metric, "mode": mode, **keys}
    task = declare_task("test:function", space=SPACE, config=config)
    return build_config({"task": "test:function"}, config, POINT, declaration=task)


def run(function: Any, **keys: Any) -> list[dict[str, Any]]:
    return [record.metrics for record in open_records(prepare(function, **keys), None)]


def counting(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
    """Count epochs, with a state of plain values, arrays and tensors."""
    state = checkpoint or {
        "epoch": 0,
        "sum": np.zeros(2),
        "seen": torch.zeros(1),
        "log": [(0, "a")],
    }
    while True:
        state = {
            "epoch": state["epoch"] + 1,
            "sum": state["sum"] + config["alpha"] * np.random.random(2),
            "seen": state["seen"] + torch.rand(1),
            "log": [*state["log"], (state["epoch"], np.float32(0.5))],
        }
        yield {"loss": state["sum"].sum(), "seen": state["seen"]}, state


def strip(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key != "seconds"}


class TestConfig:
    def test_has_the_keys_of_the_space_with_their_types(self) -> None:
        seen: list[dict[str, Any]] = []
        run(lambda config: seen.append(config) or {"loss": 1.0}, extra=7, seed=3)
        assert {key: seen[0][key] for key in (*POINT, "extra", "seed", "epochs")} == {
            **POINT,
            "extra": 7,
            "seed": 3,
            "epochs": 1,
        }
        assert "optimizer" not in seen[0]

    def test_keys_of_the_training_loop_are_free(self) -> None:
        register_task("test:free", lambda config: {"loss": float(config["momentum"])})
        space = {"optimizer": Choice("mine", "yours"), "momentum": Float(2.0, 3.0)}
        task = declare_task("test:free", space=space, config={"metric": "loss"})
        point = {"optimizer": "mine", "momentum": 2.5}
        config = build_config({"task": "test:free"}, point, declaration=task)
        (record,) = open_records(config, None)
        assert record.metrics["loss"] == 2.5

    def test_a_study_changes_nothing_for_another_one(self) -> None:
        register_task("test:shared", lambda config: {"loss": 0.0})
        config = {"task": "test:shared", "metric": "loss"}
        tasks = [
            declare_task("test:shared", space={key: Float(0.0, 1.0)}, config=config)
            for key in ("x", "y")
        ]
        for task, key in zip(tasks, ("x", "y"), strict=True):
            built = build_config(config, {key: 0.5}, declaration=task)
            assert key in built.as_dict()
            again = declare_task("test:shared", space={key: Float(0.0, 1.0)}, config=config)
            assert build_config(config, {key: 0.5}, declaration=again) == built
        with pytest.raises(InputError, match="unknown key 'x'"):
            build_config(config, {"x": 0.5})

    def test_a_function_that_changes_its_config_changes_a_copy(self) -> None:
        def function(config: dict[str, Any]) -> dict[str, Any]:
            config["alpha"] = config.pop("width")
            config.clear()
            return {"loss": 0.0}

        config = prepare(function)
        before = config.as_dict()
        assert list(open_records(config, None))
        assert config.as_dict() == before

    def test_the_metric_has_to_be_named(self) -> None:
        with pytest.raises(InputError, match=r": metric: .*metric="):
            prepare(lambda config: {"loss": 0}, metric="")
        with pytest.raises(InputError, match=r"^mode: .*fitness"):
            prepare(lambda config: {"fitness": 0}, metric="fitness")
        with pytest.raises(InputError, match=r"^objectives: .*fitness:max"):
            prepare(lambda config: {"fitness": 0}, metric="", objectives=["loss", "fitness"])
        assert prepare(lambda config: {}, metric="accuracy").objective.metric.mode == "max"

    def test_a_function_without_parameters_is_refused(self) -> None:
        with pytest.raises(InputError, match="config"):
            prepare(lambda: {"loss": 0})


class TestReports:
    def test_a_returned_dict_is_one_epoch(self) -> None:
        config = prepare(lambda config: {"loss": config["alpha"]})
        (record,) = open_records(config, None)
        assert record.last
        assert record.metrics["loss"] == 0.5

    def test_a_generator_has_an_epoch_for_each_report(self) -> None:
        assert [metrics["epoch"] for metrics in run(counting, epochs=4)] == [1, 2, 3, 4]

    def test_a_generator_may_end_before_its_last_epoch(self) -> None:
        def function(config: dict[str, Any]) -> Iterator[dict[str, float]]:
            yield from ({"loss": 2.0}, {"loss": 1.0})

        assert len(run(function, epochs=9)) == 2

    @pytest.mark.parametrize(
        "value", [np.float32(0.5), np.array([0.5]), torch.tensor(0.5), np.int64(1), True, 1]
    )
    def test_numbers_of_other_libraries_become_plain(self, value: Any) -> None:
        (metrics,) = run(lambda config: {"loss": value})
        assert type(metrics["loss"]) in (int, float)
        assert metrics["loss"] == float(np.asarray(value).item())

    def test_huge_numbers_are_those_that_a_record_can_hold(self) -> None:
        given = {"loss": 0.5, "clock": 2**60 + 1, "far": 1e305, "whole": -(10**400), "count": 2**53}
        (metrics,) = run(lambda config: given)
        read = {name: metrics[name] for name in given}
        assert read == {**given, "clock": float(2**60), "far": math.inf, "whole": -math.inf}
        assert type(metrics["clock"]) is float

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan")])
    def test_a_metric_that_is_not_finite_has_diverged(self, value: Any) -> None:
        (record,) = open_records(prepare(lambda config: {"loss": value}), None)
        assert record.diverged
        assert record.last

    def test_another_metric_may_be_nan(self) -> None:
        (record,) = open_records(prepare(lambda config: {"loss": 1, "auc": float("nan")}), None)
        assert not record.diverged

    @pytest.mark.parametrize(
        ("report", "word"),
        [
            (None, "None"),
            (0.5, "dict"),
            ({"loss": None}, "None"),
            ({"loss": "low"}, "str"),
            ({"loss": torch.zeros(2)}, "Tensor"),
            ({"loss": 1.0, "seconds": 2.0}, "reserved"),
            ({3: 1.0}, "3"),
        ],
    )
    def test_anything_else_is_refused_with_its_epoch(self, report: Any, word: str) -> None:
        with pytest.raises(InputError, match=f"(?s)epoch 1.*{word}"):
            run(lambda config: report)

    @pytest.mark.parametrize("report", [None, 0.5, [{"loss": 1.0}]])
    def test_what_is_no_dict_ends_a_study_that_has_no_result(self, report: Any) -> None:
        with pytest.raises(EveryTrialFails, match="dict"):
            run(lambda config: report)

    def test_a_missing_metric_is_told_with_those_reported(self) -> None:
        with pytest.raises(MissingMetric, match=r"los.*loss"):
            run(lambda config: {"loss": 1.0}, metric="los", mode="min")

    def test_a_metric_may_go_missing_only_if_it_does_not_decide(self) -> None:
        def function(config: dict[str, Any]) -> Iterator[dict[str, float]]:
            yield {"loss": 2.0, "extra": 1.0}
            yield {"loss": 1.0, "other": 1.0}
            yield {"other": 1.0}

        records = open_records(prepare(function), None)
        assert next(records).metrics["extra"] == 1
        assert next(records).metrics["other"] == 1
        with pytest.raises(InputError, match="epoch 3") as caught:
            next(records)
        assert not isinstance(caught.value, EveryTrialFails)

    def test_global_random_numbers_do_not_depend_on_earlier_trials(self) -> None:
        first = list(map(strip, run(counting, epochs=3)))
        np.random.random(5)
        assert list(map(strip, run(counting, epochs=3))) == first


class TestResuming:
    @pytest.mark.parametrize("epoch", [1, 3])
    def test_is_exact_from_a_state(self, epoch: int, tmp_path: Path) -> None:
        assert (
            resume(counting, epoch, tmp_path) == list(map(strip, run(counting, epochs=5)))[epoch:]
        )

    def test_without_a_state_the_epochs_are_run_again(self, tmp_path: Path) -> None:
        calls: list[int] = []

        def function(config: dict[str, Any]) -> Iterator[dict[str, float]]:
            for epoch in range(5):
                calls.append(epoch)
                yield {"loss": np.random.random()}

        whole = list(map(strip, run(function, epochs=5)))
        calls.clear()
        assert resume(function, 2, tmp_path) == whole[2:]
        assert calls == [0, 1, 0, 1, 2, 3, 4]

    def test_other_objects_need_functions_of_the_users_own(self, tmp_path: Path) -> None:
        def function(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
            yield {"loss": 1.0}, {"buffer": io.StringIO("text")}

        record = next(open_records(prepare(function, epochs=3), None))
        with pytest.raises(InputError, match=r"buffer.*StringIO.*save"):
            record.save(tmp_path / "state")

    def test_they_are_called_with_a_file(self, tmp_path: Path) -> None:
        def save(state: Any, path: str) -> None:
            Path(path).write_text(state.getvalue())

        def load(path: str) -> Any:
            return io.StringIO(Path(path).read_text())

        def function(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
            text = checkpoint or io.StringIO("")
            while True:
                text = io.StringIO(text.getvalue() + "x")
                yield {"loss": len(text.getvalue())}, text

        found = resume((function, save, load), 2, tmp_path)
        assert [metrics["loss"] for metrics in found] == [3, 4, 5]

    def test_a_class_that_cannot_be_pickled_where_the_trial_runs_is_told(
        self, tmp_path: Path
    ) -> None:
        class Model:
            """As a class of a script in a worker: its module there does not have it."""

            __qualname__ = "Model"

        def save(state: Any, path: str) -> None:
            Path(path).write_bytes(pickle.dumps(state))

        def function(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
            yield {"loss": 1.0}, Model()

        record = next(open_records(prepare((function, save, pickle.loads), epochs=3), None))
        with pytest.raises(InputError, match=r"Model.*module"):
            record.save(tmp_path / "state")

    def test_a_state_needs_a_parameter_to_take_it_back(self) -> None:
        def function(config: dict[str, Any]) -> Iterator[Any]:
            yield {"loss": 1.0}, 1

        with pytest.raises(InputError, match="checkpoint"):
            run(function)


def resume(function: Any, epoch: int, folder: Path) -> list[dict[str, Any]]:
    """Run some epochs, save, and return the metrics of the others after a restart."""
    config = prepare(function, epochs=5)
    records: Iterator[Record] = open_records(config, None)
    for _ in range(epoch):
        record = next(records)
    record.save(folder / "state")
    resumed = open_records(config, None, resume=load_checkpoint(folder / "state"))
    return [strip(record.metrics) for record in resumed]


def test_a_child_that_a_function_forks_ends_where_the_function_does(tmp_path: Path) -> None:
    import os

    def function(config: dict[str, Any]) -> dict[str, float]:
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        return {"loss": 1.0}

    for _ in open_records(prepare(function), None):
        with (tmp_path / "records").open("a") as file:
            file.write("x")
    assert (tmp_path / "records").read_text() == "x"


Make = Callable[[str], str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(text: str) -> str:
        (tmp_path / "mine.py").write_text(text)
        return f"{tmp_path / 'mine.py'}:objective"

    return write


class TestFile:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("def objective(config)\n    return 1\n", "mine.py:1.*"),
            ("import no_such_module\n", "no_such_module.*mine.py:1"),
            ("raise RuntimeError('first\\nsecond')\n", "RuntimeError.*first.*mine.py:1"),
            ("import sys\nsys.exit(3)\n", "SystemExit.*mine.py:2"),
            ("other = 1\n", "objective"),
            ("class objective:\n    metrics = ()\n", "build_model.*steps"),
        ],
    )
    def test_what_cannot_be_used_is_one_line(self, make: Make, text: str, words: str) -> None:
        from raytune_yesno.config import find_task
        from raytune_yesno.task_registry import TASKS

        name = make(text)
        TASKS.trust(name)
        with pytest.raises(InputError, match=words) as caught:
            find_task(name)
        assert "\n" not in str(caught.value)

    @pytest.mark.long
    def test_is_sent_with_what_it_imports_from_its_folder(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import subprocess
        import sys

        from raytune_yesno.task_registry import TASKS
        from raytune_yesno.tuning.ranks import seal

        (tmp_path / "beside_mine.py").write_text("factor = 3\n")
        name = make(
            "import beside_mine\ndef objective(config):\n"
            "    return {'loss': config['alpha'] * beside_mine.factor}\n"
        )
        TASKS.trust(name)
        task = declare_task(name, space=SPACE, config={"metric": "loss"})
        sealed = seal(build_config({"task": name}, POINT, declaration=task))
        digest = TASKS.pack(name).digest  # type: ignore[union-attr]
        for file in tmp_path.glob("*.py"):
            file.write_text("changed since then")
        program = (
            "import sys, ray.cloudpickle as pickle\n"
            "from raytune_yesno.tasks.task import open_records\n"
            "from raytune_yesno.task_registry import TASKS\n"
            "config = pickle.load(sys.stdin.buffer)\n"
            "(record,) = open_records(config, None)\n"
            "print(record.metrics['loss'], TASKS.pack(config.task).digest)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], input=sealed, capture_output=True, check=True, cwd="/"
        )
        assert done.stdout.split() == [b"1.5", digest.encode()]
