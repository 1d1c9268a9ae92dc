"""The tables of ``python scripts/bench speed``: what is compared with what."""

from typing import Any

from bench.speed.table import format_tables


def _result(case: str, seconds: float, repeat: int, commit: str = "aaaaaaaaaa") -> dict[str, Any]:
    figures = {"s": seconds}
    return {"part": "p", "case": case, "group": "g", "repeat": repeat, "commit": commit} | {
        "figures": figures
    }


def _rows(results: list[dict[str, Any]]) -> list[list[str]]:
    lines = format_tables(results, {"p": "Title"}).splitlines()
    assert lines[0] == "Title"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_case_is_held_against_the_limit_of_the_same_repeat() -> None:
    results = [
        *(_result("plain (limit)", 1.0, 0), _result("ours", 1.5, 0)),
        *(_result("plain (limit)", 10.0, 1), _result("ours", 11.0, 1)),
    ]
    heads, _, limit, ours = _rows(results)
    assert heads == ["case", "÷ limit", "s", "times"]
    assert limit[1] == "1 (1 to 1)"
    assert ours == ["ours", "1.3 (1.1 to 1.5)", "6.25 (1.5 to 11)", "2"]


def test_commits_are_held_each_against_its_own_limit() -> None:
    results = [
        *(_result("plain (limit)", 2.0, 0, "before0000"), _result("ours", 3.0, 0, "before0000")),
        *(_result("plain (limit)", 1.0, 0, "after00000"), _result("ours", 1.1, 0, "after00000")),
    ]
    heads, _, *rows = _rows(results)
    assert heads == ["case", "commit", "÷ limit", "s", "times"]
    assert [row[:3] for row in rows] == [
        ["plain (limit)", "before0", "1"],
        ["plain (limit)", "after00", "1"],
        ["ours", "before0", "1.5"],
        ["ours", "after00", "1.1"],
    ]


def test_a_case_without_a_limit_in_its_repeat_has_no_ratio() -> None:
    (*_, ours) = _rows([_result("plain (limit)", 2.0, 0), _result("ours", 3.0, 1)])
    assert ours == ["ours", "–", "3", "1"]
