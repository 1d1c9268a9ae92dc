"""A command that a launch repeats after a crash makes each of its changes once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import write_study

from raytune_yesno import cli
from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.commands.plans import plan_study
from raytune_yesno.commands.settings import read_settings
from raytune_yesno.errors import InputError
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.report.study_groups import group_studies
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import COMMAND_ID, STORE, StudyStore, read_events
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.resume import resume_trials

ID, OTHER = "0b9f4c0e5a7d4a8e9c1b2d3f4a5b6c7d", "ffffffffffffffffffffffffffffffff"
ADDED = ["--add-trials", "3"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return the folder of a study whose trials have all ended, without a refit."""
    write_study(tmp_path / "study", 4)
    path = tmp_path / "study" / STORE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"refitted"' not in line))
    return tmp_path / "study"


def plan(folder: Path, *words: str) -> tuple[Plan, Study | None, int]:
    """Return the plan of ``tune --resume``, the study if it is finished, and the trials to add."""
    options = cli.build_parser().parse_args(["tune", "--resume", str(folder), *words])
    found, study, is_finished = plan_study(read_settings(options), options, OutputFolder.of(folder))
    return found, study if is_finished else None, options.add_trials or 0


def resume(folder: Path, *words: str) -> None:
    """Record what ``tune --resume`` records when its search begins."""
    found, _, added = plan(folder, *words)
    before = load(folder)
    found = found.extend(before, added) if added else found
    resume_trials(before, found, StudyStore(folder), 1, None, print, retry=(), extend=())


def test_trials_are_added_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Plan.from_study(load(study)).num_trials
    monkeypatch.setenv(COMMAND_ID, ID)
    assert plan(study, *ADDED)[2] == 3  # lost before it recorded anything: it is not done yet
    for _ in range(3):
        resume(study, *ADDED)
        assert Plan.from_study(load(study)).num_trials == before + 3
    assert read_events(study)[0][-1]["command"] == ID


@pytest.mark.parametrize("command_id", ["", OTHER])
def test_another_command_adds_its_own_trials(
    command_id: str, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMAND_ID, ID)
    resume(study, *ADDED)
    before = Plan.from_study(load(study)).num_trials
    monkeypatch.setenv(COMMAND_ID, command_id)
    resume(study, *ADDED)
    assert Plan.from_study(load(study)).num_trials == before + 3


@pytest.mark.parametrize("words", [[], ADDED, ["--retry", "failed"], ["--epochs", "99"]])
def test_a_study_that_the_command_has_finished_is_finished(
    words: list[str], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMAND_ID, ID)
    resume(study)
    StudyStore(study).append("refitted", checkpoint=f"{study}/refit/last", epochs=1, trial=0)
    assert plan(study, *words)[1] is not None
    monkeypatch.setenv(COMMAND_ID, OTHER)
    with pytest.raises(InputError, match="finished"):
        plan(study)


def test_launches_of_the_same_settings_are_repeats(tmp_path: Path) -> None:
    studies = [write_study(tmp_path / f"{seed}", 4, seed=seed) for seed in range(2)]
    for study, command_id in zip(studies, (ID, OTHER), strict=True):
        study.settings["command"] = command_id
    assert len(group_studies(studies)) == 1


def repeat(out: Path, *words: str) -> int:
    run = ("train", "--task", "sine", "--num-workers", "0", "--epochs", "2")
    return cli.main([*run, "--fresh", "--out", str(out), *words])


@pytest.mark.parametrize("set_id", [lambda number: ID, lambda number: f"{number:032x}"])
def test_fresh_sets_aside_only_the_work_of_other_commands(
    set_id: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert repeat(out) == 0
    for number in range(1, 3):
        monkeypatch.setenv(COMMAND_ID, set_id(number))
        assert repeat(out, "--seed", "7") == 0
    seeds = {path.name: load_checkpoint(path / "last").config.seed for path in tmp_path.iterdir()}
    others = {} if set_id(1) == ID else {"run-2": 7}
    assert seeds == {"run-1": 0, "run": 7, **others}
