"""The trial schedulers by name."""

import inspect
from collections.abc import Callable, Collection
from typing import Any

from ray.tune.schedulers import TrialScheduler

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.schedulers.asynchronous import FIFO, Asynchronous
from raytune_yesno.schedulers.deterministic import DeterministicScheduler
from raytune_yesno.schedulers.hyperband import Hyperband
from raytune_yesno.schedulers.pbt import PBT
from raytune_yesno.schedulers.stopping_rules import MedianStopping, Rule, SuccessiveHalving
from raytune_yesno.space import Space
from raytune_yesno.values import check_options


def _fifo(epochs: int, ordered: bool) -> TrialScheduler:
    """Run every trial to its last epoch, deterministic or not."""
    return FIFO()


def _asha(
    epochs: int,
    ordered: bool,
    grace_period: int = 0,
    reduction_factor: float = 0,
    several: bool = False,
) -> TrialScheduler:
    """Apply :class:`~raytune_yesno.schedulers.stopping_rules.SuccessiveHalving`.

    The first rung is at ``grace_period`` epochs (0: a quarter of all epochs, or a half with several
    objectives). One of ``reduction_factor`` trials continues (0: one of 3, or of 2 with several
    objectives).
    """
    # A front has many members, which must all continue: a third of the trials lost some of them.
    reduction_factor = reduction_factor or (2 if several else 3)
    # Closer to 1, there would be more rungs than epochs.
    if not 1.1 <= reduction_factor <= 100:
        raise InputError(f"reduction_factor: {reduction_factor} must be from 1.1 to 100")
    # Before errors fall, size alone would decide, and all large networks would stop.
    first = _grace_period(grace_period, epochs, 2 if several else 4)
    return _apply(SuccessiveHalving(epochs, first, reduction_factor), epochs, ordered)


def _hyperband(epochs: int, reduction_factor: float = 3) -> TrialScheduler:
    """Run Hyperband, see :class:`raytune_yesno.schedulers.hyperband.Hyperband`."""
    return Hyperband(epochs, reduction_factor)


def _median(
    epochs: int, ordered: bool, grace_period: int = 0, min_trials: int = 3
) -> TrialScheduler:
    """Apply :class:`~raytune_yesno.schedulers.stopping_rules.MedianStopping`.

    A trial is not stopped before ``grace_period`` epochs (0: a quarter of all epochs), nor before
    ``min_trials`` others have reached its epoch.
    """
    if min_trials < 1:
        raise InputError(f"min_trials: {min_trials} must be at least 1")
    first = _grace_period(grace_period, epochs, 4)
    return _apply(MedianStopping(epochs, first, min_trials), epochs, ordered)


def _apply(rule: Rule, epochs: int, ordered: bool) -> TrialScheduler:
    return DeterministicScheduler(epochs, rule) if ordered else Asynchronous(rule)


def _pbt(
    epochs: int,
    space: Space,
    seed: int,
    interval: int = 0,
    quantile: float = 0.25,
    resample_probability: float = 0.25,
    step: float = 0.1,
    several: bool = False,
) -> TrialScheduler:
    """Run PBT, see :class:`~raytune_yesno.schedulers.pbt.PBT`; ``interval`` 0: epochs / 5."""
    if several:
        raise InputError(
            "it takes one objective: it copies good trials over bad ones, which moves all of them "
            "to one point of the front; choose scheduler asha, hyperband or median"
        )
    return PBT(
        epochs,
        space,
        seed,
        interval=interval,
        quantile=quantile,
        resample_probability=resample_probability,
        step=step,
    )


def _parameters(build: Callable[..., TrialScheduler]) -> Collection[str]:
    return inspect.signature(build).parameters.keys()


SCHEDULERS: dict[str, Callable[..., TrialScheduler]] = {
    "fifo": _fifo,
    "asha": _asha,
    "hyperband": _hyperband,
    "median": _median,
    "pbt": _pbt,
}


RESERVED = ("epochs", "space", "seed", "ordered", "several")
"""Parameters that :func:`build_scheduler` sets itself; they are not options of the user's."""

DETERMINISTIC = tuple(name for name, build in SCHEDULERS.items() if "ordered" in _parameters(build))
"""Schedulers with a deterministic form, for ``build_scheduler(ordered=True)``."""

CHANGING = frozenset({"pbt"})
"""Schedulers that change the points of trials while they train."""

WITHOUT_RUNGS = frozenset({"fifo", "median"})
"""Schedulers under which trials do not end at the same few numbers of epochs."""


def build_scheduler(
    name: str,
    epochs: int,
    *,
    space: Space | None = None,
    seed: int = 0,
    ordered: bool = False,
    num_objectives: int = 1,
    **options: Any,
) -> TrialScheduler:
    """Build a scheduler by its name.

    Args:
        name: a key of :data:`SCHEDULERS`.
        epochs: epochs of a trial that is not stopped early.
        space: the search space, which ``pbt`` explores.
        seed: seed of the draws of ``pbt``.
        ordered: compare each trial only with trials of lower numbers, so that the result does not
            depend on timing; see :mod:`raytune_yesno.schedulers.deterministic`.
        num_objectives: with more than one, trials are compared by non-dominated sorting, see
            :mod:`raytune_yesno.schedulers.stopping_rules`.
        options: options of that scheduler.

    Returns:
        A scheduler that counts time in the result key ``epoch``.

    Raises:
        InputError: the name or an option is unknown, or an option is out of range.
    """
    if name not in SCHEDULERS:
        raise InputError(f"unknown scheduler {name!r}; {suggest_name(name, SCHEDULERS)}")
    options = check_options(f"scheduler {name}", SCHEDULERS[name], options, reserved=RESERVED)
    if ordered and name not in DETERMINISTIC:
        raise InputError(
            f"scheduler {name} cannot run ordered: it compares trials of a group with each other; "
            f"choose scheduler {', '.join(DETERMINISTIC[:-1])} or {DETERMINISTIC[-1]}"
        )
    several = num_objectives > 1
    about = {"space": space or {}, "seed": seed, "ordered": ordered, "several": several}
    about = {key: about[key] for key in about.keys() & _parameters(SCHEDULERS[name])}
    try:
        return SCHEDULERS[name](epochs, **about, **options)
    except InputError as error:
        raise InputError(f"scheduler {name}: {error}") from error


def _grace_period(asked: int, epochs: int, divisor: int) -> int:
    """Return the epochs asked for; for 0, those of a part of all epochs, at least 1."""
    if not 0 <= asked <= epochs:
        raise InputError(f"grace_period: {asked} must be from 0 to the {epochs} epochs")
    return asked or max(1, epochs // divisor)
