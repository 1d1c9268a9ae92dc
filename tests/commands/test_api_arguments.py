"""``raytune_yesno.tune`` checks its arguments before it starts Ray or writes a folder."""

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from raytune_yesno import api, tune
from raytune_yesno.cluster.session import joined_session
from raytune_yesno.config import setting
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.space import Float, Int, build_space
from raytune_yesno.study.store import STORE

SPACE = {"x": Float(0.0, 1.0)}


class Started(Exception):
    pass


def objective(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["x"]}


@dataclass
class Words:
    source: str
    fingerprint: str = "1"


class Reading:
    metrics = (Metric("loss"),)
    build_model = steps = loss = validate = metrics_of = staticmethod(print)

    @dataclass(frozen=True)
    class Settings:
        x: float = setting(0.5, "a number", low=0.0)

    @staticmethod
    def load_data(source: str, **_: Any) -> Words:
        return Words(source)


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any, **__: Any) -> Any:
        raise Started

    monkeypatch.setattr(api, "_session", start)


@pytest.mark.usefixtures("no_session")
class TestArguments:
    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"trials": 0}, "trials"),
            ({"trials": 4.5}, "trials takes a whole number"),
            ({"scheduler": "ashha"}, "asha"),
            ({"time_budget": "1h"}, "time_budget takes a number"),
            ({"resources": {"cpus": 1}}, "did you mean 'cpu'"),
            ({"resources": 4}, "resources"),
            ({"space": [1]}, "space"),
            ({"space": None}, "no search space"),
            ({"config": {"seed": 4}, "seed": 5}, "seed: two values"),
            ({"config": {"lambda": 4}}, "lambda"),
            ({"data": "folder"}, "data"),
            ({"checkpoint_every": -1}, "checkpoint_every"),
            ({"checkpoint_every": "1m"}, "checkpoint_every takes a number"),
            ({"metric": "error", "mode": "min"}, "reserved"),
            ({"space": build_space({**SPACE, "constraints": "x > 1"})}, "constraints"),
            ({"config": {"task": "sine"}}, "config: task 'sine'"),
            ({"space": {"x": [1, 2]}}, r"x: .*write Choice\(1, 2\)"),
            ({"objectives": None, "limits": None, "metric": None}, "name the one that decides"),
            ({"data": Path("folder")}, "data"),
            ({"metric": "fitness"}, "^mode: .*fitness"),
        ],
    )
    def test_a_wrong_one_is_named(self, wrong: dict[str, Any], words: str, tmp_path: Path) -> None:
        out = tmp_path / "study"
        given = {"space": SPACE, "metric": "loss", "out": out, **wrong}
        with pytest.raises(InputError, match=words):
            tune(objective, **given)
        assert not out.exists()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"trials": 2, "points": [{"x": 0.1}, {"x": 0.2}, {"x": 0.3}]},
            {"trials": 2, "search": "grid", "space": {"x": Int(1, 5)}},
            {
                "search": "grid",
                "search_options": {"levels": 50},
                "space": {key: Float(0.0, 1.0) for key in "abc"},
            },
            {"search": "manual"},
            {"ordered": True, "time_budget": 60},
            {"config": {"num_workers": "1:2"}},
            {"space": {**SPACE, "seed": Int(1, 5)}},
        ],
    )
    def test_errors_name_no_options_of_the_command_line(
        self, wrong: dict[str, Any], tmp_path: Path
    ) -> None:
        task = Reading if "config" in wrong else objective
        given = {"space": SPACE, "metric": "loss", "out": tmp_path / "study", **wrong}
        with pytest.raises(InputError) as raised:
            tune(task, **given)
        assert "--" not in str(raised.value)

    def test_numbers_of_numpy_are_numbers(self, tmp_path: Path) -> None:
        given: dict[str, Any] = {"trials": np.int64(4), "seed": np.int64(1), "metric": "loss"}
        with pytest.raises(Started):
            tune(objective, SPACE, out=tmp_path / "study", **given)

    def test_a_uri_is_no_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"^out s3://"):
            tune(objective, SPACE, metric="loss", out="s3://bucket/study")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "wrong", [{"trials": 0}, {"patience": 0}, {"space": {**SPACE, "seed": Float(0.0, 1.0)}}]
    )
    def test_they_are_checked_for_a_study_that_exists(
        self, wrong: dict[str, Any], tmp_path: Path
    ) -> None:
        given = {"space": SPACE, "metric": "loss", "out": tmp_path, **wrong}
        (tmp_path / STORE).write_text("{}\n")
        with pytest.raises(InputError, match=next(iter(set(wrong) - {"space"}), "seed")):
            tune(objective, **given)

    def test_the_config_of_an_earlier_study_of_the_same_function(self, tmp_path: Path) -> None:
        config = {"task": f"{__name__}:objective", "metric": "loss", "objectives": [], "x": 0.5}
        with pytest.raises(Started):
            tune(objective, SPACE, config=config, out=tmp_path / "study")

    def test_a_folder_of_data_is_recorded_as_text(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = []
        monkeypatch.setattr(api, "_session", lambda *_, **__: contextlib.nullcontext())
        monkeypatch.setattr(api, "_run", lambda *_, **options: given.append(options["source"]))
        tune(Reading, SPACE, data=tmp_path / "corpus", out=tmp_path / "study")
        assert given == [str(tmp_path / "corpus")]

    def test_one_study_runs_at_a_time(self, tmp_path: Path) -> None:
        with api._one_at_a_time(), pytest.raises(InputError, match="another thread"):
            tune(objective, SPACE, metric="loss", out=tmp_path / "study")


def test_a_cluster_in_use_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(InputError, match="num_cpus"):
        api._session(None, num_cpus=4, num_gpus=None)
    with pytest.raises(InputError, match="address"):
        api._session("auto", num_cpus=None, num_gpus=None)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"num_cpus": -1}, "num_cpus"),
        ({"address": "127.0.0.1:1"}, "address"),
        ({"address": "auto", "num_cpus": 1}, "num_cpus"),
    ],
)
def test_errors_about_the_cluster_name_the_argument(
    wrong: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError, match=f"^{name}") as raised:
        tune(objective, SPACE, metric="loss", out=tmp_path / "study", **wrong)
    assert "--address" not in str(raised.value)


def test_a_joined_cluster_is_silent_for_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AIR_NEW_OUTPUT", raising=False)
    logger = logging.getLogger("ray.tune")
    monkeypatch.setattr(logger, "level", logging.INFO)
    with joined_session():
        assert os.environ["RAY_AIR_NEW_OUTPUT"] == "0"
        assert logger.level == logging.CRITICAL
    assert logger.level == logging.INFO
