"""A folder with a module of every importable name; each leaves a trace when it is imported."""

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "raytune_yesno"
_MODULE = """\
import sys
with open({trace!r}, "a") as trace:
    trace.write({name!r} + " in " + repr(sys.orig_argv[:6]) + "\\n")
"""
# Ray brings modules of its own, and Python looks for these two names whenever it starts.
_MORE = ("psutil", "setproctitle", "sitecustomize", "usercustomize", PACKAGE)


def list_importable() -> set[str]:
    """Return the top-level names that can be imported here: Python's, and every package's."""
    names = {*sys.stdlib_module_names, *_MORE}
    for distribution in importlib.metadata.distributions():
        for path in distribution.files or ():
            top = path.parts[0]
            names.add(top.removesuffix(".py") if len(path.parts) == 1 else top)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        names.add(entry.name.partition(".")[0])
    return {name for name in names if name.isidentifier()} - {"__pycache__"}


class Shadows:
    """The folder, and the traces of what was imported from it."""

    def __init__(self, folder: Path, trace: Path) -> None:
        self.folder, self.trace = folder, trace
        folder.mkdir(parents=True, exist_ok=True)
        for name in list_importable():
            text = _MODULE.format(trace=str(trace), name=name)
            (folder / f"{name}.py").write_text(text)

    @property
    def traces(self) -> list[str]:
        """What was imported, and by which command."""
        return self.trace.read_text().splitlines() if self.trace.exists() else []

    def without(self, names: Sequence[str]) -> "Shadows":
        """Remove some of the modules."""
        for name in names:
            (self.folder / f"{name}.py").unlink(missing_ok=True)
        return self

    def run(
        self, words: Sequence[str | Path], timeout_s: float = 400, code: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder; it must end with the exit code and leave no trace."""
        done = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=clean_environment() | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert self.traces == []
        assert done.returncode == code, done.stdout + done.stderr
        return done


def clean_environment() -> dict[str, str]:
    """Return the environment without what pytest or a user adds to Python's path."""
    unwanted = ("PYTHONPATH", "PYTHONSAFEPATH")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "OMP_NUM_THREADS": "1"}


def write_program(folder: Path) -> Path:
    """Write the program ``raytune-yesno`` as pip installs it; return its path."""
    project = (ROOT / "pyproject.toml").read_text()
    ((module, function),) = re.findall(r'^raytune-yesno = "(.+):(.+)"$', project, re.M)
    program = folder / "bin" / "raytune-yesno"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    program.chmod(0o755)
    return program


def list_imported_by_python(folder: Path) -> list[str]:
    """Return the modules that ``python -m PACKAGE`` imports before the package, or the package.

    The working directory is on its path then: nothing that the package does can prevent them.
    """
    (folder / "neutral").mkdir()
    (folder / "neutral/__init__.py").write_text("import sys; print(*sys.modules)")
    (folder / "neutral/__main__.py").write_text("")
    words = [sys.executable, "-m", "neutral"]
    environment = clean_environment()
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return sorted({name.partition(".")[0] for name in done.stdout.split()} | {PACKAGE})
