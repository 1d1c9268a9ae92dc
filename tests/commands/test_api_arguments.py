"""``raytune_yesno.tune`` checks its arguments before it starts Ray or writes a folder."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from raytune_yesno import api, tune
from raytune_yesno.cluster.session import joined_session
from raytune_yesno.errors import InputError
from raytune_yesno.space import Float, build_space

SPACE = {"x": Float(0.0, 1.0)}


class Started(Exception):
    pass


def objective(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["x"]}


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
        ],
    )
    def test_a_wrong_one_is_named(self, wrong: dict[str, Any], words: str, tmp_path: Path) -> None:
        out = tmp_path / "study"
        given = {"space": SPACE, "metric": "loss", "out": out, **wrong}
        with pytest.raises(InputError, match=words):
            tune(objective, **given)
        assert not out.exists()

    def test_numbers_of_numpy_are_numbers(self, tmp_path: Path) -> None:
        given: dict[str, Any] = {"trials": np.int64(4), "seed": np.int64(1), "metric": "loss"}
        with pytest.raises(Started):
            tune(objective, SPACE, out=tmp_path / "study", **given)

    def test_a_uri_is_no_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match="s3://"):
            tune(objective, SPACE, metric="loss", out="s3://bucket/study")
        assert not list(tmp_path.iterdir())

    def test_one_study_runs_at_a_time(self, tmp_path: Path) -> None:
        with api._one_at_a_time(), pytest.raises(InputError, match="another thread"):
            tune(objective, SPACE, metric="loss", out=tmp_path / "study")


def test_a_cluster_in_use_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(InputError, match="num_cpus"):
        api._session(None, num_cpus=4, num_gpus=None)
    with pytest.raises(InputError, match="address"):
        api._session("auto", num_cpus=None, num_gpus=None)


def test_a_joined_cluster_is_silent_for_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AIR_NEW_OUTPUT", raising=False)
    logger = logging.getLogger("ray.tune")
    monkeypatch.setattr(logger, "level", logging.INFO)
    with joined_session():
        assert os.environ["RAY_AIR_NEW_OUTPUT"] == "0"
        assert logger.level == logging.CRITICAL
    assert logger.level == logging.INFO
