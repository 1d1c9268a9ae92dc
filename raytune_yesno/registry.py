"""Options by name, as a YAML file gives them to an entry of a registry."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_args, get_origin

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.numerals import read_if_number

_KINDS: dict[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: (float, "a number"),
    str: (str, "a word"),
    Sequence: (list | tuple, "a list"),
}


def check_options(
    where: str,
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    taken: Collection[str],
) -> dict[str, Any]:
    """Return options as the annotated kinds of a factory's parameters, numbers read as such.

    Args:
        where: what the options are of, for error messages.
        taken: parameters that are given by other means, and are no options.

    Raises:
        InputError: an option is unknown, or its value is of another kind.
    """
    parameters = inspect.signature(factory).parameters
    checked = dict(options)
    known = [name for name in parameters if name not in taken]
    for option, value in options.items():
        if option not in known:
            hint = suggest_name(str(option), known) if known else "it has none"
            raise InputError(f"{where}: no option {option!r}; {hint}")
        annotation = parameters[option].annotation
        optional = type(None) in get_args(annotation)
        plain = get_args(annotation)[0] if optional else get_origin(annotation) or annotation
        kind, name = _KINDS[plain]
        if value is None and optional:
            continue
        if kind in (int, float):
            value = read_if_number(value, kind)
        if isinstance(value, bool) or not isinstance(value, kind):
            raise InputError(f"{where}: {option} takes {name}, not {value!r}")
        checked[option] = value
    return checked
