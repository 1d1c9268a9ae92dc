"""The command ``init``: write a study file with comments, to be edited."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import yaml

from raytune_yesno.commands.display import Printer
from raytune_yesno.commands.settings import DEFAULT_DATA, refuse_data
from raytune_yesno.config import build_config, find_task
from raytune_yesno.errors import InputError, one_line, quote
from raytune_yesno.space import format_space
from raytune_yesno.study_settings import STUDY_SETTINGS
from raytune_yesno.task_registry import TASKS

_HEAD = """\
# Settings of a study: {command}
# To use a setting below, remove the `# ` before it. Flags override this file.

{data}seed: 0
trials: 32
"""
_EXAMPLES = {
    "search": "auto",
    "scheduler": "asha",
    "max_concurrent": "2",
    "time_budget": "600",
    "target": "loss=0.1",
    "patience": "16",
    "max_failures": "4",
    "ordered": "true",
    "repeats": "5",
    "final_round": "{points: 3, seeds: 3}",
    "keep_checkpoints": "3",
}


def init(options: Namespace, say: Printer) -> dict[str, Any]:
    """Write the file and print the command that uses it.

    Raises:
        InputError: the file exists or cannot be written, or the task is unknown or has no space.
    """
    file = Path(options.file)
    text = write_study_file(options.task, options.data or DEFAULT_DATA, file.name)
    refuse_data(options, options.task)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError(f"{file}: it exists; give another name") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror})") from None
    command = _name_command(options.task, str(file))
    say(one_line(f"written: {file}"))
    if _lacks_metric(options.task):
        say("first name the metric that decides in this file: `metric: …`")
    say(f"next:\n  {command} --dry-run\n  {command}")
    return {"file": str(file.absolute())}


def write_study_file(task: str, data: str, name: str) -> str:
    """Return the text of a commented study file for a task.

    Args:
        task: the task, as in ``--task``.
        data: the data, as in ``--data``.
        name: the name of the file, for its first comment.

    Raises:
        InputError: the task is unknown, or has no search space.
    """
    from raytune_yesno.tasks.task import find_space

    TASKS.trust(task)
    config = build_config({"task": task})
    space = find_space(config)
    if not space:
        raise InputError(f"task {task}: it has no search space of its own; give tune --space FILE")
    source = f"data: {_inline(data)}\n" if find_task(task).load_data else ""
    lines = [_HEAD.format(command=_name_command(task, name), data=source)]
    if _lacks_metric(task):
        lines.append('metric: ""               # required: the metric that decides, by its name\n')
    for setting in STUDY_SETTINGS:
        if setting.name in _EXAMPLES:
            line = f"# {setting.name}: {_EXAMPLES[setting.name]}"
            lines.append(f"{line:<24} # {setting.help}\n")
        elif setting.name == "points":
            points = _inline(["default", *({k: config.as_dict()[k]} for k in list(space)[:1])])
            lines.append(f"# points: {points}  # to try first; other keys are searched\n")
    lines.append(
        "\nconfig:                  # shared by all trials; `train --help-config` lists keys\n"
    )
    lines.append(f"  task: {_inline(task)}\n  epochs: {config.epochs}\n")
    lines.append(
        "\nspace:                   # searched: float, int or choice; log: true for orders\n"
    )
    lines += [f"  {_inline(key)}: {_inline(value)}\n" for key, value in format_space(space).items()]
    return "".join(lines)


def _name_command(task: str, file: str) -> str:
    """Return the command that uses a study file; only a command can name code of the user."""
    own = [] if task in TASKS else ["--task", task]
    return " ".join(map(quote, ["raytune-yesno", "tune", *own, "--config", file]))


def _lacks_metric(task: str) -> bool:
    """Return whether a task is a function that does not declare what it returns."""
    function = find_task(task).function
    return function is not None and not function.own_metrics


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("...\n").strip()
