"""Strict JSON, which every JSON parser accepts."""

import json
import math
from typing import Any

from raytune_yesno.errors import to_utf8

_MAX_DEPTH = 100  # nested lists and mappings; no honest file comes close


def to_strict_json(value: Any, *, spell: bool = False) -> Any:
    r"""Replace what JSON cannot represent: NaN, infinities, and bytes that are not UTF-8.

    Python represents such bytes of file names as lone surrogates; they become ``\xff``.

    Args:
        value: nested mappings, lists, texts and numbers.
        spell: whether NaN and infinities become the texts ``nan``, ``inf`` and ``-inf`` in place
            of null. Use it where null has another meaning, as in a config.
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
    """Parse JSON, with ``?`` in place of lone surrogates, which cannot be written to a file.

    Raises:
        ValueError: the text is not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text)
        may_be_deep = text.count("[") + text.count("{") > _MAX_DEPTH
        is_deep = may_be_deep and measure_depth(value) > _MAX_DEPTH
    except RecursionError:
        is_deep = True
    if is_deep:
        raise ValueError("nested too deeply")
    if "\\ud" in text or "\\uD" in text:
        encoded = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        return json.loads(encoded.decode("utf-8"))
    return value


def measure_depth(value: Any) -> int:
    """Return how deeply the lists and mappings of a value are nested; 0 for any other value."""
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(measure_depth, inner), default=0)
