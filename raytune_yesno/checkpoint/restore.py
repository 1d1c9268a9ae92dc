"""Restore a model and an optimiser from a checkpoint, which may be of another model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from raytune_yesno.checkpoint.files import RESUME, STATE_DICT, Checkpoint, UnusableCheckpoint
from raytune_yesno.task_registry import TASKS


def restore_model(build_model: Callable[[], nn.Module], checkpoint: Checkpoint) -> nn.Module:
    """Build the model of a checkpoint's config with the checkpoint's weights.

    A built-in task's model is first built on the ``meta`` device, to compare names and shapes: so
    a config of a huge model, which may be a stranger's, allocates no memory. A constructor of the
    user's own may do what that device cannot, such as reading tensors.

    Raises:
        UnusableCheckpoint: the weights are of another model.
    """
    if checkpoint.config.task in TASKS:
        with torch.device("meta"):
            outline = build_model()
        _load_weights(outline, checkpoint, assign=True)  # torch warns of a copy to this device
    model = build_model()
    _load_weights(model, checkpoint)
    return model


def _load_weights(model: nn.Module, checkpoint: Checkpoint, **options: Any) -> None:
    try:
        model.load_state_dict(checkpoint.state_dict, **options)
    except Exception as error:  # torch raises many types
        raise _mismatch(STATE_DICT, error) from error


def load_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Restore the state of a checkpoint's optimiser, if it was kept.

    Its options, such as the momentum, stay those of the config: `pbt` changes them with the point.

    Raises:
        UnusableCheckpoint: the state is of another model or optimiser.
    """
    if not checkpoint.optimizer:
        return
    fresh = [dict(group) for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(checkpoint.optimizer)
        for group, before in zip(optimizer.param_groups, fresh, strict=True):
            if group.keys() != before.keys():
                raise ValueError("other options")
            for name in before.keys() - {"params"}:
                _check_option(name, group[name], before[name])
            for parameter in group["params"]:
                for name, value in optimizer.state.get(parameter, {}).items():
                    _check_moment(name, value, parameter)
            group.update({name: before[name] for name in before.keys() - {"params"}})
            if isinstance(optimizer, torch.optim.RMSprop) and group["momentum"]:
                # With a momentum of 0 it keeps no buffer, and it creates none for a later one.
                for parameter in group["params"]:
                    if state := optimizer.state.get(parameter):
                        state.setdefault("momentum_buffer", torch.zeros_like(parameter))
    except Exception as error:  # torch raises many types
        raise _mismatch(RESUME, error) from error


def _check_option(name: str, value: Any, before: Any) -> None:
    """Raise ValueError unless an option has the type of its initial value, and a sane size."""
    if isinstance(value, tuple) and isinstance(before, tuple) and len(value) == len(before):
        for one, other in zip(value, before, strict=True):
            _check_option(name, one, other)
    elif isinstance(before, float):
        if type(value) not in (int, float) or not abs(value) <= 1e30:
            raise ValueError(f"{name} is not a number in range")
    elif type(value) is not type(before):
        raise ValueError(f"{name} has another type")


def _check_moment(name: str, value: Any, parameter: torch.Tensor) -> None:
    """Raise ValueError unless a moment is a step, None, or of the parameter's shape."""
    if value is None:
        return
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} is not a tensor")
    if value.shape != (() if name == "step" else parameter.shape):
        raise ValueError(f"{name} has shape {tuple(value.shape)}")


def _mismatch(name: str, reason: object) -> UnusableCheckpoint:
    return UnusableCheckpoint(
        f"{name} does not fit the checkpoint's config ({' '.join(str(reason).split())})",
        "use another checkpoint",
    )
