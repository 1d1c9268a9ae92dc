"""Evaluate a checkpoint of any PyTorch task on the task's own test or validation part."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raytune_yesno.checkpoint import Checkpoint, restore_model
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import as_number, read_metrics
from raytune_yesno.task_declaration import TaskDeclaration
from raytune_yesno.tasks.task import Data, build_task
from raytune_yesno.training.loop import find_device, mixed_precision, validate


@dataclass(frozen=True)
class Evaluation:
    """The figures of a checkpoint.

    Attributes:
        part: ``test``, or ``valid`` if the task has no test.
        figures: metrics by name; of a test, what the task returns.
        said: one line about them, from the task; empty if it has none.
    """

    part: str
    figures: Any
    said: str = ""


def evaluate_checkpoint(checkpoint: Checkpoint, data: Data | None) -> Evaluation:
    """Evaluate a checkpoint, on the config's device unless the task has a test of its own.

    Args:
        checkpoint: a checkpoint of a PyTorch task.
        data: the task's data; None for a task without data.

    Raises:
        InputError: the task has no model, or the checkpoint is of another one.
    """
    config = checkpoint.config
    declared = config.declaration
    if not declared.trains_model:
        raise InputError(f"{config.task} is a function: it has no model to evaluate")
    if declared.test:
        return run_test(declared, checkpoint, data)
    device = find_device(config)
    task = build_task(config, data, device)
    model = restore_model(task.build_model, checkpoint).to(device)
    with mixed_precision(config, device):
        figures = read_metrics(validate(task, model, device), checkpoint.epoch)
    return Evaluation("valid", figures)


def run_test(task: TaskDeclaration, checkpoint: Checkpoint, data: Data | None) -> Evaluation:
    """Evaluate a checkpoint by the function ``test`` of its task, which has one.

    Raises:
        InputError: the method returns something that cannot be recorded.
    """
    assert task.test
    figures = _to_plain(task.test(checkpoint, data))
    if task.describe_test:
        return Evaluation("test", figures, str(task.describe_test(figures)))
    shown = figures.items() if isinstance(figures, dict) else [("result", figures)]
    said = "  ".join(
        f"{name} {value:.4g}" for name, value in shown if isinstance(value, int | float)
    )
    return Evaluation("test", figures, said)


def _to_plain(value: Any) -> Any:
    """Return what a test has measured as values that can be recorded."""
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    number = as_number(value)
    if number is None:
        raise InputError(
            f"test of the task has returned a {type(value).__name__}; return numbers and texts, in "
            "dicts and lists"
        )
    return number
