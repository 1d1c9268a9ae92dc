"""Which numbers a study can have, and how they are read.

They are read in the same way as config keys, in spaces, points, options and stop conditions.
"""

import re
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

MAX_WHOLE = 2**53
"""A float represents whole numbers exactly up to this one."""
MAX_NUMBER = 1e300
"""Sums of values up to this one stay finite."""

# Refused on purpose: `1_000` and digits of other scripts, which Python accepts, and the YAML 1.1
# forms `010` for 8 and `1:30` for 90.
_NUMBER = re.compile(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*", re.ASCII)


def read_number(value: Any, kind: type[Number]) -> Number:
    """Return a number, or text that spells one in decimal digits, as ``int`` or ``float``.

    A whole number may be written ``2.0`` or ``2e0``.

    Raises:
        ValueError: the text is not a number, or the number is not whole or too large for a float.
        TypeError: it is neither a number nor text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is not a number")
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise ValueError(f"{value!r} is not a number")
        value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
    try:
        number = kind(value)
    except OverflowError as error:  # an integer beyond all floats, or an infinite one
        raise ValueError(f"{value!r} is out of range") from error
    if kind is int and value != number:
        raise ValueError(f"{value!r} is not whole")
    return number


def unwrap_scalar(value: Any) -> Any:
    """Return a scalar of numpy or torch as Python's own number; any other value as it is."""
    return value.item() if getattr(value, "shape", None) == () else value


def read_if_number(value: Any, kind: type[Number]) -> Any:
    """Return the number of :func:`read_number`, or the value itself if it raises an error."""
    try:
        return read_number(value, kind)
    except (ValueError, TypeError):
        return value
