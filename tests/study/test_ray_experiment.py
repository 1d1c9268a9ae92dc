"""Ray Tune experiments become studies."""

import json
import math
from pathlib import Path

import pytest
from helpers.builders import write_trial

from raytune_yesno.errors import InputError
from raytune_yesno.study import load


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "exp"
    write_trial(folder, 0, {"loss": 3.0}, {"loss": 1.0}, {"loss": 2.0})
    write_trial(folder, 1, {"loss": 4.0})
    write_trial(folder, 2, {"loss": 0.5}, error="ValueError: too <b>large</b>")
    return folder


def test_an_experiment_becomes_a_study(experiment: Path) -> None:
    study = load(experiment)
    assert [trial.status for trial in study.trial_list] == ["done", "stopped", "failed"]
    assert (study.metric, study.mode, study.searched, study.problems) == ("loss", "min", True, [])
    assert study.trial_list[2].error == "ValueError: too <b>large</b>"
    best = study.best
    assert best is not None
    # As in Ray, a failed trial may be the best.
    assert (best.number, best.metrics["epoch"], best.metrics["loss"]) == (2, 1, 0.5)
    assert study.ranking[1].best_point == {"lr": 0.1, "net/depth": 2}
    assert study.epochs["loss"].tolist() == [3.0, 1.0, 2.0, 4.0, 0.5]
    assert study.trials["seconds"].tolist() == [6.0, 2.0, 2.0]
    assert study.efficiency is not None
    # One slot, from second 1000 to 1022, of which 10 were spent in the three trials.
    assert study.efficiency.efficiency == pytest.approx(10 / 22)


def test_statuses_come_from_the_state_file(experiment: Path) -> None:
    states = dict(
        zip(
            sorted(path.name for path in experiment.iterdir()),
            ("TERMINATED", "RUNNING", "TERMINATED"),
            strict=True,
        )
    )
    data = [
        [json.dumps({"relative_logdir": name, "status": status}), "{}"]
        for name, status in states.items()
    ]
    (experiment / "experiment_state-2026.json").write_text(json.dumps({"trial_data": data}))
    study = load(experiment)
    assert [trial.status for trial in study.trial_list] == ["done", "running", "stopped"]
    assert not study.searched
    assert study.trial_list[2].error is None  # it was retried and succeeded


def test_damage_is_left_out_and_reported(experiment: Path) -> None:
    first, second, _ = sorted(experiment.iterdir())
    with (first / "result.json").open("a") as file:
        file.write('{"loss": 0.0, "ti')
    (second / "params.json").unlink()
    (experiment / "experiment_state-2026.json").write_text("{")
    study = load(experiment)
    assert len(study.trial_list[0].epochs) == 3
    assert study.trial_list[1].point == {
        "lr": 0.2,
        "net/depth": 2,
    }  # every report contains the config
    assert len(study.problems) == 3
    assert any("result.json:4" in problem for problem in study.problems)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_not_the_best(tmp_path: Path, loss: float) -> None:
    write_trial(tmp_path, 0, {"loss": loss}, {"loss": 2.0})
    best = load(tmp_path).best
    assert best is not None
    assert best.metrics["loss"] == 2.0


def test_the_first_of_equal_trials_is_the_best_as_in_ray(tmp_path: Path) -> None:
    write_trial(tmp_path / "tie", 0, {"accuracy": 0.1}, {"accuracy": 0.5}, {"accuracy": 1.0})
    write_trial(tmp_path / "tie", 1, {"accuracy": 1.0}, {"accuracy": 0.5}, {"accuracy": 0.9})
    # Equal as floats only
    write_trial(tmp_path / "large", 0, {"reward": 2**53})
    write_trial(tmp_path / "large", 1, {"reward": 2**53 + 1})
    for name, number in (("tie", 0), ("large", 1)):
        study = load(tmp_path / name)
        assert study.best is not None
        assert study.best.number == number
        assert [each.trial for each in study.candidates] == study.ranking


class TestMetric:
    def test_is_the_only_reported_one(self, tmp_path: Path) -> None:
        write_trial(tmp_path, 0, {"mean_accuracy": 0.5}, {"mean_accuracy": 0.8})
        study = load(tmp_path)
        assert (study.metric, study.mode) == ("mean_accuracy", "max")
        assert study.best is not None
        assert study.best.metrics["mean_accuracy"] == 0.8

    def test_must_be_given_if_ambiguous(self, tmp_path: Path) -> None:
        write_trial(tmp_path, 0, {"speed": 1.0, "size": 2.0}, {"speed": 0.5, "size": 3.0})
        with pytest.raises(InputError, match=r"metric: .* speed, size"):
            load(tmp_path)
        study = load(tmp_path, metric="size", mode="max")
        assert study.best is not None
        assert study.best.metrics["size"] == 3.0


def test_a_trial_without_a_report_is_running(tmp_path: Path) -> None:
    write_trial(tmp_path, 0)
    study = load(tmp_path)
    assert [trial.status for trial in study.trial_list] == ["running"]
    assert (study.best, study.efficiency, len(study.epochs)) == (None, None, 0)


def test_an_experiment_is_read_from_a_uri(experiment: Path) -> None:
    study = load(experiment.as_uri())
    assert (study.name, study.trials["loss"].tolist()) == ("exp", [1.0, 4.0, 0.5])


def test_pickles_are_not_read(experiment: Path) -> None:
    for folder in [experiment, *experiment.iterdir()]:
        (folder / "params.pkl").write_bytes(b"\x80this is no pickle")
    assert len(load(experiment).trial_list) == 3
