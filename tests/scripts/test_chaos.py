"""A short form of the fault campaign, and its table."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reliability.chaos.kinds import FAULTS
from reliability.chaos.runs import Lines
from reliability.chaos.table import format_table
from reliability.soak.study import format_growth
from shared import read_results

PROGRAM = Path(__file__).parents[2] / "scripts" / "reliability"


def make_result(fault: str, **changes: Any) -> dict[str, Any]:
    return {"fault": fault, "recovered": True, "lost": 0, "seconds": 2.0, "problems": [], **changes}


def test_the_table_counts_what_was_injected(tmp_path: Path) -> None:
    first = [make_result("disk full"), make_result("disk full", seconds=4.0)]
    second = [make_result("trial killed", recovered=False, lost=3)]
    for name, results in (("1.jsonl", first), ("2.jsonl", second)):
        (tmp_path / name).write_text("".join(json.dumps(result) + "\n" for result in results))
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in format_table(read_results(tmp_path)).splitlines()[2:]
    ]
    assert rows == [
        ["disk full", "2", "2", "0", "3.0", "4.0"],
        ["trial killed", "1", "0", "3", "–", "–"],
        ["all", "3", "2", "3", "3.0", "4.0"],
    ]


def test_lines_are_read_once_and_again_where_the_file_was_cut(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    lines = Lines(file)
    assert lines.read() == []
    file.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert lines.read() == [{"a": 1}, {"a": 2}]
    with file.open("a") as more:
        more.write(": 3}\n")
    assert lines.read() == [{"a": 1}, {"a": 2}, {"a": 3}]
    file.write_text('{"a": 1}\n{"a"\n{"a": 4}\n{"a": 5}\n')
    assert lines.read() == [{"a": 1}, {"a": 4}, {"a": 5}]


def test_growth_is_told_by_quarters_of_the_trials() -> None:
    samples = [
        {"ended": ended, "taken": {"driver": {"most MB": 100 + ended}, "disk": {"study MB": 7}}}
        for ended in range(0, 401, 10)
    ]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in format_growth([*samples, {"problems": []}]).splitlines()[2:]
    ]
    assert ["driver: most MB", "250.0", "350.0", "450.0"] in rows
    assert ["disk: study MB", "7.0", "7.0", "7.0"] in rows


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("fault", ["trial killed", "checkpoint damaged"])
def test_a_study_comes_out_the_same_whatever_befell_it(fault: str, tmp_path: Path) -> None:
    assert fault in FAULTS
    done = subprocess.run(
        [sys.executable, PROGRAM, "chaos", "--fault", fault, "--rounds", "1", "--out", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    results = read_results(tmp_path)
    assert {result["fault"] for result in results} == {fault}
    for result in results:
        assert result["recovered"], result
        assert (result["lost"], result["problems"]) == (0, [])
