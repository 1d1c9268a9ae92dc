"""Experiments written by Ray Tune: every number equals that of Ray's ``ResultGrid``."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import ray_experiments

from raytune_yesno.metrics import name_metric
from raytune_yesno.study import Study, load

# Fields that Ray adds to each report; the tables have other names for them.
RAY_FIELDS = {
    *("timestamp", "checkpoint_dir_name", "done", "should_checkpoint", "training_iteration"),
    *("trial_id", "date", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip"),
    *("time_since_restore", "iterations_since_restore", "experiment_tag"),
}
ENDED = {"TERMINATED": {"done", "stopped"}, "ERROR": {"failed"}}


def write(folder: Path, names: list[str]) -> Path:
    """Run Ray experiments in a separate process."""
    script = ray_experiments.__file__
    with (folder / "log").open("w") as log:
        subprocess.run([sys.executable, script, folder, *names], stdout=log, stderr=log, check=True)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("ray"), list(ray_experiments.EXPERIMENTS))


@pytest.fixture(scope="module")
def written_slowly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("ray"), list(ray_experiments.SLOW_EXPERIMENTS))


@pytest.mark.ray
@pytest.mark.parametrize("name", ray_experiments.EXPERIMENTS)
def test_every_number_is_that_of_ray(written: Path, name: str) -> None:
    compare(written, name)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("name", ray_experiments.SLOW_EXPERIMENTS)
def test_every_number_of_slow_experiments_is_that_of_ray(written_slowly: Path, name: str) -> None:
    compare(written_slowly, name)


def compare(folder: Path, name: str) -> None:
    """Compare a study with Ray's results of the experiment."""
    file = folder / f"{name}.json"
    assert file.is_file(), (folder / "log").read_text()[-4000:]
    expected = json.loads(file.read_text())
    study = load(folder / name)
    metric = name_metric(expected["metric"])
    assert (study.metric, study.mode) == (metric, expected["mode"])
    assert len(study.trial_list) == len(expected["trials"])
    statuses = [trial.status for trial in study.trial_list]
    assert statuses.count("failed") == expected["num_errors"]
    assert statuses.count("done") + statuses.count("stopped") == expected["num_terminated"]
    for trial, of_ray in zip(study.trial_list, expected["trials"], strict=True):
        assert trial.status in ENDED.get(of_ray["status"], {"running"})
        assert len(trial.epochs) == len(of_ray["rows"])
        for epoch, row in zip(trial.epochs, of_ray["rows"], strict=True):
            compare_report(epoch, row)
        if of_ray["status"] == "ERROR":
            assert trial.error
        if of_ray["status"] == "TERMINATED":
            assert trial.attempts == of_ray["failures"] + 1
        point, config = plain(trial.point), plain(of_ray["config"])
        if not of_ray["rows"]:
            # Ray did not copy the trial's folder. Its state file has the config, NumPy's numbers
            # pickled, and nothing is unpickled.
            config = {
                key: value for key, value in config.items() if point.get(key) != "'(pickled)'"
            }
            point = {key: point[key] for key in config}
        assert point == config, (of_ray["status"], study.problems)
    # Ray loses reports of trials that it pauses and resumes; the study reports that.
    lost = any(loses_best(trial, expected) for trial in expected["trials"])
    # Otherwise only trials that Ray ignores too are left out; the study reports that as well.
    assert bool(study.problems) == (lost or name in ("restarted", "twice")), study.problems
    if not lost:
        compare_best(study, expected)


def loses_best(trial: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Say whether Ray judges a trial by a report that is missing from its files."""
    known = trial["known"]
    if known is None or not math.isfinite(known):
        return False
    values = [row[expected["metric"]] for row in trial["rows"]]
    return all(value > known if expected["mode"] == "min" else value < known for value in values)


def compare_report(epoch: dict[str, Any], row: dict[str, Any]) -> None:
    """Compare a report with its row in Ray's ``metrics_dataframe``."""
    assert epoch["epoch"] == row["training_iteration"]
    assert epoch["seconds"] == pytest.approx(row["time_this_iter_s"], abs=1e-6)
    for key, value in row.items():
        if key in RAY_FIELDS or isinstance(value, bool | str | list) or value is None:
            continue
        if key.startswith("config/"):
            assert plain({"": epoch["point"].get(key[7:])}) == plain({"": value})
        elif math.isfinite(value):
            kept = epoch[name_metric(key)]
            assert kept == value
            assert isinstance(kept, int) == isinstance(value, int)
        else:
            assert epoch.get(name_metric(key)) is None


def compare_best(study: Study, expected: dict[str, Any]) -> None:
    """Compare the best trial in all of Ray's scopes, and its config."""
    values = [
        [epoch[study.metric] for epoch in trial.epochs if epoch.get(study.metric) is not None]
        for trial in study.trial_list
    ]
    rows = [trial["rows"] for trial in expected["trials"]]
    finite = all(math.isfinite(row[expected["metric"]]) for trial in rows for row in trial)
    judge = min if study.mode == "min" else max
    # Ray forgets the reports before one that is not finite.
    best_of = {"all": judge}
    if finite:
        best_of |= {
            "last": lambda found: found[-1],
            "last-5-avg": lambda found: sum(found[-5:]) / len(found[-5:]),
            "last-10-avg": lambda found: sum(found[-10:]) / len(found[-10:]),
        }
    for scope, score in best_of.items():
        scores = [score(found) if found else None for found in values]
        best = expected["best"][scope]
        known = [value for value in scores if value is not None]
        if finite or scope == "all":
            assert best is not None
            assert scores[best] == pytest.approx(judge(known), rel=1e-12)
    assert study.best is not None
    assert study.best.metrics[study.metric] == judge(known_values(values))
    rows_of_best = rows[study.best.number]
    row = next(row for row in rows_of_best if row[expected["metric"]] == judge_row(study))
    if any(key.startswith("config/") for key in row):
        config = {key[7:]: value for key, value in row.items() if key.startswith("config/")}
        assert plain(study.best.best_point) == plain(config)


def known_values(values: list[list[float]]) -> list[float]:
    return [value for found in values for value in found]


def judge_row(study: Study) -> float:
    assert study.best is not None
    return float(study.best.metrics[study.metric])


def plain(config: dict[str, Any]) -> dict[str, str]:
    """Return a config for comparison, in which NaN equals NaN."""
    return {key: repr(value) for key, value in config.items() if "marks" not in key}


@pytest.mark.ray
def test_metric_and_direction_have_a_source(written: Path) -> None:
    for name, metric_source in (("random", "state"), ("asha_judges", "tuner.pkl")):
        study = load(written / name)
        assert metric_source in study.metric_source
        assert "tuner.pkl" in study.mode_source
