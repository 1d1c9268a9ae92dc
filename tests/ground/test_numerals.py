"""Numbers are read in the same way everywhere in a settings file."""

import json
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.cli import build_parser
from raytune_yesno.commands.settings import build_plan, read_settings
from raytune_yesno.config import find_task
from raytune_yesno.errors import InputError
from raytune_yesno.numerals import read_number
from raytune_yesno.space import Choice, Float, Int, parse_space, read_point
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan


def plan_of(text: str, folder: Path, name: str = "settings.yaml") -> Plan:
    (folder / name).write_text(text, encoding="utf-8")
    options = build_parser().parse_args(["tune", "--config", str(folder / name)])
    plan = build_plan(read_settings(options), options)
    check_plan(plan)
    return plan


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e3", 1000), ("25e-2", 0.25), (" 2.0 ", 2), ("+.5", 0.5), ("010", 10), ("1E3", 1000)],
)
def test_reads_decimal_numbers(text: str, number: float) -> None:
    assert read_number(text, float) == number
    if number == int(number):
        assert type(read_number(text, int)) is int


@pytest.mark.parametrize(
    "value", ["1_0", "1_0.5", "1:30", "1:30.5", "0x10", "٣", "", "inf", "nan", True, None, [1]]
)
@pytest.mark.parametrize("kind", [int, float])
def test_refuses_numbers_of_python_and_yaml_only(value: Any, kind: type) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_number(value, kind)


def test_a_whole_number_has_no_fraction() -> None:
    for value in (2.5, "2.5", "25e-1", float("inf")):
        with pytest.raises(ValueError, match="is"):
            read_number(value, int)


# Each setting that takes a number: a settings file with @ for the number, and the value read.
SETTINGS: dict[str, tuple[str, Any]] = {
    "config": ("config: {learning_rate: @}", lambda plan: plan.config.learning_rate),
    "space": ("space: {learning_rate: {float: [@, 1]}}", lambda p: p.space["learning_rate"].low),
    "choice": (
        "space: {learning_rate: {choice: [@, 1]}}",
        lambda plan: plan.space["learning_rate"].options[0],
    ),
    "point": (
        "{search: manual, search_options: {points: [{learning_rate: @}]}, "
        "space: {learning_rate: {float: [0, 1]}}}",
        lambda plan: plan.build_algorithm().points[0]["learning_rate"],
    ),
    "scheduler option": (
        "{search: random, scheduler: pbt, scheduler_options: {quantile: @}}",
        lambda plan: plan.build_scheduler().quantile,
    ),
    "time budget": ("time_budget: @", lambda plan: plan.stop.time_budget),
}


@pytest.mark.parametrize("setting", SETTINGS)
class TestNumbers:
    @pytest.mark.parametrize("number", ["25e-2", "2.5E-1", "0.25", ".25", "+0.25"])
    def test_accepts_decimal_forms(self, setting: str, number: str, tmp_path: Path) -> None:
        text, read = SETTINGS[setting]
        assert read(plan_of(text.replace("@", number), tmp_path)) == 0.25

    @pytest.mark.parametrize("number", ["0_0.25", "0:0.25", "0:00.25", "0_1", "0:1", "0x1"])
    def test_refuses_other_forms(self, setting: str, number: str, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            plan_of(SETTINGS[setting][0].replace("@", number), tmp_path)


WHOLE_SETTINGS: dict[str, tuple[str, Any]] = {
    "config": ("config: {epochs: @}", lambda plan: plan.config.epochs),
    "config list": ("config: {channels: [@, 8]}", lambda plan: plan.config.channels[0]),
    "space": ("space: {hidden_units: {int: [@, 64.0]}}", lambda p: p.space["hidden_units"].low),
    "point": (
        "{search: manual, search_options: {points: [{hidden_units: @}]}, "
        "space: {hidden_units: {int: [1, 64]}}}",
        lambda plan: plan.build_algorithm().points[0]["hidden_units"],
    ),
    "option of a choice": (
        "{search: manual, search_options: {points: [{channels: [@, 64.0]}]}, "
        "space: {channels: {choice: [[8, 16], [32, 64]]}}}",
        lambda plan: plan.build_algorithm().points[0]["channels"][0],
    ),
    "search option": (
        "{search: random, search_options: {}, trials: @}",
        lambda plan: plan.trials,
    ),
    "levels": (
        "{search: grid, search_options: {levels: @}, space: {dropout: {float: [0, 0.5]}}}",
        lambda plan: plan.build_algorithm().num_points,
    ),
    "patience": ("patience: @", lambda plan: plan.stop.patience),
    "W": ("W: @", lambda plan: plan.window),
    "seed": ("seed: @", lambda plan: plan.config.seed),
}


@pytest.mark.parametrize("setting", WHOLE_SETTINGS)
class TestWholeNumbers:
    @pytest.mark.parametrize("number", ["32", "32.0", "3.2e1", "+32"])
    def test_accepts_decimal_forms(self, setting: str, number: str, tmp_path: Path) -> None:
        text, read = WHOLE_SETTINGS[setting]
        value = read(plan_of(text.replace("@", number), tmp_path))
        assert (value, type(value)) == (32, int)

    @pytest.mark.parametrize("number", ["32.5", "3_2", "3_2.0", "0:32", "0:32.0", "yes", "[32]"])
    def test_refuses_others(self, setting: str, number: str, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            plan_of(WHOLE_SETTINGS[setting][0].replace("@", number), tmp_path)


def test_reads_a_target(tmp_path: Path) -> None:
    plan = plan_of("target: loss=1e-1", tmp_path)
    _, value = plan.stop.parse_target(find_task(plan.config.task).metrics)
    assert value == 0.1
    for text in ("loss=1_0.5", "loss=1:30", "loss=inf"):
        with pytest.raises(InputError):
            plan_of(f"target: {text}", tmp_path)


def test_converts_points_to_the_options_of_a_choice() -> None:
    space = parse_space(
        {
            "a": {"choice": [1, "x", [16, 32]]},
            "b": {"choice": [1, 1.0, True]},
            "c": {"int": [1.0, "4"]},
        }
    )
    assert space["c"] == Int(1, 4)
    assert read_point(space, {"a": 1.0, "c": "2.0"}) == {"a": 1, "c": 2}
    assert read_point(space, {"a": [16.0, "32"]}) == {"a": [16, 32]}
    (value,) = read_point(space, {"b": 1.0}).values()
    assert type(value) is float
    assert read_point({"d": Choice(True, 0.5), "e": Float(0, 1)}, {"d": 1, "e": "x"}) == {
        "d": 1,
        "e": "x",
    }


@pytest.mark.parametrize("text", ["1_0", "1:30", "٣", "2.5", "1e999", "x"])
def test_reads_flags(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_parser().parse_args(["train", "--epochs", "2.0"]).epochs == 2
    with pytest.raises(SystemExit) as exit:
        build_parser().parse_args(["train", "--epochs", text])
    assert exit.value.code == 2
    assert text in capsys.readouterr().err


class TestJSON:
    TEXT = (
        '{\n\t"data": "synthetic:10",\n\t"time_budget": 1e3,\n\t"space":\t{"channels": '
        '{"choice": [[4, 8],\t[8, 16]]}},\n\t"config": {"epochs": 2}\n}\n'
    )

    def test_may_contain_tabs(self, tmp_path: Path) -> None:
        plan = plan_of(self.TEXT, tmp_path, "settings.json")
        assert plan.space == {"channels": Choice([4, 8], [8, 16])}
        assert (plan.stop.time_budget, plan.config.epochs) == (1000, 2)

    def test_may_contain_escaped_surrogate_pairs(self, tmp_path: Path) -> None:
        folder = "waves \U0001d11e \u00e9"
        text = json.dumps({"data": folder})
        assert "\\ud834\\udd1e" in text
        for name, written in (("a.json", text), ("a.yaml", f'data: "{text[10:-2]}"')):
            (tmp_path / name).write_text(written)
            options = build_parser().parse_args(["tune", "--config", str(tmp_path / name)])
            assert read_settings(options)["data"] == folder

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{\n\t"trials": 1,\n\t"trials": 2}', "twice"),
            ('{"data": "\\ud834"}', "surrogate"),
            ('{"data":\t"\\udd1e\\ud834"}', "surrogate"),
            ('{\t"trials": NaN}', "NaN"),
            ('{\t"trials": ' + "9" * 5000 + "}", "9999"),
            ('{\t"data": ' + "[" * 60 + "]" * 60 + "}", "deep"),
            ('{\t"trials": 1_0}', "settings.json"),
        ],
    )
    def test_has_the_limits_of_yaml(self, text: str, message: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=message) as raised:
            plan_of(text, tmp_path, "settings.json")
        assert len(str(raised.value).splitlines()) == 1
