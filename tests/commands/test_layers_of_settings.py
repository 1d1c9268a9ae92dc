"""Which source of a setting wins, and that values are checked together once all are merged."""

from pathlib import Path
from typing import Any

import pytest

from raytune_yesno import cli
from raytune_yesno.commands.plans import check_new_study
from raytune_yesno.commands.settings import build_plan, read_settings
from raytune_yesno.errors import InputError
from raytune_yesno.tuning.plan import Plan

TASK = """
from dataclasses import dataclass
from raytune_yesno.config import setting
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.space import Int

class Net:
    metrics = (Metric("loss"), Metric("size"), Metric("accuracy", mode="max"))
    space = {"heads": Int(1, 4)}
    build_model = steps = loss = validate = metrics_of = staticmethod(print)

    @dataclass(frozen=True)
    class Settings:
        width: int = setting(12, "width", low=1)
        heads: int = setting(4, "heads", low=1, coupled=True)

        def check(self):
            if self.width % self.heads:
                raise InputError(f"heads: {self.heads} does not divide {self.width}")
"""
SPACE = "space: {heads: {choice: [1, 2, 5, 10]}}\n"
FIVE = f"config: {{width: 10, heads: 5}}\n{SPACE}"


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    (tmp_path / "net.py").write_text(TASK)

    def build(file: str, *words: str) -> Plan:
        (tmp_path / "study.yaml").write_text(file or "seed: 0")
        task = ("--task", f"{tmp_path}/net.py:Net", "--config", f"{tmp_path}/study.yaml")
        options = cli.build_parser().parse_args(["tune", *task, *words])
        built = build_plan(read_settings(options), options)
        check_new_study(built, options)
        return built

    return build


@pytest.mark.parametrize(
    ("file", "words", "width", "heads"),
    [
        (FIVE, (), 10, 5),
        (FIVE, ("--set", "heads=2"), 10, 2),
        (SPACE, ("--set", "width=10", "--set", "heads=5"), 10, 5),
        (FIVE, ("--set", "width=20"), 20, 5),
        (FIVE, ("--point", "heads=5"), 10, 5),
        (FIVE, ("--point", "heads=5", "--search", "auto"), 10, 5),
    ],
)
def test_values_are_checked_together_once_all_are_merged(
    file: str, words: tuple[str, ...], width: int, heads: int, plan: Any
) -> None:
    config = plan(file, *words).config
    assert (config.width, config.heads) == (width, heads)


@pytest.mark.parametrize(
    ("file", "words", "says"),
    [
        (FIVE, ("--set", "width=9"), "heads: 5 does not divide 9"),
        (FIVE, ("--set", "heads=0"), "^--set: heads: 0 is out of range"),
        (FIVE, ("--point", "heads=0"), "^--point: heads: 0 is out of range"),
        ("config: {heads: 0}", (), "study.yaml: heads: 0 is out of range"),
        ("", ("--set", "width=8", "--point", "heads=3"), "heads: 3 does not divide 8"),
        ("points: [{heads: 3}]", ("--set", "width=8"), "heads: 3 does not divide 8"),
    ],
)
def test_what_does_not_fit_is_refused(
    file: str, words: tuple[str, ...], says: str, plan: Any
) -> None:
    with pytest.raises(InputError, match=says):
        plan(file, *words)


MANUAL = "search: manual\nsearch_options: {points: [{heads: 1}, {heads: 2}]}\n"


@pytest.mark.parametrize(
    ("file", "words", "search", "trials", "heads"),
    [
        ("", ("--point", "heads=3"), "manual", 1, [3]),
        ("", ("--point", "heads=3", "--trials", "8"), "auto", 8, [3]),
        (MANUAL, (), "manual", 2, [1, 2]),
        (MANUAL, ("--point", "heads=3"), "manual", 3, [1, 2, 3]),
        ("points: [default]", (), "auto", 32, [4]),
        ("points: [default]", ("--point", "heads=3"), "auto", 32, [4, 3]),
        (f"points: [{{heads: 4}}]\n{MANUAL}", ("--point", "heads=3"), "manual", 4, [1, 2, 4, 3]),
        ("points: [{heads: 4}]", ("--search", "manual"), "manual", 1, [4]),
        ("search: grid\nsearch_options: {levels: 2}", ("--search", "manual", "--point", "heads=3"),
         "manual", 1, [3]),
    ],
)  # fmt: skip
def test_points_of_file_and_flags_are_added(
    file: str, words: tuple[str, ...], search: str, trials: int, heads: list[int], plan: Any
) -> None:
    built = plan(file, *words)
    points = built.points or built.search_options["points"]
    assert (built.search, built.num_trials) == (search, trials)
    assert [point["heads"] for point in points] == heads


@pytest.mark.parametrize(
    ("file", "words", "objectives"),
    [
        ("objectives: [loss, size]", ("--metric", "size"), ["size"]),
        ("metric: loss", ("--objective", "size", "--objective", "accuracy"), ["size", "accuracy"]),
        ("metric: loss\nmode: min", ("--set", "objectives=[size,loss]"), ["size", "loss"]),
        ("metric: loss\nmode: min", ("--metric", "accuracy"), ["accuracy"]),
    ],
)
def test_flags_replace_the_metrics_of_a_file(
    file: str, words: tuple[str, ...], objectives: list[str], plan: Any
) -> None:
    found = plan(file, *words).config.objective.objectives
    assert [metric.name for metric in found] == objectives
    assert {metric.mode for metric in found if metric.name == "accuracy"} <= {"max"}


def test_the_mode_of_a_file_stays_with_its_metric(plan: Any) -> None:
    (metric,) = plan("metric: size\nmode: max", "--metric", "size").config.objective.objectives
    assert metric.mode == "max"


@pytest.mark.parametrize(
    ("key", "flag"),
    [("checkpoint_every", "--checkpoint-every"), ("warm-start", "--warm-start"), ("logs", "--log")],
)
def test_a_flag_that_is_no_key_is_named(key: str, flag: str, plan: Any) -> None:
    with pytest.raises(InputError, match=f"unknown setting '{key}'; .*{flag}$"):
        plan(f"{key}: 60")


@pytest.mark.parametrize("command", ["train", "tune"])
def test_two_numbers_of_workers_are_refused(command: str) -> None:
    flag = {"train": "--num-workers", "tune": "--workers-per-trial"}[command]
    words = [command, "--task", "sine", "--set", "num_workers=4", flag]
    assert read_settings(cli.build_parser().parse_args([*words, "4"]))
    with pytest.raises(InputError, match=f"num_workers: two values are given .*{flag} 2"):
        read_settings(cli.build_parser().parse_args([*words, "2"]))
