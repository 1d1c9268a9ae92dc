"""Strict JSON: what is written here, every JSON parser reads."""

import json
import math
from typing import Any


def to_strict_json(value: Any, *, spell: bool = False) -> Any:
    """Return a value without NaN and infinities, which JSON cannot hold.

    Args:
        value: mappings, lists, texts and numbers, nested as they may be.
        spell: put the texts ``nan``, ``inf`` and ``-inf`` instead of null, where null would say
            something else, as in a config.
    """
    if isinstance(value, dict):
        return {str(key): to_strict_json(item, spell=spell) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_strict_json(item, spell=spell) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value) if spell else None
    return value


def dump_json(value: Any, **options: Any) -> str:
    """Return a value as strict JSON; ``options`` are those of :func:`json.dumps`."""
    return json.dumps(to_strict_json(value), allow_nan=False, **options)
