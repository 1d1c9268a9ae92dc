"""Workers start when trials wait and end when idle: autoscaler v2 with its fake provider."""

import json
import sys
from pathlib import Path

import pytest
from helpers.apart import MARK, find_marked, own_home, run_apart
from helpers.meeting import write_meeting
from helpers.readme import ROOT

from raytune_yesno.study import load

pytestmark = pytest.mark.cluster


def test_workers_start_for_a_study_and_end_after_it(tmp_path: Path) -> None:
    script = ROOT / "tests" / "helpers" / "autoscaled.py"
    command = f"{sys.executable} {script} {tmp_path / 'study'}"
    plan = write_meeting(tmp_path / "meeting", trials=4)
    with own_home() as environment:
        told = run_apart(
            f"unset RAY_ADDRESS RAY_AUTH_MODE\n{command} {plan}",
            {**environment, "PYTHONPATH": str(ROOT)},
        )
        assert told.returncode == 0, told.stdout
        assert find_marked(environment[MARK]) == []
    (line,) = (line for line in told.stdout.splitlines() if line.startswith("SEEN "))
    seen = json.loads(line.removeprefix("SEEN "))
    assert seen["code"] == 0
    assert seen["began_with"] == 1  # the head, on which no trial runs
    assert "down_s" in seen  # all workers ended
    study = load(tmp_path / "study")
    assert {trial.status for trial in study.trial_list} == {"done"}
    assert study.epochs["node"].nunique() == 2
    assert study.refit
