"""Strict JSON: what is written here, every JSON parser reads."""

import json
import math
import re
from typing import Any

from raytune_yesno.errors import to_utf8

_MAX_DEPTH = 100  # nested lists and mappings, of what anybody writes


def to_strict_json(value: Any, *, spell: bool = False) -> Any:
    """Return a value without what JSON cannot hold: NaN, infinities, bytes that are not UTF-8.

    Python keeps such bytes, of file names, as halves of surrogate pairs; they become ``\\xff``.

    Args:
        value: mappings, lists, texts and numbers, nested as they may be.
        spell: put the texts ``nan``, ``inf`` and ``-inf`` instead of null, where null would say
            something else, as in a config.
    """
    if isinstance(value, dict):
        return {to_utf8(str(key)): to_strict_json(item, spell=spell) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_strict_json(item, spell=spell) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value) if spell else None
    return to_utf8(value) if isinstance(value, str) else value


def dump_json(value: Any, **options: Any) -> str:
    """Return a value as strict JSON; ``options`` are those of :func:`json.dumps`."""
    return json.dumps(to_strict_json(value), allow_nan=False, **options)


def parse_json(text: str) -> Any:
    """Parse JSON; half a character, which JSON may hold but no file or table, is replaced."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > _MAX_DEPTH and _measure_depth(text) > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if "\\ud" in text or "\\uD" in text:
        whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        return json.loads(whole.decode("utf-8"))
    return value


def _measure_depth(text: str) -> int:
    """Return how deep lists and mappings of a JSON text lie in each other."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
