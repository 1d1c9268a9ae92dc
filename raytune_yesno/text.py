"""How numbers, times and values are written for people."""

import json
from typing import Any

WIDTH = 80
"""Columns of a terminal that nothing is known of."""


def format_seconds(seconds: float) -> str:
    """Return 0:05, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_value(value: Any) -> str:
    """Return a config value: four digits of a number are enough to compare by."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return str(value)


def last_line(text: str) -> str:
    """Return the last line that is not blank; empty if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
