"""`study`: look at a study and send it requests, without running code of the user."""

import json
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno import cli
from raytune_yesno.report.sentences import describe_state
from raytune_yesno.study import load
from raytune_yesno.study.requests import REQUESTS
from raytune_yesno.study.store import StudyStore

SPACE = {"rate": {"float": [0.01, 0.5], "log": True}, "window": {"choice": [8, 16]}}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return the unfinished study of a function in a file that must not be run."""
    (tmp_path / "fit.py").write_text("raise SystemExit('this must not run')\n")
    config = {"task": f"{tmp_path}/fit.py:objective", "epochs": 3, "window": 8}
    store = StudyStore(tmp_path / "study")
    settings = {"search": "random", "scheduler": "asha", "trials": 4, "slots": 1}
    metrics = [{"name": "loss", "mode": "min"}]
    store.append("study", config=config, space=SPACE, metrics=metrics, data="", **settings)
    store.append("asked", trial=0, point={"rate": 0.1, "window": 8})
    store.append("started", trial=0, attempt=1)
    return tmp_path / "study"


def read_requests(study: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((study / REQUESTS).glob("*.json"))]


def test_a_point_of_a_users_own_task_is_enqueued(study: Path) -> None:
    assert cli.main(["study", str(study), "enqueue", "rate=0.2"]) == 0
    (request,) = read_requests(study)
    assert request["point"] == {"rate": 0.2, "window": 8}


@pytest.mark.parametrize(
    ("point", "says"), [("rate=7", "rate"), ("rat=0.1", "rate"), ("window=8", "also give rate")]
)
def test_a_bad_point_is_refused(
    point: str, says: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["study", str(study), "enqueue", point]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (study / REQUESTS).exists()


def test_stop_and_status(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["study", str(study), "stop", "0"]) == 0
    assert [request["trial"] for request in read_requests(study)] == [0]
    assert cli.main(["study", str(study), "stop", "1"]) == 2
    capfd.readouterr()
    assert cli.main(["study", str(study), "status"]) == 0
    shown = capfd.readouterr().out
    assert "interrupted" in shown
    assert "1 unfinished" in shown
    assert "waiting: stop 0" in shown


def test_repeats_and_requested_points_are_among_the_trials_that_were_asked_for(
    study: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = StudyStore(study)
    for number in range(1, 6):  # four trials, and two repeats of a final round
        again = {"repeat_of": 0, "seed": number, "final": True} if number > 3 else {}
        store.append("asked", trial=number, point={"rate": 0.1, "window": 8}, **again)
    assert cli.main(["study", str(study), "status", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["asked"] == 6
    assert "of 6 trials" in describe_state(load(study))


def test_a_search_without_a_result_misses_no_refit(
    study: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = StudyStore(study)
    store.append("ended", trial=0, status="failed", error="no room")
    store.append("searched")
    assert cli.main(["study", str(study), "status", "--json"]) == 0
    assert "refit" not in json.loads(capfd.readouterr().out)["state"]


def test_a_search_that_has_ended_takes_no_requests(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    StudyStore(study).append("final", points=[0], first=1)
    assert cli.main(["study", str(study), "stop", "search"]) == 2
    assert "ended" in capsys.readouterr().err
