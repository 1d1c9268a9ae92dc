"""Errors of usage say what was meant, and where."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raytune_yesno import __version__, cli
from raytune_yesno.errors import find_nearest
from raytune_yesno.study.store import StudyStore

FILES = {
    "study.yaml": "trials: 3\nspace: {learning_rate: {float: [1.0e-4, 1.0e-2]}}\n",
    "name.yaml": "lr: {float: [1.0e-4, 1.0e-2]}\n",
    "domain.yaml": "learning_rate: {floats: [1.0e-4, 1.0e-2]}\n",
    "value.yaml": "dropout: {float: [0, 3]}\n",
    "inside.yaml": "space: {dropout: {float: [0, 3]}}\n",
    "value.py": "number = 1\n",
    "seeds.yaml": "seed: 1\nconfig: {seed: 2}\n",
}
SYNTHETIC = "tune --data synthetic:10 --out new"


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Return what runs a command that must be refused, and returns its error."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)

    def run(command: str) -> str:
        try:
            code = cli.main(shlex.split(command))
        except SystemExit as leaving:
            code = leaving.code
        assert code == 2
        return capfd.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("tune --num-workers 2", ("--workers-per-trial", "`raytune-yesno tune --help`")),
        ("train --nope", ("--nope", "`raytune-yesno train --help`")),
        ("launch a.yaml --downn -- tune", ("--down?", "`raytune-yesno launch --help`")),
        ("corpus check --dat x extra more", ("more", "`raytune-yesno corpus check --help`")),
        ("train --set lr=1", ("'learning_rate'",)),
        ("tuen", ("'tuen'", "'tune'", "`raytune-yesno --help`")),
        ("train --trials 4", ("--trials", "`tune`")),
        ("launch a.yaml tune", ("tune", " -- ")),
        ("tune --trials many", ("--trials", "'many'", "whole number")),
        ("report new --top 0", ("--top", "'0'", "at least 1")),
        ("tune --task nope", ("'nope'", "sine", "file.py:Name")),
        ("tune --task study.py", ("'study.py'", "study.py:Name")),
        ("tune --task value.py:number", ("value.py:number", "function", "class")),
        ("train --resume new", ("new", "settings.yaml")),
        ("train --epochs 0", ("epochs: 0", "1,000,000")),
        ("tune --out study.yaml", ("study.yaml", "file", "folder")),
        (f"{SYNTHETIC} --space study.yaml", ("study.yaml", "--config study.yaml")),
        (f"{SYNTHETIC} --space name.yaml", ("name.yaml", "'learning_rate'")),
        (f"{SYNTHETIC} --space domain.yaml", ("domain.yaml", "learning_rate", "'float'")),
        (f"{SYNTHETIC} --space value.yaml", ("value.yaml", "dropout")),
        (f"{SYNTHETIC} --config inside.yaml", ("inside.yaml", "dropout")),
        (
            f"{SYNTHETIC} --search manual",
            ("--point NAME=VALUE,NAME=VALUE", "search_options"),
        ),
        (f"{SYNTHETIC} --seed 1 --set seed=2", ("seed", "--seed 1", "--set seed=2")),
        (f"{SYNTHETIC} --config seeds.yaml", ("seed", "seeds.yaml")),
        ("train --epochs 2 --set epochs=3", ("epochs", "--epochs 2", "--set epochs=3")),
        ("tune --data synthetic:10 --out /proc/x", ("/proc/x",)),
    ],
)
def test_an_error_names_what_was_meant(
    command: str, said: tuple[str, ...], refused: Callable[[str], str]
) -> None:
    error = refused(command)
    assert error.startswith("raytune-yesno: ")
    for part in said:
        assert part in error
    assert not Path("new").exists()


def test_the_same_value_twice_is_accepted(refused: Callable[[str], str]) -> None:
    error = refused("train --seed 1 --set seed=1 --set nope=1")
    assert "'nope'" in error


def test_a_folder_of_studies_names_them(refused: Callable[[str], str]) -> None:
    for name in ("tpe", "random"):
        StudyStore(Path("studies", name)).append("study", slots=1, config={}, space={})
    for folder in ("studies", "."):
        error = refused(f"report {folder}")
        assert "studies/random" in error
        assert "studies/tpe" in error


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "raytune_yesno", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"raytune-yesno {__version__}\n"


def test_an_alias_is_found_only_where_it_is_known() -> None:
    assert find_nearest("num_samples", ["trials", "samplers"]) == "trials"
    assert find_nearest("num_workers", ["num_worker"]) == "num_worker"
    assert find_nearest("lr", ["dropout"]) is None
