"""The schema of a study's events: the fields of each event and the checks of their values."""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

_MAX_COUNT = 2**53
_MAX_TIME_S = 1e11  # since 1970: the year 5138
_MAX_NUMBER = 1e300  # sums of values stay finite

Check = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_COUNT


def _is_number_of_slots(value: Any) -> bool:
    return _is_count(value) and value > 0


def is_number(value: Any) -> TypeGuard[float]:
    """Say whether a value is a finite number, not a boolean, that a float can represent."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= (_MAX_NUMBER if isinstance(value, float) else _MAX_COUNT)


def is_time(value: Any) -> bool:
    """Say whether a value is a time or a duration in seconds."""
    return is_number(value) and 0 <= value < _MAX_TIME_S


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and _is_value(value)


def _is_value(value: Any) -> bool:
    """Say whether a table and a page can show a value of a point."""
    if isinstance(value, dict | list):
        return all(map(_is_value, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | bool) or is_number(value)


def _is_warm_start(value: Any) -> bool:
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


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_DESCRIPTIONS: Mapping[Check, str] = {
    _is_count: "a count",
    _is_number_of_slots: "a count above 0",
    is_number: "a number",
    is_time: "a time in seconds",
    _is_text: "text",
    _is_counts: "a list of counts",
    _is_boolean: "true or false",
    _is_mapping: "a mapping",
    _is_point: "a point",
    _is_warm_start: "observations of other studies",
    _is_texts: "a mapping of strings",
    _is_metrics: "a list of metrics",
}

# Fields without which an event cannot be read.
_REQUIRED: Mapping[str, Mapping[str, Check]] = {
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
    "final": {"points": _is_counts, "first": _is_count},
    "refitted": {"checkpoint": _is_text},
}

# Fields that any event may have. Null means that the field is missing.
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
    "repeat_of": _is_count,
    "seed": _is_count,
    "final": _is_boolean,
    "repeats": _is_mapping,
    "final_round": _is_mapping,
    "time_budget": is_number,
    "node": _is_text,
    "device": _is_text,
    "diverged": _is_boolean,
    "data": _is_text,
    "search": _is_text,
    "scheduler": _is_text,
    "target": _is_text,
    "reason": _is_text,
    "error": _is_text,
    "ordered": _is_boolean,
    "config": _is_mapping,
    "space": _is_mapping,
    "search_options": _is_mapping,
    "scheduler_options": _is_mapping,
    "corpus": _is_texts,
    "versions": _is_texts,
    "metrics": _is_metrics,
    "warm_start": _is_warm_start,
    "test": _is_point,
    "test_says": _is_text,
}


def find_fault(event: Mapping[str, Any]) -> str | None:
    """Return why an event is invalid; None if it is valid."""
    kind = event["event"]
    required = _REQUIRED.get(kind, {})
    if missing := sorted(required.keys() - event.keys()):
        return f"{kind!r} lacks {', '.join(missing)}"
    for name, value in event.items():
        if name in ("event", "time"):
            continue
        check = required.get(name)
        if check is None:
            # All other fields of an epoch are metrics.
            check = _OPTIONAL.get(name, is_number if kind == "epoch" else None)
            if check is None or value is None:
                continue
        if not check(value):
            return f"{kind!r} has {name} {value!r:.60}, which is not {_DESCRIPTIONS[check]}"
    return None
