"""Commands before a study: the study file, the plan, completion."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from raytune_yesno import cli
from raytune_yesno.commands.settings import build_plan, read_settings
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.tasks.task import find_space
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], Any]:
    monkeypatch.chdir(tmp_path)

    def run_command(command: str) -> Any:
        assert cli.main([*shlex.split(command), "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    return run_command


@pytest.mark.parametrize(("task", "data"), [("yesno", "--data synthetic"), ("sine", "")])
def test_a_study_file_is_the_default_study(task: str, data: str, run: Callable[[str], Any]) -> None:
    file = Path(run(f"init {task}.yaml --task {task} {data}")["file"])
    options = cli.build_parser().parse_args(["tune", "--config", str(file)])
    plan = build_plan(read_settings(options), options)
    check_plan(plan)
    assert plan.space == find_space(build_config({"task": task}))
    assert plan.config == build_config({"task": task})
    default = Plan(plan.config, plan.space)
    assert (plan.search, plan.scheduler) == (default.search, default.scheduler)
    assert plan.trials == default.num_trials


def test_every_setting_in_the_comments_can_be_used(run: Callable[[str], Any]) -> None:
    file = Path(run("init --task sine")["file"])
    lines = file.read_text().splitlines()
    used = [line[2:] if "   # " in line and line.startswith("# ") else line for line in lines]
    text = "\n".join(line for line in used if not line.startswith("time_budget"))
    assert text.count("ordered: true") == 1
    file.write_text(text)
    options = cli.build_parser().parse_args(["tune", "--config", str(file)])
    plan = build_plan(read_settings(options), options)
    check_plan(plan)
    assert plan.ordered
    assert plan.stop.patience == 16


def test_a_study_file_replaces_none(run: Callable[[str], Any]) -> None:
    run("init")
    assert cli.main(["init"]) == 2


def test_a_study_file_of_a_users_own_task_is_used_by_the_commands_that_init_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fit.py").write_text(
        "from raytune_yesno.metrics import Metric\nfrom raytune_yesno.space import Float\n\n\n"
        "def fit(config):\n    return {'loss': config['x']}\n\n\n"
        "fit.space, fit.metrics = {'x': Float(0, 1)}, (Metric('loss'),)\n"
    )
    file = tmp_path / "study.yaml"
    assert cli.main(["init", str(file), "--task", f"{tmp_path}/fit.py:fit"]) == 0
    said, text = capsys.readouterr().out, file.read_text()
    assert "data" not in yaml.safe_load(text)  # a function reads none
    for lines in (said.splitlines()[-2:], text.splitlines()[:1]):
        for line in lines:
            words = shlex.split(line.partition("raytune-yesno ")[2])
            options = cli.build_parser().parse_args(words)
            options.config = str(file)
            assert build_plan(read_settings(options), options).space


def test_a_study_file_needs_a_search_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fit.py").write_text("def fit(config):\n    return {'loss': 0}\n")
    name = f"{tmp_path}/fit.py:fit"
    assert cli.main(["init", str(tmp_path / "new.yaml"), "--task", name]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert "search space" in error


def test_a_plan_is_printed_and_nothing_is_kept(run: Callable[[str], Any]) -> None:
    plan = run(
        "tune --dry-run --task sine --set epochs=4 --trials 6 --num-cpus 2 --out new --quiet"
    )
    assert (plan["trials"], plan["slots"], plan["epochs"]) == (6, 2, 4)
    assert plan["seconds"] == pytest.approx(plan["epoch_seconds"] * 4 * (3 + 1))
    assert 0 < plan["disk_bytes"] < 10_000_000
    assert list(Path().iterdir()) == []


def test_a_plan_counts_the_final_round(run: Callable[[str], Any]) -> None:
    plan = run(
        "tune --dry-run --task sine --set epochs=4 --trials 6 --final-round 2:3 --num-cpus 2"
    )
    assert (plan["trials"], plan["final_trials"]) == (6, 6)
    assert plan["seconds"] == pytest.approx(plan["epoch_seconds"] * 4 * (3 + 3 + 1))


def test_a_plan_counts_what_the_workers_of_a_trial_need(run: Callable[[str], Any]) -> None:
    plan = "tune --dry-run --task sine --set epochs=1 --trials 4 --num-cpus 4"
    assert run(f"{plan} --set cpus_per_worker=2")["slots"] == 2
    assert run(f"{plan} --workers-per-trial 3")["slots"] == 1
    with pytest.raises(InputError, match="memory"):
        cli.main([*f"{plan} --set memory_per_worker=1e6 --debug".split()])


def test_a_plan_without_its_gpus_is_refused() -> None:
    plan = ["tune", "--dry-run", "--task", "sine", "--use-gpu", "--debug", "--num-cpus", "2"]
    with pytest.raises(InputError, match="no GPU"):
        cli.main([*plan, "--num-gpus", "0"])
    with pytest.raises(InputError, match="2 CPU and 1 GPU"):
        cli.main([*plan, "--num-gpus", "1", "--workers-per-trial", "2"])


@pytest.mark.parametrize("flags", ["--resume x", "--retry failed", "--top 3"])
def test_a_plan_is_of_a_new_study(flags: str) -> None:
    with pytest.raises(InputError, match=flags.split()[0]):
        cli.main(["tune", "--dry-run", *flags.split(), "--debug"])


@pytest.mark.parametrize("flags", ["--log tensorboard", "--set epochs=1", "--limit loss<=1"])
def test_a_refused_flag_has_the_name_that_was_given(flags: str) -> None:
    with pytest.raises(InputError, match=f"^{flags.split()[0]}: "):
        cli.main(["tune", "--replay", "study", "0", *flags.split(), "--debug"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(shell: str, run: Callable[[str], Any]) -> None:
    script = run(f"completion {shell}")["script"]
    for word in ("tune", "report", "scheduler"):
        assert word in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)
