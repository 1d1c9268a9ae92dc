"""Tune from Python: ``from raytune_yesno import tune``, in a script or a notebook."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.common import note, remark_on_data
from raytune_yesno.commands.display import Display
from raytune_yesno.commands.output_folders import is_begun, open_folder
from raytune_yesno.config import build_config, declare_task, find_task, register_task
from raytune_yesno.errors import InputError, Interrupted, suggest_name
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.space import Space, Tree, build_space, parse_space
from raytune_yesno.study_settings import CHECKPOINT_EVERY_S, STUDY_SETTINGS
from raytune_yesno.values import convert

if TYPE_CHECKING:
    from raytune_yesno.study import Study
    from raytune_yesno.tuning.plan import Plan

_running = threading.Lock()
_RESOURCES = ("cpu", "gpu", "memory")


def tune(
    objective: Any,
    space: Mapping[str, Any] | None = None,
    *,
    metric: str = "",
    mode: str = "",
    objectives: Sequence[str] | None = (),
    limits: Sequence[str] | None = (),
    trials: int | None = None,
    search: str | None = None,
    scheduler: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    resources: Mapping[str, float] | None = None,
    config: Mapping[str, Any] | None = None,
    data: str | Path = "",
    save: Callable[[Any, str], Any] | None = None,
    load: Callable[[str], Any] | None = None,
    address: str | None = None,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY_S,
    quiet: bool = False,
    **settings: Any,
) -> "Study":
    """Tune a function, a generator or a PyTorch task, and return the study.

    Call it again with the same ``out`` to resume a study that was interrupted, or to add trials to
    one that has ended.

    Example:
        >>> from raytune_yesno import tune
        >>> from raytune_yesno.space import Float
        >>> def objective(config):
        ...     return {"loss": (config["x"] - 3) ** 2}
        >>> study = tune(objective, {"x": Float(0, 10)}, metric="loss", trials=16)  # doctest: +SKIP
        >>> study.best.best_point  # doctest: +SKIP
        {'x': 2.98...}

    Args:
        objective: a function ``f(config)`` that returns a dict of metrics; a generator function
            ``f(config, checkpoint=None)`` that yields one, or ``(metrics, state)``, every epoch; or
            the class of a PyTorch task.
        space: domains by name, as objects or as in a YAML file. Defaults to the task's own.
        metric: the metric that decides. Defaults to the task's first.
        mode: ``min`` or ``max``; may be omitted if the name says it, such as ``accuracy``.
        objectives: several metrics in place of ``metric``, each ``"NAME"``, ``"NAME:min"`` or
            ``"NAME:max"``; the study's ``front`` has the best compromises.
        limits: bounds that a result must keep, such as ``"num_parameters<=20000"``.
        trials: the number of trials; 32 by default.
        search: the name of the search; ``auto`` by default.
        scheduler: the name of the scheduler; ``asha`` by default.
        epochs: the most epochs of a trial; 1 for a function that returns its metrics, else 16.
        seed: the seed of the search [0]; a function finds it in its config.
        out: the study's folder. Defaults to a new one below ``studies``.
        resources: what a trial reserves: ``cpu``, ``gpu`` (may be fractions) and ``memory`` (GB).
        config: further keys of the config.
        data: the data of a PyTorch task.
        save: writes a state that is no plain value: ``save(state, path)``.
        load: reads it: ``load(path)``. It is called for files in ``out``.
        address: the address of a Ray cluster. Defaults to one that this process has already joined,
            else a new one on this machine.
        num_cpus: logical CPUs of a new cluster.
        num_gpus: logical GPUs of a new cluster.
        checkpoint_every: seconds between checkpoints of a trial: the most work lost in a crash.
        quiet: whether to omit progress and print only remarks, such as errors of trials.
        settings: other settings of a study: ``search_options``, ``points`` (``"default"`` is the
            one without tuning), ``scheduler_options``, ``max_concurrent``, ``time_budget``,
            ``target``, ``patience``, ``max_failures``, ``ordered``, ``W``, ``repeats``,
            ``final_round``, ``prefer``, ``refit``, ``keep_checkpoints``.

    Returns:
        The study. Its ``best`` trial has ``best_point`` and ``metrics``.

    Raises:
        InputError: an argument is wrong, or ``out`` holds a study with other settings.
        WorkError: no trial has a result.
        KeyboardInterrupt: the study was interrupted; call again to resume it.
    """
    from raytune_yesno.study.store import STORE
    from raytune_yesno.tasks.task import find_space, load_data
    from raytune_yesno.tuning.continuation import continue_study
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.plan_checks import check_all_points, check_plan

    name, data = name_objective(objective), str(data or "")
    is_class = isinstance(objective, type)
    if is_class and (save or load):
        raise InputError("save and load are for functions; a PyTorch task needs none")
    register_task(name, objective if is_class else _with_storage(objective, save, load))
    if data and not find_task(name).load_data:
        raise InputError(f"data: {name} reads no data; omit it")
    settings = _read_settings(
        {**settings, "trials": trials, "search": search, "scheduler": scheduler}
    )
    if not convert("checkpoint_every", float, checkpoint_every, "tune") >= 0:
        raise InputError(f"checkpoint_every: {checkpoint_every:g} s must be 0 or more")
    given: dict[str, Any] = {"metric": metric, "mode": mode}
    given |= {"objectives": _list(objectives) or None, "limits": _list(limits) or None}
    given |= {"epochs": epochs, "seed": seed}
    keys = {**_require_dict("config", config), **_read_resources(resources)}
    if (task := keys.pop("task", name)) != name:
        raise InputError(f"config: task {task!r} is not {name}, which is to be tuned; omit it")
    for key, value in given.items():
        if value not in (None, "") and keys.setdefault(key, value) != value:
            raise InputError(f"{key}: two values are given ({value!r}, in config {keys[key]!r})")
    domains = _read_space(space)
    task = declare_task(name, space=domains, config=keys)
    built = build_config({"task": name}, keys, declaration=task, where="tune")
    if not (chosen := domains or find_space(built)):
        raise InputError(f"{name}: it has no search space of its own; give space={{…}}")
    plan = Plan.from_settings(built, chosen, settings)
    check_plan(plan)
    if not (out and is_begun(Path(out), STORE)):
        check_all_points(plan)
    read = load_data(built, data) if is_class else None
    with (
        _one_at_a_time(),
        open_folder(str(out) if out else None, "studies", record=STORE, name="out") as folder,
    ):
        found = None
        if is_begun(folder.path, STORE):
            found = continue_study(
                plan,
                folder.path,
                data or None,
                storage=folder.storage,
                advice="give the same arguments to resume it, more trials, or another out",
                extends=True,
                note=note,
            )
        if found and found.is_finished:
            return found.study
        if found:
            plan = replace(found.plan, stop=plan.stop)
        try:
            with _session(address, num_cpus=num_cpus, num_gpus=num_gpus):
                return _run(
                    plan,
                    read,
                    folder,
                    quiet=quiet,
                    source=data,
                    resume=found.study if found else False,
                    add_trials=found.add_trials if found else 0,
                    checkpoint_every_s=checkpoint_every,
                )
        except Interrupted as stop:
            note(f"stopped; call again with out={folder.storage!r} to resume")
            raise KeyboardInterrupt(stop.signum) from None


def _run(plan: "Plan", data: Any, out: OutputFolder, *, quiet: bool, **options: Any) -> "Study":
    """Run, resume or extend the study in a locked folder, with further options of the search."""
    from raytune_yesno.cluster.shared_storage import check_shared
    from raytune_yesno.study import load
    from raytune_yesno.tuning.refit import check_result, list_refits, run_refit
    from raytune_yesno.tuning.run import run_search

    check_shared(out.storage, "out")
    remark_on_data(data, plan.config)
    with Display(quiet=quiet) as display:
        study = run_search(
            plan, data, out, on_progress=display.show_search, note=display.remark, **options
        )
    check_result(study, out.storage)
    for candidate in list_refits(study):
        run_refit(study, data, candidate=candidate, out=out, note=display.remark)
    return load(out.path)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Refuse a second study in this process: a process has one Ray, and one Ray Tune in it."""
    if not _running.acquire(blocking=False):
        raise InputError("tune: another thread runs a study; run this one in another process")
    try:
        yield
    finally:
        _running.release()


def _session(address: str | None, **options: Any) -> contextlib.AbstractContextManager[None]:
    """Return a session on a cluster, or on the one that this process has joined.

    Raises:
        InputError: it has joined one, and another one is asked for.
    """
    import ray

    from raytune_yesno.cluster.session import joined_session, ray_session

    if not ray.is_initialized():
        return ray_session(address, **options)
    for key, value in {"address": address, **options}.items():
        if value is not None:
            raise InputError(
                f"{key}: Ray is already running in this process; omit it to use that cluster, or "
                "call ray.shutdown() first"
            )
    return joined_session()


def name_objective(objective: Any) -> str:
    """Return the name by which a study records an object that was given in Python.

    Raises:
        InputError: it cannot be called.
    """
    if not callable(objective):
        raise InputError(f"tune: {objective!r:.60} is not a function, a generator or a task")
    function = getattr(objective, "func", objective)  # a partial
    owner = function if hasattr(function, "__qualname__") else type(function)
    name = re.sub(r"\W+", "_", owner.__qualname__.rpartition(".")[2]).strip("_")
    return f"{owner.__module__}:{name}"


def _with_storage(function: Any, save: Any, load: Any) -> Any:
    save, load = save or getattr(function, "save", None), load or getattr(function, "load", None)
    return (function, save, load)


def _read_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a study that are given, in the types that a study file has."""
    known = {each.name: object if each.read else each.kind for each in STUDY_SETTINGS}
    for key in settings:
        if key not in known:
            raise InputError(f"tune: unknown argument {key!r}; {suggest_name(key, known)}")
    given = {key: value for key, value in settings.items() if value is not None}
    return {key: convert(key, known[key], value, "tune") for key, value in given.items()}


def _require_dict(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping | None):
        raise InputError(f"{name}: {value!r:.60} is not a dict")
    return dict(value or {})


def _list(texts: Sequence[str] | None) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts or ())


def _read_space(space: Mapping[str, Any] | None) -> Space:
    if isinstance(space, Tree):  # as a dict, it would lose its constraints
        return space
    space = _require_dict("space", space)
    if not space:
        return {}
    plain = {key: value for key, value in space.items() if isinstance(value, dict)}
    return build_space({**space, **(parse_space(plain) if plain else {})})


def _read_resources(given: Mapping[str, float] | None) -> dict[str, Any]:
    resources = _require_dict("resources", given)
    for key in resources:
        if key not in _RESOURCES:
            raise InputError(f"resources: unknown {key!r}; {suggest_name(key, _RESOURCES)}")
    keys: dict[str, Any] = {}
    if "cpu" in resources:
        keys["cpus_per_worker"] = resources["cpu"]
    if "memory" in resources:
        keys["memory_per_worker"] = resources["memory"]
    if resources.get("gpu"):
        keys |= {"use_gpu": True, "gpus_per_worker": resources["gpu"]}
    return keys
