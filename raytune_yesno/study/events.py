"""What a study's events hold: names and kinds of their fields, checked before any is believed."""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

_LARGEST_COUNT = 2**53
_LATEST_TIME_S = 1e11  # since 1970: the year 5138
_MOST_NUMBER = 1e300  # sums of figures stay numbers

Check = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_COUNT


def _is_number_of_slots(value: Any) -> bool:
    return _is_count(value) and value > 0


def is_number(value: Any) -> TypeGuard[float]:
    """Say whether it is a number that a float can be; infinity and NaN are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= (_MOST_NUMBER if isinstance(value, float) else _LARGEST_COUNT)


def is_time(value: Any) -> bool:
    """Say whether it is a moment, or a span, in seconds."""
    return is_number(value) and 0 <= value < _LATEST_TIME_S


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and _is_value(value)


def _is_value(value: Any) -> bool:
    """Say whether it is what a point may hold, where a table and a page can show it."""
    if isinstance(value, dict | list):
        return all(map(_is_value, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | bool) or is_number(value)


def _is_known(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(seen, dict)
        and _is_point(seen.get("point"))
        and _is_text(seen.get("status"))
        and bool(seen.get("losses"))
        and isinstance(seen["losses"], list)
        and all(map(is_number, seen["losses"]))
        for seen in _listed(value.get("observations"))
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [None]


def _is_metrics(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(metric, dict)
            and bool(metric.get("name"))
            and all(isinstance(text, str) for text in metric.values())
            and metric.get("mode", "min") in ("min", "max")
            for metric in value
        )
    )


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_SAYS: Mapping[Check, str] = {
    _is_count: "a count",
    _is_number_of_slots: "a count above 0",
    is_number: "a number",
    is_time: "a time in seconds",
    _is_text: "text",
    _is_truth: "true or false",
    _is_mapping: "a mapping",
    _is_point: "a point",
    _is_known: "what other studies found",
    _texts: "a mapping of texts",
    _is_metrics: "a list of metrics",
}

# What an event cannot be read without.
_NEEDED: Mapping[str, Mapping[str, Check]] = {
    "asked": {"trial": _is_count, "point": _is_point},
    "epoch": {
        "epoch": _is_count,
        "seconds": is_time,
        "host": _is_text,
        "pid": _is_count,
        "began": is_time,
        "ended": is_time,
        "trial": _is_count,
    },
    "damaged": {"trial": _is_count, "reason": _is_text},
    "saved": {"trial": _is_count, "checkpoint": _is_text, "epoch": _is_count},
    "mutated": {
        "trial": _is_count,
        "source": _is_count,
        "checkpoint": _is_text,
        "epoch": _is_count,
        "point": _is_point,
    },
    "started": {"trial": _is_count},
    "ended": {"trial": _is_count, "status": _is_text},
    "refitted": {"checkpoint": _is_text},
}

# What it may hold besides; null stands for its not being there.
_OPTIONAL: Mapping[str, Check] = {
    "trial": _is_count,
    "epoch": _is_count,
    "attempt": _is_count,
    "slots": _is_number_of_slots,
    "trials": _is_count,
    "epochs": _is_count,
    "max_concurrent": _is_count,
    "patience": _is_count,
    "max_failures": _is_count,
    "W": _is_count,
    "time_budget": is_number,
    "node": _is_text,
    "device": _is_text,
    "diverged": _is_truth,
    "data": _is_text,
    "search": _is_text,
    "scheduler": _is_text,
    "target": _is_text,
    "reason": _is_text,
    "error": _is_text,
    "ordered": _is_truth,
    "config": _is_mapping,
    "space": _is_mapping,
    "search_options": _is_mapping,
    "scheduler_options": _is_mapping,
    "corpus": _texts,
    "versions": _texts,
    "metrics": _is_metrics,
    "warm_start": _is_known,
    "test": _is_point,
    "test_says": _is_text,
}


def find_fault(event: Mapping[str, Any]) -> str | None:
    """Return what keeps an event from being read; None if nothing does."""
    kind = event["event"]
    needed = _NEEDED.get(kind, {})
    if lacking := sorted(needed.keys() - event.keys()):
        return f"{kind!r} lacks {', '.join(lacking)}"
    for name, value in event.items():
        if name in ("event", "time"):
            continue
        check = needed.get(name)
        if check is None:
            # Of an epoch, all else is what the training reports.
            check = _OPTIONAL.get(name, is_number if kind == "epoch" else None)
            if check is None or value is None:
                continue
        if not check(value):
            return f"{kind!r} has {name} {value!r:.60}, which is not {_SAYS[check]}"
    return None
