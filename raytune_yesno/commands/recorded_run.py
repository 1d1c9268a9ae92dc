"""The settings that a run of ``train`` recorded in its folder."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from raytune_yesno.commands.settings import read_yaml
from raytune_yesno.config import Config, build_config, restore_config
from raytune_yesno.errors import InputError
from raytune_yesno.task_registry import is_same_code

SETTINGS_FILE = "settings.yaml"


def resume_settings(
    out: Path, given: Mapping[str, Any], flags: Mapping[str, Any]
) -> tuple[dict[str, Any], Config]:
    """Return the settings and the config of a resumed run.

    Args:
        out: the run's folder.
        given: settings that override the recorded ones.
        flags: config keys given as flags; they override both.

    Raises:
        InputError: there is no run, or a given value would change what may not change on resume.
    """
    settings, before = read_recorded(out)
    if is_same_code(str(flags.get("task", "")), before.task):  # from another folder
        flags = {key: value for key, value in flags.items() if key != "task"}
    config = build_config(before, given["config"], flags)
    recorded = select_fixed(before)
    for key, value in select_fixed(config).items():
        if value != recorded.get(key):
            raise InputError(
                f"{key}: a resumed run keeps its config; start a new run to change {key}"
            )
    return {**settings, **given}, config


def read_recorded(out: Path) -> tuple[dict[str, Any], Config]:
    """Return the recorded settings and config of a run.

    Raises:
        InputError: there is no run, or its settings are damaged.
    """
    file = out / SETTINGS_FILE
    if not file.is_file():
        raise InputError(
            f"{out}: no run here (no {file.name}); give the folder that `train` printed"
        )
    settings = read_yaml(file, "a run's folder, as `train` printed it")
    if not (isinstance(settings.get("config"), dict) and isinstance(settings.get("data"), str)):
        raise InputError(f"{file}: damaged: it lacks `data` or `config`")
    return settings, restore_config(settings["config"], str(file))


def select_fixed(config: Config) -> dict[str, Any]:
    """Return the keys of a config that may not change on resume."""
    may_change = {field.name for field in fields(config) if field.metadata["on_resume"]}
    return {key: value for key, value in config.as_dict().items() if key not in may_change}
