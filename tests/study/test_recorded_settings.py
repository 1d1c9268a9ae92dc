"""Settings in the record of a study: each has a type, whoever wrote it."""

import json
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.space import Float
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE, StudyStore
from raytune_yesno.study_settings import STUDY_SETTINGS, StudySetting
from raytune_yesno.tuning.plan import Plan

WRONG: dict[type, Any] = {str: 5, int: "x", float: "x", bool: "x", list: 5, dict: 5}
each_setting = pytest.mark.parametrize("setting", STUDY_SETTINGS, ids=lambda each: each.name)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    config = build_config({"task": "sine", "epochs": 1})
    plan = Plan(config, {"learning_rate": Float(1e-7, 1e-5)}, search="random", trials=3)
    StudyStore(tmp_path).append("study", data="", corpus={}, slots=1, **plan.as_dict())
    assert Plan.from_study(load(tmp_path)).as_dict() == plan.as_dict()
    return tmp_path / STORE


@each_setting
def test_a_setting_of_a_wrong_type_is_refused_in_one_line(
    setting: StudySetting, record: Path
) -> None:
    first = json.loads(record.read_text())
    assert setting.name in first
    record.write_text(json.dumps({**first, setting.name: WRONG[setting.kind]}) + "\n")
    with pytest.raises(InputError, match=setting.name) as refused:
        load(record.parent)
    assert "\n" not in str(refused.value)
    assert "valid" not in str(refused.value).rpartition("which is not")[2]  # says the type


@each_setting
def test_a_changed_setting_of_a_wrong_type_is_left_out(setting: StudySetting, record: Path) -> None:
    StudyStore(record.parent).append("resumed", **{setting.name: WRONG[setting.kind]})
    study = load(record.parent)
    assert study.settings[setting.name] == study.begun_with[setting.name]
    assert len(study.problems) == setting.on_resume  # others may not change, and do not


@pytest.mark.parametrize("value", [[5], ["none"], [{"hidden": 4}]])
def test_wrong_points_are_refused(value: list[Any], record: Path) -> None:
    first = json.loads(record.read_text())
    record.write_text(json.dumps({**first, "points": value}) + "\n")
    with pytest.raises(InputError, match="point"):
        _ = Plan.from_study(load(record.parent)).known_points
