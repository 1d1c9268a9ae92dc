"""The parts of a task: read once, from the class or function that declares them.

This module does not import torch.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_type_hints

from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.task_checks import check_metrics, check_names, check_settings, find_kind
from raytune_yesno.user_code import is_own_object

if TYPE_CHECKING:
    from raytune_yesno.tasks.function import FunctionTask

DEFAULT_LOOP = "raytune_yesno.training.loop:fit"
METHODS = ("build_model", "steps", "loss", "validate", "metrics_of")
"""What every class has beside its ``metrics``, see :class:`raytune_yesno.tasks.task.Task`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskDeclaration:
    """What a task declares. Each field but the first two is an attribute that a class may have.

    The functions are called without an instance: they are static methods. An instance may also have
    ``calibration``, see :class:`~raytune_yesno.tasks.task.Task`.

    Attributes:
        name: the name of the task.
        source: the class, or the wrapped function.
        metrics: the metrics reported after each epoch: the objective first, then those that break
            ties.
        Settings: a frozen dataclass of :func:`~raytune_yesno.config.setting` fields: the task's
            config keys. Its method ``check`` may reject combinations of values.
        config_base: the class of the config keys that ``loop`` needs, by default
            :class:`~raytune_yesno.config.Config`.
        imply: ``imply(changes)`` returns keys that the given ones imply, such as ``model``.
        defaults: values that override the engine's defaults.
        model_defaults: the same by the key ``model``.
        space: the default search space: a mapping, or a function of the config.
        implementation: ``module:Name`` of the class that trains, if it is another class. The config
            can then be read without importing torch.
        loop: ``module:function`` that runs the task, see
            :func:`~raytune_yesno.tasks.task.open_records`.
        refits: whether the best config is trained again at the end of a study.
        cost_metrics: the costs that the task can report beside its metrics. They become objectives
            or limits only if they are named.
        costs: ``costs(config, data)`` returns those that are known without training, such as
            ``num_parameters``, as a dict.
        measure_costs: ``measure_costs(config, data)`` returns those that the process of a trial
            measures once, before it trains.
        retired: keys that the task has removed, see :func:`~raytune_yesno.config.upgrade_config`.
        legacy: values of keys that it has added, for older records.
        load_data: ``load_data(source, *, config, skip_bad, progress)`` reads
            :class:`~raytune_yesno.tasks.task.Data` on the driver.
        remarks: ``remarks(config, data)`` returns lines to print at the start, such as a warning
            about few data.
        test: ``test(checkpoint, data)`` returns the held-out figures after the refit.
        describe_test: ``describe_test(figures)`` returns one line about them for people.
        describe_model: ``describe_model(config, weights)`` returns lines that ``train`` prints at
            its end.
        next_commands: commands that ``tune`` and ``train`` suggest at their end, with ``{}`` for
            the checkpoint.
    """

    name: str
    source: "type[Any] | FunctionTask"
    metrics: Sequence[Metric]
    Settings: type[Any] | None = None
    config_base: type[Any]
    imply: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    model_defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    space: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] = field(default_factory=dict)
    implementation: str = ""
    loop: str = DEFAULT_LOOP
    refits: bool = True
    cost_metrics: Sequence[Metric] = ()
    costs: Callable[[Any, Any], Mapping[str, Any]] | None = None
    measure_costs: Callable[[Any, Any], Mapping[str, Any]] | None = None
    retired: Collection[str] = ()
    legacy: Mapping[str, Any] = field(default_factory=dict)
    load_data: Callable[..., Any] | None = None
    remarks: Callable[[Any, Any], Sequence[str]] | None = None
    test: Callable[[Any, Any], Any] | None = None
    describe_test: Callable[[Any], str] | None = None
    describe_model: Callable[[Any, Any], Sequence[str]] | None = None
    next_commands: Sequence[str] = ()

    @property
    def function(self) -> "FunctionTask | None":
        """The wrapped function; None if the task is a class."""
        return None if isinstance(self.source, type) else self.source

    @cached_property
    def config_class(self) -> type[Any]:
        """The class of the configs of this task: its ``Settings``, and the keys of ``config_base``.

        A config knows its declaration by its class. Two studies of one function have two classes.
        """
        bases = tuple(filter(None, (self.Settings, self.config_base)))
        names = {"__annotations__": {}, "__module__": __name__, "declaration": self}
        return dataclass(frozen=True, kw_only=True)(type("Config", bases, names))

    @cached_property
    def key_types(self) -> Mapping[str, Any]:
        """The types of the config keys by name."""
        return get_type_hints(self.config_class)

    @property
    def trains_model(self) -> bool:
        """Whether a PyTorch model is trained, by the training loop."""
        return self.loop == DEFAULT_LOOP


_EMPTY = vars(TaskDeclaration(name="", source=object, metrics=(), config_base=object))
_PARTS = {
    part: "function" if usual is None else find_kind(usual)
    for part, usual in _EMPTY.items()
    if part not in ("name", "source")
}
"""The kinds of the parts by name, see :func:`~raytune_yesno.task_checks.find_kind`."""


def read_declaration(
    name: str, source: "type[Any] | FunctionTask", base: type[Any], *, is_own: bool = False
) -> TaskDeclaration:
    """Return what a class or a wrapped function declares.

    Args:
        name: the name of the task.
        source: the class, or the wrapped function.
        base: the class of the engine's keys, unless the task names another one.
        is_own: whether it is the user's own, and is checked.

    Raises:
        InputError: a part of a class is missing, misspelt or invalid.
    """
    is_checked = is_own and isinstance(source, type)
    if is_checked:
        parts = {**_PARTS, **dict.fromkeys(METHODS, "method")}
        check_names(name, dict(_list_own(source)), parts, defined=dir(source))
        needed = ("metrics", *METHODS)
        if missing := [part for part in needed if not getattr(source, part, None)]:
            raise InputError(
                f"{name}: the task lacks {', '.join(missing)}; see raytune_yesno.tasks.task.Task"
            )
    given = {part: found for part in _PARTS if (found := getattr(source, part, None)) is not None}
    task = TaskDeclaration(**{"config_base": base, **given, "name": name, "source": source})
    if is_checked:
        check_metrics(name, task.metrics)
        if task.Settings:
            check_settings(name, task.Settings, task.config_base)
    return task


def _list_own(source: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that a class, and those of its bases that the user wrote, define."""
    for each in reversed(source.__mro__):
        if each is source or is_own_object(each):
            yield from vars(each).items()
