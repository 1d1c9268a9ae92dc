"""Strict JSON."""

import json
import math
from typing import Any

import pytest

from raytune_yesno.files.json_text import dump_json, parse_json, to_strict_json

VALUE: dict[str, Any] = {
    "finite": [0.5, 2**70, True, None, "x"],
    "none": [math.nan, (math.inf, {"deep": -math.inf})],
}


def test_what_json_cannot_hold_is_null() -> None:
    read = json.loads(dump_json(VALUE), parse_constant=pytest.fail)
    assert read == {"finite": VALUE["finite"], "none": [None, [None, {"deep": None}]]}


def test_it_is_spelled_where_null_would_be_another_value() -> None:
    spelled = to_strict_json(VALUE, spell=True)
    assert spelled["none"] == ["nan", ["inf", {"deep": "-inf"}]]
    assert spelled["finite"] == VALUE["finite"]


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        dump_json({"x": object()})


@pytest.mark.parametrize("depth", [101, 100_000])
def test_a_text_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    assert parse_json("[" * 100 + "]" * 100)
    assert parse_json('["' + "[" * 200 + '"]') == ["[" * 200]
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        with pytest.raises(ValueError, match="deep"):
            parse_json(opening * depth + "1" + closing * depth)
