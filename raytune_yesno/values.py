"""Values of config keys, settings and options: converted to their types, with one form of error."""

import dataclasses
import inspect
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_args, get_origin

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.numerals import read_if_number, read_number, unwrap_scalar

Texts = tuple[str, ...]
NumWorkers = int | tuple[int, int]  # or the minimum and maximum of an elastic run


def parse_assignments(assignments: list[str], where: str = "--set") -> dict[str, Any]:
    """Parse ``key=value`` texts to a layer for :func:`build_config`.

    Raises:
        InputError: one has another form.
    """
    layer: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise InputError(f"{where} {assignment!r}: expected key=value")
        layer[key.strip()] = value.strip()
    return layer


def read_typed(text: str) -> Any:
    """Read a value that is typed for a key without a type: a plain value, or text.

    Example:
        >>> from raytune_yesno.values import read_typed
        >>> [read_typed(text) for text in ("1e-3", "true", "null", "[16,relu]", "01", '"01"')]
        [0.001, True, None, [16, 'relu'], 1, '01']

    Args:
        text: a number, ``true``, ``false``, ``null``, a list in brackets, or text; in double
            quotes, what would be one of the others is text.
    """
    word = text.strip()
    number = read_if_number(text, int if word.lstrip("+-").isdecimal() else float)
    if not isinstance(number, str):
        return number
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if word.startswith(('"', "[")):
        try:
            return json.loads(word, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            if word.startswith("[") and word.endswith("]"):
                return [read_typed(item.strip()) for item in split_list(word)]
    return text


def write_typed(value: Any) -> str:
    """Return the text that :func:`read_typed` reads as a value: a plain one, or a list of them."""
    if isinstance(value, str) and read_typed(value) == value:
        return value
    return json.dumps(value, separators=(",", ":"))


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def convert(key: str, kind: Any, value: Any, where: str) -> Any:
    """Convert a value to a type; text may be a number, ``true``, ``false`` or a list.

    Example:
        >>> from raytune_yesno.values import convert
        >>> convert("sizes", tuple[int, ...], "16,32", "--set")
        (16, 32)

    Args:
        key: the name of the config key, setting or option.
        kind: one of :data:`KIND_NAMES`, or a tuple of numbers or texts.
        value: the value.
        where: the source of the value, for the error.

    Raises:
        InputError: the value has another type.
    """
    value = unwrap_scalar(value)
    try:
        if kind == NumWorkers:
            return _num_workers(value)
        if get_origin(kind) is tuple:
            items = split_list(value) if isinstance(value, str) else value
            items = items if isinstance(items, list | tuple) else [items]
            if kind == Texts:
                return tuple(str(item).strip(" '\"") for item in items)
            return tuple(read_number(item, get_args(kind)[0]) for item in items)
        if kind in (int, float):
            return read_number(value, kind)
        if kind is list and isinstance(value, tuple):
            return list(value)
        if kind is object:
            return tuple(value) if isinstance(value, list) else value
        if kind is bool and isinstance(value, str):
            return _BOOLEANS[value.strip().lower()]
    except (ValueError, TypeError, OverflowError, KeyError):
        pass
    else:
        if isinstance(value, kind):
            return value
    raise InputError(f"{where}: {key} takes {KIND_NAMES.get(kind, 'a list')}, not {value!r}")


KIND_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
    object: "a value",
    tuple[int, ...]: "a list of whole numbers",
    tuple[float, ...]: "a list of numbers",
    Texts: "a list of texts",
    NumWorkers: "a whole number or a range LOW:HIGH",
}
"""What messages call the types of values."""
_WORDS = {"true": True, "false": False, "null": None}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def split_commas(text: str) -> list[str]:
    """Split a text at the commas that are not in brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]" and depth > 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def split_list(text: str) -> list[str]:
    """Split a list given as text, ``16,32`` or ``[16, 32]``."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    return split_commas(inner) if inner.strip() else []


def _num_workers(value: Any) -> NumWorkers:
    """Parse ``2`` or ``1:4``; a range of equal limits is a number."""
    if isinstance(value, str) and ":" in value:
        value = value.split(":")
    if not isinstance(value, list | tuple):
        return read_number(value, int)
    low, high = (read_number(limit, int) for limit in value)
    return low if low == high else (low, high)


def check_range(key: "dataclasses.Field[Any]", value: Any) -> None:
    """Check a value against the limits and options of its setting.

    Raises:
        InputError: it is out of range, or not an option.
    """
    low, high, options = (key.metadata[name] for name in ("low", "high", "options"))
    if options and value not in options:
        raise InputError(f"{key.name}: {value!r} is not valid; {suggest_name(str(value), options)}")
    if low is None and high is None:
        return
    least, most = (-math.inf if low is None else low), (math.inf if high is None else high)
    for number in value if isinstance(value, tuple) else (value,):
        finite = isinstance(number, int) or math.isfinite(number)
        if not finite or not least <= number <= most:
            limits = f"at most {most:,.12g}" if low is None else f"at least {least:,.12g}"
            if low is not None and high is not None:
                limits = f"between {least:,.12g} and {most:,.12g}"
            raise InputError(f"{key.name}: {number!r} is out of range; it must be {limits}")
    if value == ():
        raise InputError(f"{key.name}: the list is empty; give at least one number")


def check_at_least(least: float, **options: float | None) -> None:
    """Check options that have a least value; None is valid.

    Raises:
        InputError: one is less.
    """
    for name, value in options.items():
        if value is not None and not value >= least:
            raise InputError(f"{name}: {value} must be at least {least}")


def check_options(
    where: str,
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    reserved: Collection[str],
) -> dict[str, Any]:
    """Check options against a factory's parameters, and convert them to the annotated types.

    Args:
        where: what the options belong to, for error messages.
        factory: a callable whose parameters are annotated.
        options: values by name.
        reserved: parameters that are not options, because the caller sets them.

    Returns:
        The options, converted to the annotated types.

    Raises:
        InputError: an option is unknown, or its value has another type.
    """
    parameters = inspect.signature(factory, eval_str=True).parameters
    checked = dict(options)
    known = [name for name in parameters if name not in reserved]
    for option, value in options.items():
        if option not in known:
            hint = suggest_name(str(option), known) if known else "there are no options"
            raise InputError(f"{where}: no option {option!r}; {hint}")
        annotation = parameters[option].annotation
        optional = type(None) in get_args(annotation)
        kind = get_args(annotation)[0] if optional else annotation
        kind = get_origin(kind) or kind
        kind = {Sequence: list, Mapping: dict}.get(kind, kind)
        if kind in KIND_NAMES and not (value is None and optional):
            checked[option] = convert(option, kind, value, where)
    return checked
