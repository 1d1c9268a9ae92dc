"""Formats of numbers, durations and values for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 80
"""Columns of a terminal of unknown size."""


def format_seconds(seconds: float) -> str:
    """Format a duration in seconds as ``0:05``, ``12:34`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_value(value: Any) -> str:
    """Format a config value; floats have four significant digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return str(value)


def format_point(point: Mapping[str, Any]) -> str:
    """Return the values of a point in one line."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in point.items())


def last_line(text: str) -> str:
    """Return the last line that is not blank, stripped, or an empty text."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def list_some(items: Iterable[object], limit: int, separator: str = ", ") -> str:
    """Return the first items as a list, and how many more there are.

    Example:
        >>> from raytune_yesno.text import list_some
        >>> list_some(range(5), 3)
        '0, 1, 2 and 2 more'
    """
    texts = [str(item) for item in items]
    more = f" and {len(texts) - limit} more" * (len(texts) > limit)
    return separator.join(texts[:limit]) + more


def plural(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    Example:
        >>> from raytune_yesno.text import plural
        >>> plural(1, "trial"), plural(1200, "trial")
        ('1 trial', '1200 trials')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def join_names(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: ``a, b and c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
