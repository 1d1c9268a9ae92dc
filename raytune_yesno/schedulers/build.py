"""The registry of trial schedulers: which trials go on, and which end early."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.schedulers import TrialScheduler

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.registry import check_options
from raytune_yesno.schedulers.asha_median import ASHA, FIFO, MedianRule
from raytune_yesno.schedulers.deterministic import OrderedASHA, OrderedMedian
from raytune_yesno.schedulers.hyperband import Hyperband
from raytune_yesno.schedulers.pbt import PBT
from raytune_yesno.space import Domain


def _fifo(epochs: int, ordered: bool) -> TrialScheduler:
    """Run every trial to its end; who is first makes no difference."""
    return FIFO()


def _asha(
    epochs: int, ordered: bool, grace_period: int = 0, reduction_factor: float = 3
) -> TrialScheduler:
    """Stop the worse trials at every rung: Li et al. (2020), "A system for massively parallel
    hyperparameter tuning". Rungs lie at ``grace_period`` epochs (0: a quarter of them all) and
    every ``reduction_factor``-fold of it."""
    # Nearer to 1 there would be more rungs than epochs, and Ray makes a list of them.
    if not 1.1 <= reduction_factor <= 100:
        raise InputError(f"reduction_factor: {reduction_factor} must be from 1.1 to 100")
    first = _grace_period(grace_period, epochs)
    if ordered:
        return OrderedASHA(epochs, first, reduction_factor)
    return ASHA(
        time_attr="epoch",
        max_t=epochs,
        grace_period=first,
        reduction_factor=reduction_factor,
    )


def _hyperband(epochs: int, reduction_factor: float = 3) -> TrialScheduler:
    """See :class:`raytune_yesno.schedulers.hyperband.Hyperband`."""
    return Hyperband(epochs, reduction_factor)


def _median(
    epochs: int, ordered: bool, grace_period: int = 0, min_trials: int = 3
) -> TrialScheduler:
    """Stop a trial whose best loss is worse than the median of the others' mean losses so far:
    Golovin et al. (2017), "Google Vizier". Never before ``grace_period`` epochs (0: a quarter of
    them all), nor before ``min_trials`` others have come as far."""
    if min_trials < 1:
        raise InputError(f"min_trials: {min_trials} must be at least 1")
    first = _grace_period(grace_period, epochs)
    if ordered:
        return OrderedMedian(epochs, first, min_trials)
    return MedianRule(
        time_attr="epoch",
        grace_period=first,
        min_samples_required=min_trials,
        min_time_slice=math.inf,  # a trial without enough others to compare with goes on
    )


def _pbt(
    epochs: int,
    space: Mapping[str, Domain],
    seed: int,
    interval: int = 0,
    quantile: float = 0.25,
    resample_probability: float = 0.25,
    step: float = 0.1,
) -> TrialScheduler:
    """See :class:`~raytune_yesno.schedulers.pbt.PBT`; ``interval`` 0: a fifth of the epochs."""
    return PBT(
        epochs,
        dict(space),
        seed,
        interval=interval,
        quantile=quantile,
        resample_probability=resample_probability,
        step=step,
    )


SCHEDULERS: dict[str, Callable[..., TrialScheduler]] = {
    "fifo": _fifo,
    "asha": _asha,
    "hyperband": _hyperband,
    "median": _median,
    "pbt": _pbt,
}


TAKEN = ("epochs", "space", "seed", "ordered")
"""What schedulers are built with that is no option of theirs."""

ORDERED = ("fifo", "asha", "median")
"""Those whose verdicts can be made to depend on the trials' numbers alone."""


def build_scheduler(
    name: str,
    epochs: int,
    *,
    space: Mapping[str, Domain] | None = None,
    seed: int = 0,
    ordered: bool = False,
    **options: Any,
) -> TrialScheduler:
    """Return a scheduler over the metric ``epoch``, up to ``epochs``.

    Args:
        space, seed: what `pbt` explores, and by which chance.
        ordered: judge each trial only against trials of lower numbers, see
            :mod:`raytune_yesno.schedulers.deterministic`.

    Raises:
        InputError: the name or an option is unknown, or a value makes no sense.
    """
    if name not in SCHEDULERS:
        raise InputError(f"unknown scheduler {name!r}; {suggest_name(name, SCHEDULERS)}")
    options = check_options(f"scheduler {name}", SCHEDULERS[name], options, taken=TAKEN)
    about: dict[str, Any] = {"space": space or {}, "seed": seed} if name == "pbt" else {}
    if name in ORDERED:
        about["ordered"] = ordered
    elif ordered:
        raise InputError(
            f"scheduler {name} with ordered: its verdicts rest on trials that are judged together; "
            f"choose scheduler {', '.join(ORDERED[:-1])} or {ORDERED[-1]}"
        )
    try:
        return SCHEDULERS[name](epochs, **about, **options)
    except InputError as error:
        raise InputError(f"scheduler {name}: {error}") from error


def _grace_period(asked: int, epochs: int) -> int:
    if not 0 <= asked <= epochs:
        raise InputError(f"grace_period: {asked} must be from 0 to the {epochs} epochs")
    return asked or max(1, epochs // 4)
