"""Checks of what the user's own task declares: its metrics, its settings, the keys of its config.

What is wrong is found when the task is named, before anything starts.
"""

import dataclasses
import difflib
import inspect
import keyword
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.metrics import Format, Metric, Mode, name_metric
from raytune_yesno.numerals import unwrap_scalar
from raytune_yesno.values import convert

_PLAIN = (type(None), bool, int, float, str)
_KINDS: Mapping[str, Any] = {
    "text": str,
    "flag": bool,
    "function": (Callable, staticmethod, classmethod),
    "mapping": Mapping,
    "list": (Iterable, Metric),
}
_MIN_LIKENESS = 0.88  # cost and costs are alike (0.89), load_dataset and load_data are not (0.86)


def find_kind(value: Any) -> str:
    """Return which kind of part an attribute of a class can be; empty for other values."""
    if inspect.isfunction(value) and next(iter(inspect.signature(value).parameters), "") == "self":
        return "method"
    return next((kind for kind, types in _KINDS.items() if isinstance(value, types)), "")


def check_names(
    task: str, own: Mapping[str, Any], parts: Mapping[str, str], defined: Collection[str]
) -> None:
    """Refuse a misspelt part of a task, which would be ignored.

    An attribute of the user's own may have any other name. It is a misspelt part only if its name
    is nearly that of a part that is not defined, and its value is of the same kind.

    Args:
        task: the name of the task, for messages.
        own: the attributes that the user has written.
        parts: the kinds of the parts by name, see :func:`find_kind`.
        defined: the names of all attributes.

    Raises:
        InputError: a name is misspelt.
    """
    missing = {part: kind for part, kind in parts.items() if part not in defined}
    for name, value in own.items():
        if name.startswith("_") or name.isupper() or name in parts:
            continue
        for part, kind in missing.items():
            alike = difflib.SequenceMatcher(None, name.lower(), part.lower()).ratio()
            is_near = alike >= _MIN_LIKENESS and name[0].lower() == part[0].lower()
            if is_near and find_kind(value) == kind:
                raise InputError(
                    f"{task}: {name!r} is not a part of a task; did you mean {part!r}? If not, "
                    "rename it"
                )


def check_metrics(task: str, metrics: Any) -> tuple[Metric, ...]:
    """Return the metrics that a task declares.

    Args:
        task: the name of the task, for messages.
        metrics: the attribute ``metrics``.

    Raises:
        InputError: it is not a sequence of valid metrics with different names.
    """
    found = tuple(metrics) if isinstance(metrics, Iterable) else (metrics,)
    if not isinstance(metrics, Sequence) or not all(isinstance(each, Metric) for each in found):
        raise InputError(
            f'{task}: metrics is {metrics!r:.80}; write metrics = (Metric("accuracy", mode="max"),)'
        )
    for metric in found:
        for what, options in (("mode", get_args(Mode)), ("format", get_args(Format))):
            value = getattr(metric, what)
            if value not in options:
                hint = suggest_name(str(value), options)
                raise InputError(f"{task}: metric {metric.name!r} has {what} {value!r}; {hint}")
        if name_metric(metric.name) != metric.name:
            raise InputError(f"{task}: metric {metric.name!r} is a reserved name; rename it")
    names = [metric.name for metric in found]
    if len(set(names)) < len(names):
        raise InputError(f"{task}: metrics has two of one name: {', '.join(names)}")
    return found


def check_key(task: str, key: Any, base: type) -> None:
    """Check that a key can be one of a task's config.

    Args:
        task: the name of the task, for messages.
        key: the key.
        base: the class of the engine's keys.

    Raises:
        InputError: it is not an identifier, or has a meaning of its own in Python or the engine.
    """
    if not str(key).isidentifier():
        raise InputError(f"{key!r} is not a name for a key of a config; use an identifier")
    if keyword.iskeyword(key):
        raise InputError(f"{task}: key {key!r} is a word of Python; rename it, as in {key}_")
    if hasattr(base, key) and key not in {field.name for field in dataclasses.fields(base)}:
        raise InputError(f"{task}: key {key!r} has a meaning in this engine; rename it, as {key}_")


def check_value(task: str, key: str, value: Any) -> Any:
    """Return a value of a config's key: plain, with lists as tuples and numpy scalars as numbers.

    Raises:
        InputError: the value cannot be recorded.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return tuple(check_value(task, key, item) for item in value)
    if type(plain := unwrap_scalar(value)) in _PLAIN:
        return plain
    raise InputError(
        f"{task}: key {key!r} has a value of type {type(value).__name__}; a config has numbers, "
        "texts, true, false and lists of them; bind other objects with functools.partial"
    )


def check_settings(task: str, settings: Any, base: type) -> None:
    """Check the class ``Settings`` of a task.

    Args:
        task: the name of the task, for messages.
        settings: the class.
        base: the class of the engine's keys.

    Raises:
        InputError: it is not a dataclass of ``setting`` fields of supported types.
    """
    if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
        raise InputError(f"{task}: Settings is not a dataclass; write @dataclass(frozen=True)")
    try:
        types = get_type_hints(settings)
    except NameError as error:
        raise InputError(f"{task}: Settings: {error}") from None
    for field in dataclasses.fields(settings):
        where = f"{task}: Settings"
        check_key(where, field.name, base)
        if "help" not in field.metadata:
            raise InputError(
                f"{where}: {field.name} is declared without setting(); write "
                f'{field.name} = setting(DEFAULT, "what it means")'
            )
        kind = types[field.name]
        is_list = get_origin(kind) is tuple and get_args(kind)[0] in (int, float, str)
        if kind not in (int, float, bool, str, object) and not is_list:
            raise InputError(
                f"{where}: {field.name} has the type {getattr(kind, '__name__', kind)}; use int, "
                "float, bool, str or tuple[int, ...]"
            )
        convert(field.name, kind, field.default, where)
