"""Package what a job needs: the project as a wheel, and the files that the command names.

The working directory is not sent: the wheel contains the package and nothing else.
"""

import ast
import importlib.util
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from raytune_yesno.cluster.token import token_file
from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.files.yaml_text import load_documents, read_text
from raytune_yesno.home import expand_home
from raytune_yesno.import_path import module_command
from raytune_yesno.text import last_line
from raytune_yesno.user_code import is_own
from raytune_yesno.versions import COMMIT

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "python -m raytune_yesno"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "raytune_yesno")
_FILES = ("--config", "--space", "--data")
_MAX_BYTES = 100 * 1024**2
"""The most that Ray's dashboard accepts in one upload; the archive is not compressed."""
_ENTRY_BYTES = 500
"""At least what an archive needs for a file, beside its content."""


def unpack_wheel(folder: Path) -> None:
    """Build the project's wheel and unpack it into a folder.

    A job that runs in such a folder, and its workers, import the project from there. Nothing of it
    is installed on the nodes, and a kept cluster gets the current project. Without a checkout, the
    installed package is copied: it is an unpacked wheel.

    Raises:
        WorkError: the wheel could not be built.
    """
    if not (ROOT / SOURCES[0]).is_file():
        # The other file names a path or URL of this machine.
        unwanted = shutil.ignore_patterns("__pycache__", "direct_url.json")
        for source in (ROOT / SOURCES[-1], *ROOT.glob(f"{SOURCES[-1]}-*.dist-info")):
            shutil.copytree(source, folder / source.name, ignore=unwanted, dirs_exist_ok=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        # Build from a copy: setuptools leaves files beside the sources, and packages files that
        # an earlier build left there.
        copy, wheels = Path(scratch) / "source", Path(scratch) / "wheels"
        copy.mkdir()
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)
        command = [*module_command("pip"), "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
        if importlib.util.find_spec("setuptools"):
            command.append("--no-build-isolation")  # isolation would download setuptools
        built = subprocess.run(
            [*command, "--wheel-dir", str(wheels), str(copy)],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise WorkError(f"{ROOT}: cannot build the project's wheel: {last_line(built.stderr)}")
        (wheel,) = wheels.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def name_commit() -> dict[str, str]:
    """Return the environment variable that tells a job its commit.

    The commit ends in ``-changed`` if files differ from it. Return nothing if the project is not in
    a git repository of its own.
    """
    if not (ROOT / ".git").exists() or not (git := shutil.which("git")):
        return {}
    command = [git, "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=-changed"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return {} if said.returncode else {COMMIT: said.stdout.strip()}


def write_definition(definition: Mapping[str, Any], target: Path) -> None:
    """Write a definition for Ray, with absolute local paths and this user's token.

    Only the user may be able to enter the target's folder.
    """
    mounts = {
        remote: str(find_mounted(str(local)))
        for remote, local in (definition.get("file_mounts") or {}).items()
    }
    mounts["~/.ray/auth_token"] = str(_write_given_token(target.parent) or token_file())
    target.write_text(yaml.safe_dump({**definition, "file_mounts": mounts}, sort_keys=False))


def _write_given_token(folder: Path) -> Path | None:
    """Write the token of ``RAY_AUTH_TOKEN``, which overrides the file, to a private file.

    Returns:
        The file; None if the variable is not set.
    """
    if not (token := os.environ.get("RAY_AUTH_TOKEN")):
        return None
    path = folder / "auth_token"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    return path


def find_mounted(local: str) -> Path:
    """Return the absolute path of a file to copy to the nodes.

    A relative path starts in the working directory, else in the project's checkout, as in the
    definitions that come with the project.
    """
    path = expand_home(local).absolute()
    return path if path.exists() or not (ROOT / local).exists() else ROOT / local


def gather_inputs(arguments: Sequence[str], folder: Path) -> list[str]:
    """Copy the files that a command reads into a folder.

    Returns:
        The words of the command, with the paths that the files have on the head.

    Raises:
        InputError: a file does not exist, an option or a study file names a folder that is not
            sent, or the files are too large.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return _gather(arguments, folder)
    except InputError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"the files of the command cannot be copied: {error}") from error


def _gather(arguments: Sequence[str], folder: Path) -> list[str]:
    words: list[str] = []
    for word in arguments:
        option, equals, value = word.partition("=")
        if option == "--warm-start":
            raise InputError(
                "--warm-start: the cluster does not reach studies on this machine; leave it out"
            )
        if option == "--task" and equals:
            words.append(f"{option}={_take_code(value, folder)}")
        elif words and words[-1] == "--task":
            words.append(_take_code(word, folder))
        elif option in _FILES and equals:
            words.append(f"{option}={_take(option, value, folder)}")
        elif words and words[-1] in _FILES:
            words.append(_take(words[-1], word, folder))
        else:
            words.append(word)
    _check_size(folder)
    return words


def _check_size(path: Path) -> None:
    """Raise InputError if a file or folder is larger than what a cluster accepts."""
    size = 0
    for folder, _, names in os.walk(path, followlinks=True):  # as they are copied
        for name in names:
            size += os.stat(os.path.join(folder, name)).st_size + _ENTRY_BYTES
            if size > _MAX_BYTES:
                raise InputError(
                    f"the files of the command exceed the {_MAX_BYTES >> 20} MB that a cluster "
                    "accepts; copy the recordings to a folder that all nodes reach, and give its "
                    "absolute path as `data` in the study file"
                )


def _take_code(task: str, folder: Path) -> str:
    """Copy the user's file of a task, and the modules beside it that it imports."""
    source, _, name = task.rpartition(":")
    path = expand_home(source)
    if path.suffix != ".py":
        _take_package(source.partition(".")[0], folder)
        return task
    if not path.is_file():
        raise InputError(f"--task {task}: no such file on this machine; correct the path")
    target = folder / "task"
    # A link's modules are beside the file that it names, where its task is imported from.
    origin = path.resolve().parent
    pending = {path: target / path.name}
    copied: set[Path] = set()
    while pending:
        file, copy = pending.popitem()
        copied.add(copy)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
        for module in _find_imports(file):
            beside = origin / module
            found = [beside.with_suffix(".py"), *(beside.rglob("*.py") if beside.is_dir() else ())]
            for each in found:
                destination = target / each.relative_to(origin)
                if each.is_file() and destination not in copied:
                    pending[each] = destination
    return f"{(target / path.name).relative_to(folder)}:{name}"


def _take_package(name: str, folder: Path) -> None:
    """Copy the modules of the user's own package, if it is one.

    The job imports them from its folder. Others are built in, or installed on the cluster.
    """
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin and is_own(spec.origin):
            shutil.copy(spec.origin, folder)
        return
    for package in map(Path, spec.submodule_search_locations):
        if is_own(str(package / "__init__.py")):
            for file in package.rglob("*.py"):
                copy = folder / name / file.relative_to(package)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)


def _find_imports(file: Path) -> set[str]:
    """Return the first parts of the names of the modules that a file imports.

    A file with a syntax error has none; the command reports it on the cluster.
    """
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names if name}


def _take(option: str, value: str, folder: Path) -> str:
    path = expand_home(value)
    if option == "--data" and not path.exists():
        return value  # the name of data, or a URI
    if not path.exists():
        raise InputError(f"{option} {value}: no such file on this machine; correct the path")
    name = os.path.basename(os.path.abspath(path)) or "root"  # of `..` too
    target = folder / option.strip("-") / name
    target.parent.mkdir(exist_ok=True)
    if path.is_dir():
        _check_size(path)
        # Ray leaves out what these files name.
        shutil.copytree(path, target, ignore=shutil.ignore_patterns(".gitignore", ".rayignore"))
    else:
        if option == "--config":
            _check_study_file(path)
        shutil.copy(path, target)
    return str(target.relative_to(folder))


def _check_study_file(path: Path) -> None:
    """Raise InputError if a study file names files of this machine by relative paths.

    Absolute ones may be of a disk that all nodes share. A file that cannot be read is for the
    command to report.
    """
    try:
        content = next(iter(load_documents(read_text(path))), None)
    except (OSError, ValueError):
        return
    settings = content if isinstance(content, dict) else {}
    config = settings.get("config")
    task = config.get("task") if isinstance(config, dict) else None
    for key, value in (("data", settings.get("data")), ("task", task)):
        file = str(value).rpartition(":")[0] if key == "task" else str(value)
        if value and not Path(file).is_absolute() and Path(file).exists():
            raise InputError(
                f"{path}: {key} {value} is on this machine only; omit it there and give --{key}, "
                "whose files are sent"
            )
