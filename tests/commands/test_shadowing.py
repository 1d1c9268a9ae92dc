"""Every command, run in a stranger's folder of shadowing modules: none of them is imported."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.builders import write_study
from helpers.shadow import PACKAGE, ROOT, Shadows, list_imported_by_python, write_program

from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

SMALL = ("--epochs", "1", "--set", "channels=2,3", "--set", "hidden_units=4", "--set", "seed=1")
_SEVERAL = """
import json
commands = json.loads(sys.argv[1])
for command in commands:
    sys.argv[1:] = command
    if code := main():
        sys.exit(code)
print("done", len(commands))
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Shadows:
    """Return a folder that is a corpus, and a study, and holds the modules."""
    folder = tmp_path_factory.mktemp("stranger")
    write_study(folder / "it", 4)
    write_corpus(synthesize(10), folder / "it")
    return Shadows(folder / "it", folder / "trace")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_program(tmp_path_factory.mktemp("installed"))


def under_uv(shadows: Shadows, scratch: Path, words: Sequence[str | Path]) -> list[str | Path]:
    """Return a command whose parent looks like ``uv run``: Ray would send its folder to workers."""
    uv = scratch / "uv"
    uv.symlink_to("/bin/sh")
    (shadows.folder / "run").write_text('"$@"\nexit $?\n')
    return [uv, "run", *words]


@pytest.mark.long
def test_without_a_cluster(stranger: Shadows, tmp_path: Path) -> None:
    """All commands that start no Ray, on the folder as a corpus, a study and a place in storage.

    In one process, which imports torch once.
    """
    run = str(tmp_path / "run")
    recording = next(stranger.folder.rglob("*.wav")).relative_to(stranger.folder)
    commands = [
        ["train", "--data", ".", "--num-workers", "0", *SMALL, "--out", run],
        ["corpus", "check", "."],
        ["corpus", "show", "0", "."],
        ["evaluate", f"{run}/last", "--data", "."],
        ["predict", f"{run}/last", str(recording)],
        ["report", ".", "--export", "trials.parquet", "--export", "trials.md"],
        ["report", stranger.folder.as_uri(), "--out", str(tmp_path / "report")],
        ["study", ".", "status"],
        ["export", f"{run}/last", "--format", "torchscript", "--out", str(tmp_path / "model.pt")],
        ["init", str(tmp_path / "study.yaml")],
        ["tune", "--data", ".", "--dry-run", *SMALL],
    ]
    several = write_program(tmp_path)
    several.write_text(f"{several.read_text().rpartition('sys.exit')[0]}{_SEVERAL}")
    told = stranger.run([several, json.dumps(commands)]).stdout
    assert told.splitlines()[-1] == f"done {len(commands)}"


def test_launch_checks_a_definition(stranger: Shadows, program: Path, tmp_path: Path) -> None:
    """The rules, Ray's own validation and the clouds' libraries, on a definition in the folder."""
    definition = (ROOT / "cluster/aws.yaml").read_text()
    (stranger.folder / "aws.yaml").write_text(definition)
    words = [program, "launch", "aws.yaml", "--check"]
    assert "EDIT" in stranger.run(words, code=2).stderr


@pytest.mark.ray
def test_on_a_cluster_of_its_own(stranger: Shadows, program: Path, tmp_path: Path) -> None:
    """A trial of two ranks, its refit on two workers, the study resumed in its own folder."""
    out = tmp_path / "study"
    ranks = ("--workers-per-trial", "2", "--num-cpus", "2")
    data = stranger.folder
    tune = ["tune", "--data", data, "--trials", "1", "--search", "random", *SMALL, *ranks]
    stranger.run([program, "doctor", "--data", "."])
    stranger.run([program, *tune, "--out", out])
    own = Shadows(out, tmp_path / "trace")
    words = [program, "tune", "--resume", ".", "--add-trials", "1", "--num-cpus", "2", "--json"]
    told = own.run(under_uv(own, tmp_path, words)).stdout
    assert json.loads(told.splitlines()[-1])["trials"] == 2


@pytest.mark.ray
@pytest.mark.slow  # above, a refit has such workers, and a study is resumed in its own folder
def test_a_run_that_is_resumed_as_a_module(program: Path, tmp_path: Path) -> None:
    """Ray Train's workers, and ``python -m``, in the run's own folder."""
    corpus = Shadows(tmp_path / "corpus", tmp_path / "trace")
    train = ["train", "--data", "synthetic:10", "--num-workers", "2", "--num-cpus", "2", *SMALL]
    corpus.run([program, *train, "--out", tmp_path / "run"])
    shadows = Shadows(tmp_path / "run", tmp_path / "trace")
    shadows.without(list_imported_by_python(tmp_path))
    words = ["train", "--resume", ".", "--epochs", "2", "--num-cpus", "2"]
    shadows.run([sys.executable, "-m", PACKAGE, *words])
