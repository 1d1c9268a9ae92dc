"""How a study shows itself in a Python session and in a notebook."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from helpers.builders import EVIL, write_study

from raytune_yesno.study import load
from raytune_yesno.study.store import StudyStore


def test_the_repr_of_a_study_is_a_line_with_its_result(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine")
    text = repr(study)
    assert study.best is not None
    assert len(text) < 200 + len(str(tmp_path))
    assert "\n" not in text
    for part in ("mine", "30 trials", f"{study.best.metrics['valid_loss']:.4g}", "random + asha"):
        assert part in text
    assert "not finished" in repr(replace(study, searched=False))
    trial = repr(study.best)
    assert len(trial) < 300
    assert f"({study.best.number}: done" in trial


def test_a_study_without_trials_has_a_repr(tmp_path: Path) -> None:
    StudyStore(tmp_path / "empty").append("study", time=0.0)
    study = load(tmp_path / "empty")
    assert "no result" in repr(study)
    assert "<table>" not in study._repr_html_()


def test_the_html_shows_the_best_trials_and_runs_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine")
    shown = study._repr_html_()
    assert len(shown) < 3000
    numbers = [int(number) for number in re.findall(r"<tr><td>(\d+)</td>", shown)]
    assert numbers == [each.trial.number for each in study.candidates[:5]]
    first = study.candidates[0].trial
    evil = replace(first, point={EVIL: EVIL}, epochs=[{**e, "trial": 0} for e in first.epochs])
    page = replace(study, trial_list=[evil], path=tmp_path / EVIL.replace("/", "_"))._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;" in page


def test_ipython_shows_an_error_as_its_message_alone(tmp_path: Path) -> None:
    cell = "from raytune_yesno.study import load\nload('missing')"
    run = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=nocolor", "-c", cell],
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    (line,) = run.stdout.splitlines()
    assert line.startswith("InputError: missing: ")
