"""The registry of trial schedulers: which trials go on, and which end early."""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.options import check_options


def _fifo(epochs: int) -> TrialScheduler:
    """Run every trial to its end."""
    return FIFOScheduler()


def _asha(epochs: int, grace_period: int = 0, reduction_factor: float = 3) -> TrialScheduler:
    """Stop the worse trials at every rung: Li et al. (2020), "A system for massively parallel
    hyperparameter tuning". Rungs lie at ``grace_period`` epochs (0: a quarter of them all) and
    every ``reduction_factor``-fold of it."""
    if not 1 < reduction_factor <= 100:
        raise InputError(f"reduction_factor: {reduction_factor} must be above 1 and at most 100")
    if not 0 <= grace_period <= epochs:
        raise InputError(f"grace_period: {grace_period} must be between 0 and the {epochs} epochs")
    return ASHAScheduler(
        time_attr="epoch",
        max_t=epochs,
        grace_period=grace_period or max(1, epochs // 4),
        reduction_factor=reduction_factor,
    )


SCHEDULERS: dict[str, Callable[..., TrialScheduler]] = {"fifo": _fifo, "asha": _asha}


def build_scheduler(name: str, epochs: int, **options: Any) -> TrialScheduler:
    """Return a scheduler over the metric ``epoch``, up to ``epochs``, for any Tuner.

    Raises:
        InputError: the name or an option is unknown, or a value makes no sense.
    """
    if name not in SCHEDULERS:
        raise InputError(f"unknown scheduler {name!r}; {suggest_name(name, SCHEDULERS)}")
    check_options(f"scheduler {name}", SCHEDULERS[name], options, taken=("epochs",))
    return SCHEDULERS[name](epochs, **options)
