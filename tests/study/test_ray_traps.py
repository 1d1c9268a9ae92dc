"""Details of Ray Tune experiments that are easily read wrongly."""

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import write_trial

from raytune_yesno import cli
from raytune_yesno.errors import InputError
from raytune_yesno.study import load


def test_a_metric_named_epoch_is_not_the_iteration(tmp_path: Path) -> None:
    write_trial(tmp_path, 0, *({"loss": loss, "epoch": 0} for loss in (0.9, 0.1, 0.5)))
    write_trial(tmp_path, 1, *({"loss": loss, "epoch": math.nan} for loss in (0.9, 0.6, 0.3)))
    study = load(tmp_path)
    assert [len(trial.epochs) for trial in study.trial_list] == [3, 3]
    assert study.best is not None
    assert (study.best.number, study.best.metrics["loss"]) == (0, 0.1)
    assert (study.best.metrics["epoch"], study.best.metrics["metric.epoch"]) == (2, 0)
    assert study.problems == []


def test_the_config_is_that_of_the_best_report(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, 0, {"loss": 1.0}, {"loss": 0.1}, {"loss": 5.0})
    lines = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
    for line, rate in zip(lines, (0.5, 0.25, 0.001), strict=True):
        line["config"]["lr"] = rate
    (folder / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    study = load(tmp_path)
    assert study.best is not None
    assert study.best.best_point["lr"] == 0.25
    assert study.trials["config.lr"].tolist() == [0.25]


@pytest.mark.parametrize("metric", ["brier_score_loss", "inaccuracy", "score", "neg_log_loss"])
def test_an_ambiguous_direction_must_be_given(
    tmp_path: Path, metric: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, value in enumerate((0.3, 0.1, 0.2)):
        write_trial(tmp_path / "exp", number, {metric: value})
    words = ["report", str(tmp_path / "exp"), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"mode: the direction of {metric}" in line
    assert not (tmp_path / "out").exists()
    for mode, best in (("min", 1), ("max", 0)):
        assert cli.main([*words, "--mode", mode, "--json"]) == 0
        shown = capfd.readouterr()
        found = json.loads(shown.out)["best"]
        assert (found["trial"], found["metric"], found["mode"]) == (best, metric, mode)
        assert f"{mode} is best" in shown.err
        assert f"{mode} is best" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(("metric", "best"), [("episode_return_mean", 1), ("iou", 1), ("mae", 2)])
def test_an_implied_direction_is_used(tmp_path: Path, metric: str, best: int) -> None:
    for number, value in enumerate((0.3, 0.9, 0.2)):
        write_trial(tmp_path, number, {metric: value})
    study = load(tmp_path)
    assert study.best is not None
    assert study.best.number == best
    assert "name" in study.mode_source


def test_the_state_file_names_the_metric(tmp_path: Path) -> None:
    write_trial(tmp_path, 0, {"loss": 1.0, "status": 3.0})
    write_trial(tmp_path, 1, {"loss": 2.0, "status": 4.0})
    names = sorted(path.name for path in tmp_path.iterdir())
    data = [[json.dumps({"relative_logdir": name, "status": "TERMINATED"}), "{}"] for name in names]
    state = {"trial_data": data, "runner_data": {"_metric": "status"}}
    (tmp_path / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(state))
    study = load(tmp_path, mode="max")
    assert study.metric == "metric.status"
    assert study.best is not None
    assert study.best.number == 1
    assert load(tmp_path, metric="status", mode="min").best is not None


def test_a_guessed_metric_is_marked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_trial(tmp_path / "exp", 0, {"speed": 1.0, "loss": 1.0})
    assert cli.main(["report", str(tmp_path / "exp"), "--out", str(tmp_path / "out")]) == 0
    assert "guess" in capfd.readouterr().out


def test_trials_are_numbered_in_order_of_creation(tmp_path: Path) -> None:
    for number, code in enumerate(("ff000000", "0a000000", "77777777", "12345678"), start=1):
        folder = write_trial(tmp_path, number, {"loss": 1.0}, config={"x": number})
        folder.rename(tmp_path / f"f_{code}_{number}_x={number}_2026-01-01_00-00-00")
    study = load(tmp_path)
    assert [trial.point["x"] for trial in study.trial_list] == [1, 2, 3, 4]


def test_trials_in_renamed_folders_are_in_order_of_their_starts(
    tmp_path: Path,
) -> None:
    for number in range(12):
        folder = write_trial(tmp_path, number, {"loss": 1.0}, config={"x": number})
        folder.rename(tmp_path / f"mine-{99 - number}")
    assert [trial.point["x"] for trial in load(tmp_path).trial_list] == list(range(12))


def test_metrics_with_reserved_names_are_renamed(tmp_path: Path) -> None:
    own = {"status": 1, "epochs": 77, "seconds": 9.0, "error": 0.25, "attempt": 5, "time": 3.0}
    other = {"total": 4.0, "stamp": 5.0, "restored": 1, "metric.loss": 7}
    write_trial(tmp_path, 0, {"loss": 0.5, **own, **other})
    study = load(tmp_path)
    (row,) = study.trial_rows
    assert (row["status"], row["epochs"], row["seconds"], row["error"]) == ("done", 1, 2.0, None)
    for name, value in own.items():
        assert row[f"metric.{name}"] == value
        assert study.epochs[f"metric.{name}"].tolist() == [value]
    assert {name: row[name] for name in ("total", "stamp", "restored")} == {
        name: other[name] for name in ("total", "stamp", "restored")
    }
    assert row["metric.metric.loss"] == 7


@pytest.mark.parametrize("large", [2**53 + 1, 2**63 + 1, -(2**60) - 1])
def test_large_integers_are_exact(tmp_path: Path, large: int) -> None:
    write_trial(tmp_path / "exp", 0, {"loss": 1.0, "tokens": large}, config={"seed": large})
    write_trial(tmp_path / "exp", 1, {"loss": 2.0, "other": 0.5}, config={"seed": 1})
    study = load(tmp_path / "exp")
    assert study.trial_list[0].metrics["tokens"] == large
    assert study.trials["tokens"][0] == large
    assert study.epochs["tokens"][0] == large
    words = ["report", str(tmp_path / "exp"), "--out", str(tmp_path / "out"), "--metric", "tokens"]
    assert cli.main([*words, "--mode", "max"]) == 0
    table = (tmp_path / "out/trials.csv").read_text()
    assert table.count(str(large)) == 2


def test_a_number_too_large_for_a_float_is_reported(tmp_path: Path) -> None:
    write_trial(tmp_path, 0, {"loss": 1.0, "tokens": 10**400})
    study = load(tmp_path)
    assert study.trial_list[0].metrics["tokens"] is None
    assert any("1 value " in problem for problem in study.problems)


def test_non_finite_values_in_a_config_are_kept_as_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = {"clip": math.inf, "floor": -math.inf, "none": [math.nan], "x": 0.5}
    write_trial(tmp_path / "exp", 0, {"loss": 1.0, "other": math.nan}, config=config)
    write_trial(tmp_path / "exp", 1, {"loss": 2.0}, config={**config, "clip": 1.0})
    words = ["report", str(tmp_path / "exp"), "--out", str(tmp_path / "out"), "--json"]
    assert cli.main(words) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    best = json.loads(last, parse_constant=pytest.fail)["best"]
    assert best["config"] == {"clip": "inf", "floor": "-inf", "none": ["nan"], "x": 0.5}
    assert best["metrics"]["other"] is None
    table = (tmp_path / "out/trials.csv").read_text().splitlines()
    assert [line.split(",")[table[0].split(",").index("config.clip")] for line in table] == [
        "config.clip", "inf", "1.0",
    ]  # fmt: skip


def test_progress_csv_replaces_a_missing_result_json(tmp_path: Path) -> None:
    folder = write_trial(
        tmp_path, 0, {"loss": 3.0, "tokens": 2**53 + 1}, {"loss": 1.0, "tokens": 5}
    )
    expected = load(tmp_path).trial_list[0].epochs
    lines = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
    names = [name for name in lines[0] if name != "config"]
    rows = [",".join(str(line[name]).replace("None", "") for name in names) for line in lines]
    (folder / "progress.csv").write_text("\n".join([",".join(names), *rows, "1.0,2"]) + "\n")
    (folder / "result.json").unlink()
    study = load(tmp_path)
    without = [{key: epoch[key] for key in epoch if key != "point"} for epoch in expected]
    assert study.trial_list[0].epochs == without
    assert any("progress.csv:4" in problem for problem in study.problems)


@pytest.mark.parametrize("form", ["texts", "mappings"])
def test_old_state_files_are_read(tmp_path: Path, form: str) -> None:
    """Until Ray 2.5 ``checkpoints`` held the trials."""
    names = [write_trial(tmp_path, number, {"score": float(number)}).name for number in range(2)]
    states: list[Any] = [
        {"logdir": f"/gone/exp/{names[0]}", "status": "ERROR", "num_failures": 1},
        {"logdir": f"/gone/exp/{names[1]}", "status": "TERMINATED", "num_failures": 1},
        {"logdir": None, "trial_id": "abc", "status": "PENDING", "config": {"lr": 0.5}},
    ]
    if form == "texts":
        states = [json.dumps(state) for state in states]
    content = {"checkpoints": states, "runner_data": {"_metric": "score"}}
    (tmp_path / "experiment_state-2020-01-01_00-00-00.json").write_text(json.dumps(content))
    study = load(tmp_path, mode="max")
    assert [trial.status for trial in study.trial_list] == ["failed", "done", "running"]
    assert [trial.attempts for trial in study.trial_list] == [1, 2, 1]
    assert study.trial_list[2].point == {"lr": 0.5}
    assert study.metric == "score"


def test_trials_without_reports_are_listed(tmp_path: Path) -> None:
    name = write_trial(tmp_path, 0, {"loss": 1.0}).name
    data = [
        [json.dumps({"relative_logdir": path, "status": status, "trial_id": path}), "{}"]
        for path, status in ((name, "TERMINATED"), ("f_1", "TERMINATED"), ("f_2", "ERROR"))
    ]
    (tmp_path / "experiment_state-2026.json").write_text(json.dumps({"trial_data": data}))
    study = load(tmp_path)
    assert sorted(trial.status for trial in study.trial_list) == ["done", "done", "failed"]


def test_a_renamed_trial_folder_is_identified_by_its_id(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, 0, {"loss": 1.0})
    state = {"relative_logdir": folder.name, "status": "ERROR", "trial_id": "8381e_00000"}
    (tmp_path / "experiment_state-2026.json").write_text(
        json.dumps({"trial_data": [[json.dumps(state), "{}"]]})
    )
    folder.rename(tmp_path / "the good one")
    assert [trial.status for trial in load(tmp_path).trial_list] == ["failed"]


def test_trials_of_an_earlier_run_are_left_out_and_reported(tmp_path: Path) -> None:
    names = [write_trial(tmp_path, number, {"loss": float(number)}).name for number in range(3)]
    for second, listed in (("01", names[:1]), ("02", names[1:2])):
        data = [
            [json.dumps({"relative_logdir": name, "status": "TERMINATED"}), "{}"] for name in listed
        ]
        file = tmp_path / f"experiment_state-2026-01-01_00-00-{second}.json"
        file.write_text(json.dumps({"trial_data": data}))
    study = load(tmp_path)
    # The third trial began after the state file was written, so it may be running.
    assert [trial.status for trial in study.trial_list] == ["done", "running"]
    assert [trial.metrics["loss"] for trial in study.trial_list] == [1.0, 2.0]
    assert len(study.problems) == 2


def test_an_error_is_the_complete_message(tmp_path: Path) -> None:
    write_trial(tmp_path, 0, {"loss": 1.0}, error="ValueError: too\nlarge\n\nby far")
    folder = write_trial(tmp_path, 1, {"loss": 1.0}, error="KeyError: 1")
    with (folder / "error.txt").open("a") as file:
        file.write("Failure # 2 (occurred at …)\n  File …\n    raise X\nIndexError: 2\n")
    study = load(tmp_path)
    assert [trial.error for trial in study.trial_list] == [
        "ValueError: too large by far", "IndexError: 2",
    ]  # fmt: skip


def test_names_are_printed_on_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a\x1b[31m\nb"
    config = {"k\x1b[0m": "=1+1\x1b[2J\n"}
    write_trial(folder, 0, {"loss": 1.0}, config=config)
    write_trial(folder, 1, {"loss": 2.0}, config={}, error="\x1b]0;title\x07 =cmd")
    (folder / "experiment_state-\x1b[1m.json").write_text("{")
    assert cli.main(["report", str(folder), "--export", str(folder / "t\x1b[1m.csv")]) == 0
    shown = capfd.readouterr()
    for text in (shown.out, shown.err, (folder / "trials.csv").read_text()):
        assert "\x1b" not in text
        assert all(line.isprintable() for line in text.splitlines())
    assert "'=1+1" in (folder / "trials.csv").read_text()


class Leaving:
    """An object with a pickle that creates a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"mode": "max", "metric": "score"}, "tuner.pkl"),
        ({"mode": None, "metric": None, "deep": {"_metric": "score", "_mode": "max"}}, "tuner.pkl"),
        ({"metric": "score", "other": "max"}, ""),
        ({"mode": "max", "other": "score"}, ""),
        ({"mode": "most", "metric": "score"}, ""),
    ],
)
def test_tuner_pkl_is_read_without_unpickling(
    tmp_path: Path, settings: dict[str, Any], source: str
) -> None:
    write_trial(tmp_path / "exp", 0, {"score": 1.0, "speed": 3.0})
    trace = tmp_path / "trace"
    content = pickle.dumps({"score": 0, "max": 1, "first": Leaving(trace), "config": settings})
    (tmp_path / "exp/tuner.pkl").write_bytes(content)
    if source:
        study = load(tmp_path / "exp")
        assert (study.metric, study.mode) == ("score", "max")
        assert source in study.mode_source
    else:
        with pytest.raises(InputError):
            load(tmp_path / "exp")
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x05no pickle", b"\x80\x05h\xff.", b"\x80\x05\x8c"])
def test_a_damaged_tuner_pkl_is_ignored(tmp_path: Path, content: bytes) -> None:
    write_trial(tmp_path, 0, {"loss": 1.0})
    (tmp_path / "tuner.pkl").write_bytes(content)
    study = load(tmp_path)
    assert (study.metric, study.mode) == ("loss", "min")


def test_reports_that_ray_did_not_write_are_reported(tmp_path: Path) -> None:
    """Ray does not write all reports of trials that it pauses and resumes."""
    names = [write_trial(tmp_path, number, {"loss": 1.0 + number}).name for number in range(2)]
    data = [
        [
            json.dumps({"relative_logdir": name, "status": "TERMINATED"}),
            json.dumps({"metric_analysis": {"loss": {"min": least, "max": 9.0}}}),
        ]
        for name, least in zip(names, (1.0, 0.5), strict=True)
    ]
    (tmp_path / "experiment_state-2026.json").write_text(json.dumps({"trial_data": data}))
    (problem,) = load(tmp_path).problems
    assert problem.startswith("1 trial ")
