"""Read numbers, one way in every place: config keys, spaces, points, options, stop conditions."""

import re
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

# Python also reads `1_000` and the digits of other scripts, YAML 1.1 `010` as 8 and `1:30` as 90:
# each would be a surprise.
_NUMBER = re.compile(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*", re.ASCII)


def read_number(value: Any, kind: type[Number]) -> Number:
    """Return a number, or text that spells one in decimal digits, as ``int`` or ``float``.

    A whole number may be written ``2.0`` or ``2e0``.

    Raises:
        ValueError: the text is no number, or the number is not whole, or too large for a float.
        TypeError: it is neither a number nor text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is no number")
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise ValueError(f"{value!r} is no number")
        value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
    try:
        number = kind(value)
    except OverflowError as error:  # an integer beyond all floats, or an infinite one
        raise ValueError(f"{value!r} is out of range") from error
    if kind is int and value != number:
        raise ValueError(f"{value!r} is not whole")
    return number


def read_if_number(value: Any, kind: type[Number]) -> Any:
    """Return :func:`read_number`'s number, or the value itself where there is none to read."""
    try:
        return read_number(value, kind)
    except (ValueError, TypeError):
        return value
