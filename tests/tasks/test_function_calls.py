"""What a function may look like, what it may declare, and what its state may contain."""

import functools
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import Config, build_config, declare_task, register_task
from raytune_yesno.errors import EveryTrialFails, InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.space import Float
from raytune_yesno.tasks.task import open_records
from raytune_yesno.user_code import TaskError, report_errors


def prepare(function: Any, key: str = "x", **config: Any) -> Config:
    register_task("test:calls", function)
    config = {"metric": "loss", **config}
    task = declare_task("test:calls", space={key: Float(0.0, 1.0)}, config=config)
    return build_config({"task": "test:calls"}, config, {key: 0.5}, declaration=task)


def run(function: Any, **config: Any) -> list[float]:
    records = open_records(prepare(function, **config), None)
    return [record.metrics["loss"] for record in records]


TABLE = pd.DataFrame({"x": [1, 2]})


def with_data(config: Any, data: Any) -> dict[str, float]:
    return {"loss": data + config["x"]}


def with_option(config: Any, verbose: bool = False) -> dict[str, float]:
    return {"loss": 0.5 if verbose is False else 1.0}


def by_name(config: Any, *, checkpoint: Any = None) -> Iterator[Any]:
    epoch = checkpoint or 0
    while True:
        epoch += 1
        yield {"loss": epoch}, epoch


@functools.wraps(by_name)
def decorated(*arguments: Any, **named: Any) -> Any:
    return by_name(*arguments, **named)


def with_table(config: Any, table: Any = TABLE) -> dict[str, float]:
    return {"loss": float(table["x"].sum()) + config["x"]}


class TestSignatures:
    def test_a_default_may_be_a_table(self) -> None:
        assert run(with_table) == [3.5]

    def test_names_in_the_functions_own_space_are_checked(self) -> None:
        def function(config: Any) -> dict[str, float]:
            return {"loss": config["objective"]}

        function.space = {"objective": Float(0.0, 1.0)}  # type: ignore[attr-defined]
        register_task("test:own", function)
        with pytest.raises(InputError, match="objective"):
            declare_task("test:own", space={}, config={"metric": "loss"})

    def test_bound_arguments_and_options_are_no_state(self) -> None:
        assert run(functools.partial(with_data, data=3)) == [3.5]
        assert run(with_option) == [0.5]

    @pytest.mark.parametrize("function", [by_name, decorated, functools.partial(by_name)])
    def test_a_state_by_name_and_a_decorator(self, function: Any, tmp_path: Path) -> None:
        assert run(function, epochs=3) == [1, 2, 3]
        config = prepare(function, epochs=3)
        next(open_records(config, None)).save(tmp_path / "state")
        resumed = open_records(config, None, resume=load_checkpoint(tmp_path / "state"))
        assert [record.metrics["loss"] for record in resumed] == [2, 3]

    @pytest.mark.parametrize(
        ("function", "words"),
        [
            (lambda x: {"loss": x}, r"'x'.*config\["),
            (lambda config, checkpoint, data: {}, r"'data'.*partial"),
            (lambda **config: {}, "no config"),
        ],
    )
    def test_others_are_refused_before_a_trial(self, function: Any, words: str) -> None:
        with pytest.raises(InputError, match=words):
            prepare(function)

    def test_an_iterator_needs_a_number_of_epochs(self) -> None:
        def function(config: Any) -> Iterator[Any]:
            return iter([{"loss": 2}, {"loss": 1}])

        assert run(function, epochs=4) == [2, 1]
        with pytest.raises(EveryTrialFails, match="epochs"):
            run(function)

    def test_several_workers_are_refused(self) -> None:
        with pytest.raises(InputError, match="cpus_per_worker"):
            prepare(with_option, num_workers=2)


class TestDeclarations:
    @pytest.mark.parametrize("key", ["lambda", "objective", "min_workers", "learning-rate"])
    def test_a_key_that_cannot_be_used_is_refused(self, key: str) -> None:
        with pytest.raises(InputError, match=key):
            prepare(with_option, key)
        with pytest.raises(InputError, match=key):
            prepare(with_option, **{key: 0.5})

    @pytest.mark.parametrize("value", [{"a": 1}, np.zeros(2), b"a", [{"a": 1}], print])
    def test_a_value_that_cannot_be_recorded_is_refused(self, value: Any) -> None:
        with pytest.raises(InputError, match=r"'extra'.*partial"):
            prepare(with_option, extra=value)

    def test_a_numpy_scalar_is_a_number(self) -> None:
        assert type(prepare(with_option, extra=np.float32(0.5)).as_dict()["extra"]) is float

    @pytest.mark.parametrize("name", ["error", "seconds", "config.loss", "world_size"])
    def test_a_reserved_metric_is_refused_at_once(self, name: str) -> None:
        with pytest.raises(InputError, match="reserved"):
            prepare(with_option, metric=name, mode="min")
        with pytest.raises(EveryTrialFails, match="reserved"):
            run(lambda config: {"loss": 1.0, name: 1.0})

    @pytest.mark.parametrize("metrics", [("loss",), Metric("loss"), (Metric("loss"),) * 2])
    def test_metrics_are_a_sequence_of_different_ones(self, metrics: Any) -> None:
        def function(config: Any) -> dict[str, float]:
            return {"loss": 1.0}

        function.metrics = metrics  # type: ignore[attr-defined]
        with pytest.raises(InputError, match="metrics"):
            prepare(function, metric="")

    @pytest.mark.parametrize(
        "value", [np.longdouble(0.5), Fraction(1, 2), Decimal("0.5"), pd.Series([0.5])]
    )
    def test_real_numbers_of_any_type_are_metrics(self, value: Any) -> None:
        (record,) = open_records(prepare(lambda config: {"loss": 1, "half": value}), None)
        assert repr(record.metrics["half"]) == "0.5"

    def test_a_masked_value_is_no_number(self) -> None:
        masked = np.ma.masked_invalid([np.nan]).mean()
        (record,) = open_records(prepare(lambda config: {"loss": masked}), None)
        assert np.isnan(record.metrics["loss"])
        assert record.diverged

    def test_a_huge_whole_number_is_infinite(self) -> None:
        (record,) = open_records(prepare(lambda config: {"loss": 1, "size": -(10**400)}), None)
        assert record.metrics["size"] == -np.inf


class TestErrors:
    def fail(self, function: Callable[..., Any]) -> TaskError:
        with pytest.raises(TaskError) as caught, report_errors(lambda error: False):
            list(open_records(prepare(function), None))
        return caught.value

    def test_stop_iteration_is_an_error_with_its_line(self) -> None:
        error = self.fail(lambda config: {"loss": next(iter(()))})
        assert "StopIteration" in error.line
        assert "next(iter(()))" in error.lines

    def test_what_is_no_exception_is_an_error_of_the_task(self) -> None:
        class Panic(BaseException):
            pass

        def function(config: Any) -> Any:
            raise Panic("of a compiled library")

        assert "Panic: of a compiled library" in self.fail(function).line

    def test_the_first_cause_is_told(self) -> None:
        def function(config: Any) -> Any:
            try:
                try:
                    return config["folder"]
                except KeyError as error:
                    raise ValueError("no model") from error
            except ValueError as error:
                group = Exception("of a shard")
                group.exceptions = (error,)  # type: ignore[attr-defined] # as an ExceptionGroup
                raise group from None

        assert re.search(r"of a shard.*KeyError: 'folder' \(.*py:\d+\)", self.fail(function).line)

    def test_an_error_that_is_its_own_cause_is_told(self) -> None:
        def function(config: Any) -> Any:
            error = ValueError("too fast")
            raise error from error

        assert "too fast" in self.fail(function).line

    def test_an_error_without_a_readable_message_is_told(self) -> None:
        @dataclass  # so it has no hash
        class Mute(Exception):
            def __str__(self) -> str:
                raise TypeError

        def function(config: Any) -> Any:
            raise Mute

        error = self.fail(function)
        assert error.line.startswith("Mute")
        assert "raise Mute" in error.lines


class TestStates:
    def resume(self, state: Any, folder: Path) -> Any:
        seen: list[Any] = []

        def function(config: Any, checkpoint: Any = None) -> Iterator[Any]:
            seen.append(checkpoint)
            while True:
                yield {"loss": 1.0}, state

        config = prepare(function, epochs=2)
        next(open_records(config, None)).save(folder / "state")
        next(open_records(config, None, resume=load_checkpoint(folder / "state")))
        return seen[-1]

    @pytest.mark.parametrize(
        "state",
        [
            np.random.default_rng(1).bit_generator.state,
            {np.int64(3): (1, "a"), ("b", 2): {np.int64(4)}},
            OrderedDict(torch.nn.Linear(1, 1).state_dict()),
        ],
    )
    def test_are_read_as_they_were_stored(self, state: Any, tmp_path: Path) -> None:
        found = self.resume(state, tmp_path)
        assert type(found) is type(state)
        assert repr(found) == repr(plain(state))

    @pytest.mark.parametrize(
        "state", [defaultdict(int, a=1), Counter("a"), {frozenset("a"): 1}, {"__array__": 1}]
    )
    def test_that_would_be_read_as_others_are_refused(self, state: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="save and load"):
            self.resume(state, tmp_path)

    def test_of_none_is_no_state(self, tmp_path: Path) -> None:
        def function(config: Any, checkpoint: Any = None) -> Iterator[Any]:
            for epoch in (1, 2, 3):
                yield {"loss": epoch}, None

        config = prepare(function, epochs=3)
        next(open_records(config, None)).save(tmp_path / "state")
        resumed = open_records(config, None, resume=load_checkpoint(tmp_path / "state"))
        assert [record.metrics["loss"] for record in resumed] == [2, 3]


def plain(value: Any) -> Any:
    """Return a state with numpy's keys as Python's."""
    if isinstance(value, Mapping):
        return type(value)((plain(key), plain(item)) for key, item in value.items())  # type: ignore[call-arg]
    if isinstance(value, set):
        return set(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value
