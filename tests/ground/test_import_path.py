"""Where modules are imported from: what the user names, and never the working directory."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.shadow import (
    PACKAGE,
    ROOT,
    Shadows,
    clean_environment,
    list_imported_by_python,
    write_program,
)

from raytune_yesno.import_path import WorkerPath, module_command

SHOW = """
import sys, os
from raytune_yesno.import_path import drop_working_directory
sys.path[0] = {first!r}
drop_working_directory()
print(*sys.path, os.environ.get("PYTHONPATH"), sep="\\n")
"""


@pytest.fixture(scope="module")
def shadows(tmp_path_factory: pytest.TempPathFactory) -> Shadows:
    folder = tmp_path_factory.mktemp("stranger")
    return Shadows(folder / "study", folder / "trace")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_program(tmp_path_factory.mktemp("installed"))


def search_path(folder: Path, first: str, **more: str) -> list[str]:
    """Return ``sys.path`` and ``PYTHONPATH`` of a program that has dropped the working directory.

    Args:
        folder: where it runs.
        first: what Python has put first on the path.
        more: for its environment.
    """
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(first=first)],
        cwd=folder,
        env=clean_environment() | more,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_shadows_would_be_imported(shadows: Shadows, tmp_path: Path) -> None:
    """Without the protection they are: the other tests see what they should."""
    own = Shadows(tmp_path / "study", tmp_path / "trace")
    command = [sys.executable, "-c", "import soundfile, torch, click, getpass"]
    subprocess.run(command, cwd=own.folder, env=clean_environment(), check=True)
    assert len(own.traces) == 4
    assert len(list(shadows.folder.glob("*.py"))) > len(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["tune", "--help"],
        ["train", "--help-config"],
        ["launch", "--help"],
        ["cluster", "up", "--help"],
    ],
)
def test_the_program_imports_nothing_from_the_working_directory(
    words: list[str], shadows: Shadows, program: Path
) -> None:
    assert shadows.run([program, *words]).stdout


def test_a_module_that_is_run_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    """Nor does Python with -m, except for its own imports before it finds the package."""
    shadows = Shadows(tmp_path / "study", tmp_path / "trace")
    shadows.without(list_imported_by_python(tmp_path))
    assert shadows.run([sys.executable, "-m", PACKAGE, "--help"]).stdout


def test_a_module_that_we_run_imports_nothing_from_the_working_directory(shadows: Shadows) -> None:
    """Not even the package itself, if there is another one of its name."""
    assert "raytune-yesno" in shadows.run([*module_command(PACKAGE), "--version"]).stdout
    assert "pip" in shadows.run([*module_command("pip"), "--version"]).stdout


@pytest.mark.parametrize("first", ["", "HERE", "/elsewhere"])
@pytest.mark.parametrize("named", ["", ":", "/named:", ":/named", "/named::/other"])
def test_the_working_directory_is_dropped(first: str, named: str, tmp_path: Path) -> None:
    first = first.replace("HERE", str(tmp_path))
    *found, variable = search_path(tmp_path, first, PYTHONPATH=named)
    assert not {"", str(tmp_path)} & set(found)
    wanted = [entry for entry in named.split(":") if entry]
    assert [entry for entry in found if entry in ("/named", "/other")] == wanted
    assert variable == (":".join(wanted) or "None")


def test_a_folder_that_the_user_names_is_searched(tmp_path: Path) -> None:
    """Even if it is the working directory, in whatever form it is named."""
    for named in (str(tmp_path), "."):
        assert str(tmp_path) in search_path(tmp_path, "", PYTHONPATH=named)


def test_a_folder_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os; os.rmdir({str(gone)!r})\n" + SHOW.format(first="")
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=gone, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "" not in done.stdout.splitlines()


def test_nothing_is_imported_before_the_path_is_clean() -> None:
    """Python has loaded ``os`` and ``site`` by then; -S: no package adds to them here."""
    ask = f"import os, site, sys; before = set(sys.modules); sys.path.insert(0, {str(ROOT)!r}); "
    ask += "import raytune_yesno; print(*(set(sys.modules) - before))"
    command = [sys.executable, "-S", "-c", ask]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, check=True)
    assert set(done.stdout.decode().split()) == {PACKAGE, f"{PACKAGE}.import_path"}


def test_workers_search_where_the_driver_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray adds a driver's working directory and its script's folder to its workers' path."""
    script, here = str(tmp_path / "script"), str(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [script, "/python"])
    path = WorkerPath()
    path.extend([script, here])
    assert path == [script]
    monkeypatch.setattr(sys, "path", ["", "/python"])  # a notebook: the user's own modules
    path = WorkerPath()
    path.extend([script, here])
    assert path == [here]
