"""Any Python function or generator as a task.

A function takes the config of a trial and returns its metrics; it is a trial of one epoch. A
generator yields metrics once an epoch, or ``(metrics, state)``::

    def objective(config, checkpoint=None):
        model = checkpoint or SGDClassifier(alpha=config["alpha"], random_state=config["seed"])
        while True:
            model.partial_fit(X, y, classes=range(10))
            yield {"accuracy": model.score(X_valid, y_valid)}, model

``state`` is what the generator needs to resume; it is passed as ``checkpoint`` then. This module
imports neither torch nor the engine.
"""

import copy
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from types import FunctionType
from typing import Any

from raytune_yesno.config import EngineConfig, setting
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import (
    COST_METRICS,
    Metric,
    known_mode,
    split_limit,
    split_objective,
)
from raytune_yesno.space import (
    Float,
    Int,
    List,
    as_tree,
    build_space,
    find_extremes,
    format_space,
    has_options,
    parse_space,
    walk,
)
from raytune_yesno.task_checks import check_key, check_metrics, check_names, check_value
from raytune_yesno.tasks.function_call import read_call

OBJECTIVE = Metric("objective")
"""Stands for a function's metric until the study names it."""

_ATTRIBUTES = {"metrics": "list", "space": "mapping"}
_ATTRIBUTES |= dict.fromkeys(("costs", "save", "load"), "function")


class FunctionConfig(EngineConfig):
    """The keys of a function: those of every run, and the study's."""

    def check(self) -> None:
        """Refuse several workers, each of which would run the whole function."""
        if self.max_workers > 1:
            raise InputError(
                f"num_workers: {self.task} is a function, which runs in one process; give a trial "
                "more cores with cpus_per_worker"
            )


class FunctionTask:
    """Declares a function to the engine, as a class declares a PyTorch task.

    The settings are the keys of the search space, and those that the user sets beside it. The
    metrics are the one that the study optimises and, if the function has an attribute ``metrics``,
    the ones listed there.

    Attributes:
        function: the function or generator function.
        save: writes a state to a file, ``save(state, path)``; None for plain values and arrays.
        load: reads it, ``load(path)``.
        loop: the loop that runs the function, instead of the one that trains a PyTorch model.
        refits: False: the best config is recorded, not trained again. A function splits its data
            itself, so there is no part that the search has not used.
    """

    config_base = FunctionConfig
    loop = "raytune_yesno.training.function_loop:run_function"
    refits = False

    def __init__(self, given: Any, name: str = "", declared: Mapping[str, Any] | None = None):
        """Wrap a function, or a tuple of a function, its ``save`` and its ``load``."""
        self.given, self.name = given, name
        self.function, self.save, self.load = given if isinstance(given, tuple) else (given,) * 3
        if not isinstance(given, tuple):
            self.save, self.load = (getattr(given, part, None) for part in ("save", "load"))
        if bool(self.save) != bool(self.load):
            raise InputError(f"{name}: it has only one of save and load; give both, or none")
        try:
            self.call = read_call(self.function)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if isinstance(self.function, FunctionType | partial):
            own = vars(self.function)
            check_names(name, own, _ATTRIBUTES, defined=own)
        self.declared: dict[str, Any] = dict(declared or {"space": {}, "config": {}, "metrics": []})

    @property
    def is_generator(self) -> bool:
        """Whether the function is written as a generator: then it may have several epochs."""
        called = getattr(type(self.function), "__call__", None)  # noqa: B004
        written = inspect.unwrap(self.function)
        return any(map(inspect.isgeneratorfunction, (self.function, written, called)))

    @property
    def has_epochs(self) -> bool:
        """Whether it is known that a trial may have several epochs, or that one is wanted."""
        return self.is_generator or "epochs" in self.declared["config"]

    @property
    def defaults(self) -> dict[str, Any]:
        """A function that returns its metrics has one epoch."""
        return {} if self.is_generator else {"epochs": 1}

    @cached_property
    def metrics(self) -> Sequence[Metric]:
        """The study's metrics; those of the function until a study names others."""
        own = self.own_metrics
        told = [Metric(**metric) for metric in self.declared["metrics"]]
        names = {metric.name for metric in told}
        return (*told, *(metric for metric in own if metric.name not in names)) or (OBJECTIVE,)

    @cached_property
    def own_metrics(self) -> tuple[Metric, ...]:
        """The metrics that the function itself declares."""
        return check_metrics(self.name, getattr(self.function, "metrics", ()))

    @cached_property
    def space(self) -> Mapping[str, Any]:
        """The function's attribute ``space``, unless a study has another one."""
        declared = self.declared["space"]
        own = getattr(self.function, "space", {})
        return parse_space(declared, exact=True) if declared else build_space(own) if own else {}

    @cached_property
    def Settings(self) -> type:  # noqa: N802 - as in other tasks
        """The settings: keys of the space, and other keys that the user sets."""
        engine = {field.name for field in dataclasses.fields(EngineConfig)}
        fields: list[tuple[str, Any, Any]] = []
        help = "from the search space"
        for key, domain in self.space.items():
            if key in engine:  # the plan refuses it with what to do
                continue
            kind: Any = {Float: float, Int: int}.get(type(domain), object)
            value = find_extremes(domain)[0] if isinstance(domain, List) else domain.grid(1)[0]
            fields.append((key, kind, setting(value, help, inherited=False)))
        inner = sorted(as_tree(self.space).names - self.space.keys() - engine)
        # None where the option that they belong to is not chosen
        fields += [(key, object, setting(None, help, inherited=False)) for key in inner]
        for key, value in self.declared["config"].items():
            if key not in engine and key not in as_tree(self.space).names:
                known = type(value) in (bool, int, float, str)
                kind = type(value) if known else object
                fields.append((key, kind, setting(value, "given by the user")))
        return dataclasses.make_dataclass("Settings", fields, frozen=True, kw_only=True)

    def declare(
        self, space: Mapping[str, Any], config: Mapping[str, Any], metrics: Sequence[Metric]
    ) -> "FunctionTask":
        """Return the task with a study's search space, config keys and metrics."""
        names = as_tree(space or self.space).names
        for key in (*names, *config):
            check_key(self.name, key, self.config_base)
        for name in self.call.names:
            if name in names:
                raise InputError(
                    f"{self.name}: the function takes {name!r}, but gets its config as one dict; "
                    f'write def f(config): … and config["{name}"]'
                )
        declared = {
            "space": format_space(space) if space else {},
            "config": {key: check_value(self.name, key, value) for key, value in config.items()},
            "metrics": [
                dataclasses.asdict(metric) for metric in metrics or self._choose_metric(config)
            ],
        }
        return FunctionTask(self.given, self.name, declared)

    def costs(self, config: EngineConfig, data: Any) -> Mapping[str, Any]:
        """Return what the function's attribute ``costs`` says of a config; nothing without it."""
        own = getattr(self.function, "costs", None)
        return own(self.build_values(config)) if own else {}

    def build_values(self, config: EngineConfig) -> dict[str, Any]:
        """Return the values of a config that the function is given: those of its own keys.

        A parameter whose option was not chosen is not among them.
        """
        values = copy.deepcopy(config.as_dict())  # the function may change its copy
        tree = as_tree(self.space)
        values.update({key: getattr(config, key) for key in tree.names if hasattr(config, key)})
        for key, domain, options in walk(tree):  # a parameter that neither point nor user gives
            if options and has_options(values, options) and values[key] is None:
                values[key] = None if domain.contains(None) else find_extremes(domain)[0]
        for key in tree.names - tree.select(values).keys():
            del values[key]  # its option was not chosen
        for key in ("task", "metric", "mode", "objectives", "limits", "num_workers"):
            del values[key]
        return values

    def _choose_metric(self, config: Mapping[str, Any]) -> list[Metric]:
        """Return the metrics that the config names and the function does not declare.

        The objectives are first. Nothing is returned if the function's own first metric decides.
        """
        objectives = [split_objective(each) for each in _read_list(config.get("objectives"))]
        limits = [split_limit(each) for each in _read_list(config.get("limits"))]
        name, mode = config.get("metric") or "", config.get("mode") or ""
        for key, value in (("metric", name), ("mode", mode)):
            if not isinstance(value, str):
                raise InputError(f"{self.name}: {key} takes text, not {value!r}")
        own = {metric.name: metric for metric in self.own_metrics}
        own |= {metric.label: metric for metric in own.values() if metric.label}
        if not (name or objectives or own):
            raise InputError(f"{self.name}: metric: name the one that decides, as in metric=loss")
        first = objectives or ([(name, mode)] if name else [])
        found = []
        for name, mode in first:
            if name in own:
                continue
            cost = next((metric for metric in COST_METRICS if metric.name == name), None)
            direction = mode or (cost.mode if cost else known_mode(name)) or ""
            if not direction:
                key = "objectives" if objectives else "mode"
                choose = f"{name}:min or {name}:max" if objectives else "min or max"
                raise InputError(f"{key}: the direction of {name} is unknown; choose {choose}")
            found.append(cost or Metric(name, mode=direction))  # type: ignore[arg-type]
        known = {*own, *(metric.name for metric in found)}
        for name, relation, _ in limits:
            if name not in known:
                known.add(name)
                found.append(Metric(name, mode="min" if relation == "<=" else "max"))
        check_metrics(self.name, found)
        if found and own and (not first or first[0][0] in own):  # one of the function's decides
            found.insert(0, own[first[0][0]] if first else next(iter(own.values())))
        return found


def _read_list(value: Any) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.strip("[] ").split(",") if part.strip()]
    return list(value or ())
