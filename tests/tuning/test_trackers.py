"""Logs of a study, written and read back with the real libraries."""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno import cli
from raytune_yesno.errors import InputError, suggest_install, to_utf8
from raytune_yesno.study import load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.trackers import TENSORBOARD, Feed, follow_study, open_logs

POINT = {"learning_rate": 0.01, "channels": [8, 16], "activation": "relu"}


def write_events(store: StudyStore, trial: int, epochs: range, status: str | None = None) -> None:
    """Write the events of a trial as a search does; "asked" only if the trial is new."""
    if epochs.start == 1:
        store.append("asked", trial=trial, point=POINT)
    store.append("started", trial=trial, attempt=1)
    for epoch in epochs:
        store.append(
            "epoch", trial=trial, attempt=1, epoch=epoch, train_loss=None, host="h", pid=1,
            valid_loss=abs(epoch - 2) + 0.5, valid_wer=0.25, seconds=0.1, began=1.0, ended=2.0,
            diverged=False, device="cpu",
        )  # fmt: skip
    if status:
        store.append("ended", trial=trial, status=status)


def write_study(folder: Path, *names: str) -> list[str]:
    """Write a study that is interrupted in its second trial and resumed; return the notes."""
    notes: list[str] = []
    with follow_study(open_logs(names, folder), folder, notes.append) as listen:
        store = StudyStore(folder, listen)
        store.append("study")
        write_events(store, 0, range(1, 4), "done")
        write_events(store, 1, range(1, 3))
        store.append("paused")
    with follow_study(open_logs(names, folder), folder, notes.append) as listen:
        store = StudyStore(folder, listen)
        store.append("resumed")
        write_events(store, 1, range(3, 5), "stopped")
        store.append("asked", trial=2, point=POINT)
        store.append("ended", trial=2, status="failed", error="it never started")
        store.append("searched")
    return notes


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard here"
    )
    assert write_study(tmp_path / "study", "tensorboard") == []
    runs = sorted((tmp_path / "study" / TENSORBOARD).iterdir())
    assert [run.name for run in runs] == ["trial-00000", "trial-00001"]
    seen = reader.EventAccumulator(str(runs[1]))
    seen.Reload()
    losses = {event.step: event.value for event in seen.Scalars("valid_loss")}
    assert losses == {1: 1.5, 2: 0.5, 3: 1.5, 4: 2.5}
    assert [event.value for event in seen.Scalars("best/valid_loss")] == [0.5]
    tags = set(seen.Tags()["scalars"])
    assert tags == {"valid_loss", "valid_wer", "seconds", "best/valid_loss", "best/valid_wer",
                    "best/seconds"}  # fmt: skip
    (text, *_) = seen.Tensors("config/text_summary")
    assert b"channels: [8, 16]" in text.tensor_proto.string_val[0]
    shown = seen.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for name in POINT:
        assert name.encode() in shown
    # With a declaration of columns, TensorBoard shows the hyperparameters of this run alone.
    assert "_hparams_/experiment" not in seen.summary_metadata


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of a database, which takes seconds to make; each test has its experiment."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.mark.long
def test_mlflow_reads_what_was_logged(mlflow_uri: str, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="no mlflow-skinny here")
    uri = mlflow_uri
    assert write_study(tmp_path / "study", f"mlflow={uri}") == []
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    parent, *runs = client.search_runs(
        [experiment.experiment_id], order_by=["attributes.start_time"]
    )
    assert (parent.info.run_name, parent.info.status) == ("study", "FINISHED")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    assert runs[1].data.tags["command"].endswith(f"--replay {tmp_path / 'study'} 1")
    assert [run.data.tags["trial"] for run in runs] == ["0", "1"]
    assert [run.data.tags["status"] for run in runs] == ["done", "stopped"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert runs[1].data.params == {key: str(value) for key, value in POINT.items()}
    history = client.get_metric_history(runs[1].info.run_id, "valid_loss")
    assert {metric.step: metric.value for metric in history} == {1: 1.5, 2: 0.5, 3: 1.5, 4: 2.5}
    assert runs[1].data.metrics["best_valid_loss"] == 0.5


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ["Bob's", 'a "quoted" one', "both ' and \"", "a` OR 1=1 --", os.fsdecode(b"x\xff"), "a%b"],
)
def test_mlflow_takes_any_name(name: str, mlflow_uri: str, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="no mlflow-skinny here")
    uri = mlflow_uri
    for folder in (tmp_path / name, tmp_path / "other" / name):  # the same experiment, other runs
        assert write_study(folder, f"mlflow={uri}") == []
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(to_utf8(name))
    runs = client.search_runs([experiment.experiment_id])
    trials = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert sorted(run.data.tags["trial"] for run in trials) == ["0", "0", "1", "1"]
    assert len({run.data.tags["mlflow.parentRunId"] for run in trials}) == 2


class Failing:
    """A log that accepts one epoch and then fails."""

    def __init__(self) -> None:
        self.epochs = 0

    def start(self, trial: int, point: Mapping[str, Any], epoch: int) -> None:
        assert threading.current_thread() is not threading.main_thread()

    def epoch(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs += 1
        if self.epochs > 1:
            raise OSError("the disk is full\nand more")

    def end(self, trial: int, status: str, best: Mapping[str, float]) -> None:
        raise AssertionError("it was left alone")

    close = end


def test_a_log_that_fails_is_told_of_once_and_left_alone(tmp_path: Path) -> None:
    notes: list[str] = []
    with follow_study([Failing()], tmp_path, notes.append) as listen:
        store = StudyStore(tmp_path, listen)
        store.append("study")
        write_events(store, 0, range(1, 5), "done")
    assert notes == ["Failing failed and is disabled, the study continues (the disk is full)"]
    assert len(load(tmp_path).epochs) == 4


@pytest.mark.parametrize("name", ["wandb", "mlflow", "mlflow=", "tensorboard=here", ""])
def test_an_unknown_log_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose from tensorboard, mlflow=URI"):
        open_logs([name], tmp_path)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("tensorboard", "tensorboardX", "tensorboard"), ("mlflow=sqlite:///x", "mlflow", "mlflow")],
)
def test_a_missing_library_is_named_before_anything_starts(
    name: str,
    module: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "study"
    words = ["tune", "--data", "synthetic:10", "--out", str(out), "--log", name]
    assert cli.main(words) == 2
    assert suggest_install(extra) in capfd.readouterr().err
    assert not out.exists()


@pytest.mark.long
def test_a_tracking_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="no mlflow-skinny here")
    for uri in ("http://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match=f"--log mlflow={uri}: ") as caught:
            open_logs([f"mlflow={uri}"], tmp_path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.ray
def test_a_search_is_logged_as_it_is_recorded(ray_cluster: str, tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard here"
    )
    from raytune_yesno.config import build_config
    from raytune_yesno.space import Float
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.run import run_search

    plan = Plan(
        config=build_config({"task": "sine", "epochs": 4}),
        space={"learning_rate": Float(1e-7, 1e-6, log=True)},
        search="random",
        scheduler="hyperband",
        trials=5,
        max_concurrent=2,
    )
    notes: list[str] = []
    logs = open_logs(["tensorboard"], tmp_path)
    with follow_study(logs, tmp_path, notes.append) as listen:
        study = run_search(plan, None, tmp_path, listen=listen)
    assert notes == []
    for trial in study.trial_list:
        seen = reader.EventAccumulator(str(tmp_path / TENSORBOARD / f"trial-{trial.number:05}"))
        seen.Reload()
        losses = {event.step: event.value for event in seen.Scalars("valid_loss")}
        recorded = {epoch["epoch"]: epoch["valid_loss"] for epoch in trial.epochs}
        assert losses == pytest.approx(recorded, rel=1e-6)


def test_a_trial_that_is_retried_is_logged_as_it_is_then(tmp_path: Path) -> None:
    told: list[Any] = []

    class Kept:
        def start(self, trial: int, point: Any, after: int) -> None:
            told.append(("start", trial, after))

        def epoch(self, trial: int, epoch: int, metrics: Any) -> None:
            pass

        def end(self, trial: int, status: str, best: Any) -> None:
            told.append(("end", trial, best["valid_loss"]))

        def close(self) -> None:
            pass

    feed = Feed([Kept()], told.append)
    for event in (
        {"event": "asked", "trial": 0, "point": {"learning_rate": 1e-7}},
        {"event": "started", "trial": 0},
        {"event": "epoch", "trial": 0, "epoch": 1, "valid_loss": 0.01},
        {"event": "resumed", "retry": [0]},
        {"event": "started", "trial": 0},
        {"event": "epoch", "trial": 0, "epoch": 1, "valid_loss": 0.5},
        {"event": "ended", "trial": 0, "status": "done"},
    ):
        feed.put(event)
    feed.close()
    assert told == [("start", 0, 0), ("start", 0, 0), ("end", 0, 0.5)]
