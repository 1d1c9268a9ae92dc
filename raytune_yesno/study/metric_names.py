"""Names of metrics: the direction that a name implies, and the column of a metric in a table."""

import functools

from raytune_yesno.metrics import METRIC_PREFIX, RESERVED, known_mode

__all__ = ["METRIC_PREFIX", "RESERVED", "known_mode", "name_metric"]

_PREFIXES = ("config.", METRIC_PREFIX)


@functools.lru_cache(maxsize=10_000)
def name_metric(name: str) -> str:
    """Return the column of a metric: its name, or ``metric.NAME`` if NAME is reserved."""
    reserved = name in RESERVED or name.startswith(_PREFIXES)
    return METRIC_PREFIX + name if reserved else name
