"""Merge the settings of a YAML file, ``--set`` and flags."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.config import (
    Config,
    EngineConfig,
    build_config,
    declare_task,
    find_task,
    read_layer,
)
from raytune_yesno.errors import InputError, quote, suggest_name
from raytune_yesno.files.yaml_text import load_documents, read_text
from raytune_yesno.space.text_form import KINDS
from raytune_yesno.study_settings import STUDY_SETTINGS
from raytune_yesno.task_declaration import TaskDeclaration
from raytune_yesno.task_registry import TASKS, is_same_code, name_task
from raytune_yesno.values import convert, parse_assignments, read_typed, split_commas

if TYPE_CHECKING:
    from raytune_yesno.space import Space
    from raytune_yesno.tuning.plan import Plan

_SETTINGS: dict[str, type] = {
    "data": str,
    "skip_bad": bool,
    "config": dict,
    "space": dict,
    "workers_per_trial": int,
    "seed": int,
    "metric": str,
    "mode": str,
    "objectives": list,
    "limits": list,
    **{setting.name: object if setting.read else setting.kind for setting in STUDY_SETTINGS},
}
DEFAULT_DATA = "yesno"


def read_settings(options: Namespace, recorded: Config | None = None) -> dict[str, Any]:
    """Return the settings of ``--config`` and ``--set``, ``--data`` and ``--skip-bad``.

    Other flags override them later, see :func:`given_flags` and :func:`build_plan`.

    Args:
        options: the parsed options.
        recorded: the config of a run that is resumed, whose task sets the known keys.

    Raises:
        InputError: a file cannot be read, or a setting is unknown or has a wrong value.
    """
    if options.task:
        TASKS.trust(options.task)
    settings = _read_file(options)
    config, assignments = settings.get("config", {}), parse_assignments(options.assignments)
    task = recorded.task if recorded else _find_task_name(options, config, assignments)
    config = _add_top_level(config, settings, str(options.config))
    flags = given_flags(options)
    config = _drop_overridden(config, {**assignments, **flags})
    resumes = getattr(options, "resume", None)
    space = {} if resumes else read_space(settings, options) or {}
    try:
        declaration = recorded.declaration if recorded else find_task(task)
        if declaration.function and not resumes:
            assignments = _type_values(assignments)
        settings["config"] = {**config, **assignments}
        if not resumes:
            declaration = declare_settings(settings, options, space)
    except InputError as error:
        if options.task or "task" in assignments or "task" not in config:
            raise
        raise InputError(f"{options.config}: config: {error}") from None
    read_layer(config, declaration, str(options.config or "config"))
    read_layer(assignments, declaration, "--set")
    for key in flags.keys() & assignments.keys():
        flag = _FLAGS.get(key, key.replace("_", "-"))
        if key == "num_workers" and not hasattr(options, key):
            flag = "workers-per-trial"
        _refuse_two_values(key, {f"--{flag} ": flags, f"--set {key}=": assignments})
    if options.data:
        settings["data"] = options.data
    if options.skip_bad:
        settings["skip_bad"] = True
    return settings


def declare_settings(
    settings: Mapping[str, Any], options: Namespace, space: "Space"
) -> TaskDeclaration:
    """Return what the task declares with settings of :func:`read_settings` and flags."""
    config = {**settings["config"], **given_flags(options)}
    return declare_task(config.get("task", Config.task), space=space, config=config)


def _add_top_level(
    config: Mapping[str, Any], settings: Mapping[str, Any], file: str
) -> Mapping[str, Any]:
    """Return a config with the keys that a settings file may also give outside ``config``.

    Raises:
        InputError: one is given in both places, with two values.
    """
    for key in ("seed", "metric", "mode", "objectives", "limits"):
        if key in settings:
            _refuse_two_values(key, {f"{file}: {key}: ": settings, f"config: {key}: ": config})
            config = {**config, key: settings[key]}
    if "workers_per_trial" in settings:
        asked = {"num_workers": settings["workers_per_trial"]}
        given = {f"{file}: workers_per_trial: ": asked, "config: num_workers: ": config}
        _refuse_two_values("num_workers", given)
    return config


def _type_values(assignments: dict[str, Any]) -> dict[str, Any]:
    """Return the values of ``--set`` for a function, whose keys have the types of their values."""
    engine = EngineConfig.__dataclass_fields__
    return {
        key: value if key in engine else read_typed(value) for key, value in assignments.items()
    }


def read_task_name(options: Namespace) -> Any:
    """Return the task that ``--task``, ``--set`` or ``--config`` names, and allow it to be run.

    Raises:
        InputError: the file cannot be read, or has an unknown setting.
    """
    if options.task:
        TASKS.trust(options.task)
    config = _read_file(options).get("config", {})
    return _find_task_name(options, config, parse_assignments(options.assignments))


def _find_task_name(
    options: Namespace, config: Mapping[str, Any], assignments: Mapping[str, Any]
) -> Any:
    """Return the task that is named; from a file, it may be no text."""
    return options.task or {"task": Config.task, **config, **assignments}["task"]


def _read_file(options: Namespace) -> dict[str, Any]:
    """Return the settings of ``--config``; none without it."""
    if not options.config:
        return {}
    settings = read_yaml(Path(options.config), "a YAML file of settings")
    settings = {key: value for key, value in settings.items() if value is not None}
    for key, value in settings.items():
        if key not in _SETTINGS:
            hint = suggest_name(str(key), _SETTINGS)
            if _is_domain(value):
                hint = f"a search space is given with --space {quote(options.config)}"
            elif key in Config.__dataclass_fields__:
                hint = f"write it below config, as config: {{{key}: …}}"
            elif (name := str(key).replace("-", "_")) in vars(options).keys() - _NOT_FLAGS:
                flag = _FLAGS.get(name, name.replace("_", "-"))
                hint = f"it is no key of a file; give the flag --{flag}"
            raise InputError(f"{options.config}: unknown setting {key!r}; {hint}")
        settings[key] = convert(key, _SETTINGS[key], value, str(options.config))
    return settings


def _drop_overridden(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a file without the keys in whose place others are given."""
    dropped = set(given)
    if "objectives" in given or given.get("metric", config.get("metric")) != config.get("metric"):
        dropped |= {"metric", "mode"}
    if "metric" in given:
        dropped.add("objectives")
    return {key: value for key, value in config.items() if key not in dropped}


def _refuse_two_values(key: str, sources: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise InputError if two sources, by what precedes the value, give a key different values."""
    given = {name: layer[key] for name, layer in sources.items() if key in layer}
    if len({str(value) for value in given.values()}) > 1:
        said = ", ".join(f"{name}{value}" for name, value in given.items())
        raise InputError(f"{key}: two values are given ({said}); omit one")


def config_help(task: str = Config.task) -> str:
    """Return one line for each key of a task's config: name, meaning, options, default."""
    lines = []
    usual = build_config({"task": task})
    for key in fields(usual):
        value = getattr(usual, key.name)
        default = ",".join(map(str, value)) if isinstance(value, tuple) else value
        options = " | ".join(key.metadata["options"])
        lines.append(
            f"  {key.name:<14} {key.metadata['help']}{f' ({options})' * bool(options)} [{default}]"
        )
    return "\n".join(lines)


def refuse_flags(
    options: Namespace,
    *names: str,
    because: str = "--resume uses the original settings",
) -> None:
    """Refuse flags that would have no effect.

    Args:
        options: the parsed options.
        names: names of options that must not be given.
        because: the reason, for the error.

    Raises:
        InputError: one of them was given.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False and value != []:  # 0 is a value
            flag = _FLAGS.get(name, name.replace("_", "-"))
            raise InputError(f"--{flag}: {because}; omit it")


_FLAGS = {"assignments": "set", "objectives": "objective", "limits": "limit", "logs": "log"}
"""Flags whose values have another name, by that name."""
_NOT_FLAGS = {"run"}
"""Attributes of the parsed options that stand for no flag."""


def refuse_data(options: Namespace, task: str) -> None:
    """Refuse the options that name data, for a task that reads none.

    Raises:
        InputError: one of them was given, or the task is unknown.
    """
    if not find_task(task).load_data:
        because = f"task {task} reads no data"
        refuse_flags(options, "data", because=because)
        if hasattr(options, "skip_bad"):
            refuse_flags(options, "skip_bad", because=because)


def check_task(asked: str | None, recorded: str, what: str) -> None:
    """Check that ``--task`` names the task of recorded work; the file may be in another folder.

    Args:
        asked: the task that is asked for, if any.
        recorded: the task of the work.
        what: the work, for the error.

    Raises:
        InputError: it is another task.
    """
    if asked and asked != recorded and not is_same_code(recorded, asked):
        raise InputError(f"--task {asked}: {what} is of the task {recorded}")


def resume_command(
    command: str, file: Path, storage: str | None = None, task: str = Config.task
) -> str:
    """Return the command that resumes work; empty if its record, ``file``, does not exist.

    Args:
        command: ``train`` or ``tune``.
        file: the record of the work.
        storage: the folder or URI to resume from [the folder of ``file``].
        task: the task of the work.
    """
    folder = quote(storage or str(file.parent))
    return f"raytune-yesno {command} --resume {folder}{name_task(task)}" * file.is_file()


def split_point(text: str, where: str) -> dict[str, Any]:
    """Split a point, ``key=value,…``, into values as text; lists are in brackets, ``[16,32]``.

    Raises:
        InputError: it has another form.
    """
    return dict(parse_assignments(split_commas(text), where=where))


def read_point(text: str, task: TaskDeclaration) -> dict[str, Any]:
    """Read a point to try, see :func:`split_point`.

    Args:
        text: the point.
        task: what the task whose keys it sets declares.

    Raises:
        InputError: a key is unknown, or a value has the wrong type or is out of range.
    """
    read = read_layer(split_point(text, "--point"), task, "--point")
    return {key: list(each) if isinstance(each, tuple) else each for key, each in read.items()}


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Args:
        path: the file.
        what: the expected kind of file, for errors.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"{path}: cannot be read ({reason}); give {what}") from None
    try:
        documents = load_documents(text, decimal=True)
    except ValueError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if len(documents) > 1:
        raise InputError(f"{path}: expected one YAML document, found {len(documents)}")
    content = documents[0] if documents else None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values")
    return content


def given_flags(options: Namespace) -> dict[str, Any]:
    """Return the config keys given by flags of their own."""
    names = ("task", "metric", "mode", "objectives", "limits", "epochs", "seed", "use_gpu")
    given = {name: getattr(options, name, None) for name in names}
    workers = "num_workers" if hasattr(options, "num_workers") else "workers_per_trial"
    given["num_workers"] = getattr(options, workers, None)
    return {key: value for key, value in given.items() if value is not None}


def read_space(settings: Mapping[str, Any], options: Namespace) -> "Space | None":
    """Return the search space that the user gives; None for the task's own.

    Raises:
        InputError: the space is invalid; the message contains its file.
    """
    from raytune_yesno.space import parse_space

    space, source = settings.get("space"), options.config
    if getattr(options, "space", None):
        space, source = read_yaml(Path(options.space), "a YAML file of domains"), options.space
        named = {key for key, value in space.items() if not _is_domain(value)}
        if named & _SETTINGS.keys() - {"seed"}:
            raise InputError(
                f"--space {source}: this is a study file, not a search space; give it with "
                f"--config {quote(source)}"
            )
    if space is None:
        return None
    try:
        return parse_space(space)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _is_domain(value: Any) -> bool:
    return isinstance(value, Mapping) and not value.keys().isdisjoint(KINDS)


def build_plan(settings: Mapping[str, Any], options: Namespace) -> "Plan":
    """Return the plan of a study; flags override settings."""
    from raytune_yesno.tasks.task import find_space
    from raytune_yesno.tuning.plan import DEFAULT_POINT, Plan
    from raytune_yesno.tuning.plan_checks import check_space

    flags = given_flags(options)
    if "workers_per_trial" in settings and "num_workers" not in settings["config"]:
        flags = {"num_workers": settings["workers_per_trial"], **flags}
    space = read_space(settings, options)
    declaration = declare_settings(settings, options, space or {})
    config = build_config(settings["config"], flags, declaration=declaration, searched=space or {})
    names = [setting.name for setting in STUDY_SETTINGS]
    asked = {name: settings[name] for name in names if name in settings}
    typed = [
        text if text == DEFAULT_POINT else read_point(text, config.declaration)
        for text in options.point or []
    ]
    points = [*asked.pop("points", []), *typed]
    # Points on the command line alone are all that is tried. Those of a file begin a search, and so
    # do fewer points than trials.
    searches = (getattr(options, "trials", None) or asked.get("trials") or 0) > len(points)
    usual = "manual" if points == typed and not searches else Plan.search
    if points:
        asked["points"] = points
        if (options.search or asked.get("search", usual)) == "manual":
            if asked.get("search") != "manual":
                asked["search_options"] = {}  # those of the file are of another search
            asked["search"] = "manual"
    flags = {name: getattr(options, name, None) for name in names}
    asked |= {name: value for name, value in flags.items() if value is not None}
    is_given = points or asked.get("search_options", {}).get("points")
    if asked.get("search") == "manual" and not is_given:
        raise InputError(
            "search manual needs points; give --point NAME=VALUE,NAME=VALUE for each trial, or "
            "search_options: {points: [...]} in the study file"
        )
    chosen = find_space(config) if space is None else space
    if not chosen:
        raise InputError(
            f"task {config.task}: it has no search space of its own; give --space FILE"
        )
    plan = Plan.from_settings(config, chosen, asked)
    if space is not None:
        try:
            check_space(plan)
        except InputError as error:
            raise InputError(f"{options.space or options.config}: {error}") from None
    return plan
