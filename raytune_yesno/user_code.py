"""The user's own code: read once by the driver, and sent to every process that runs it.

A file or a module that the user names is read on the driver. Workers import the text that the
driver read, on any node: they need neither the file nor the driver's version of it, and an edit
while a study runs has no effect on it. Files that the named one imports from its own folder (or
package) are sent with it. Installed packages are not sent.
"""

import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from raytune_yesno.errors import InputError, MissingMetric, one_line

_PACKAGE = Path(__file__).resolve().parent
_PACKAGES = {"site-packages", "dist-packages"}
_INSTALLED = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")
)


class TaskError(Exception):
    """An error in a task: raised by the user's code, or in what it reported.

    It is not retried, unlike the loss of a process.

    Attributes:
        line: what is wrong, in one line.
        lines: the lines of the traceback that lie in the user's own code.
        ends_study: whether every other trial would fail in the same way.
    """

    def __init__(self, line: str, lines: str = "", ends_study: bool = False) -> None:
        super().__init__(line, lines, ends_study)
        self.line, self.lines, self.ends_study = line, lines, ends_study

    def __str__(self) -> str:
        return self.line


@contextmanager
def report_errors(passed: Callable[[BaseException], bool]) -> Iterator[None]:
    """Convert errors of the user's code to :class:`TaskError`.

    Args:
        passed: returns whether an error is not the user's, such as a lost connection.
    """
    try:
        yield
    except (TaskError, StopIteration):
        raise
    except InputError as error:
        raise TaskError(str(error), "", isinstance(error, MissingMetric)) from error
    except (Exception, SystemExit) as error:
        if passed(error):
            raise
        raise TaskError(*describe_error(error)) from error


def describe_error(error: BaseException) -> tuple[str, str]:
    """Return an error as one line, and the lines of its traceback in the user's own code."""
    frames = _own_frames(error.__traceback__)
    said = one_line(str(error).strip().partition("\n")[0])
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        line = f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    elif frames:
        line = f"{line} ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
    return line, "".join(traceback.format_list(frames))


def _own_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(trace) if is_own(frame.filename)]


def is_own(filename: str) -> bool:
    """Return whether a source file is the user's: neither ours, nor installed, nor Python's."""
    if filename.startswith("<") and not filename.startswith("<ipython"):
        return False
    path = os.path.realpath(filename)
    if _PACKAGES & set(Path(path).parts):
        return False
    return not path.startswith((*_INSTALLED, str(_PACKAGE) + os.sep))


@dataclass(frozen=True)
class Source:
    """The source of a module as the driver read it."""

    path: str
    text: str
    is_package: bool = False


@dataclass(frozen=True)
class Code:
    """The code of one name, to send to workers.

    Attributes:
        name: the name that the user gave.
        module: the name of the module that has it; empty without ``sources``.
        sources: the user's modules by their names.
        value: the object itself, if it was given in Python.
    """

    name: str
    module: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict)
    value: Any = None

    @property
    def digest(self) -> str:
        """Digest of the sources; it does not depend on where they are."""
        texts = [source.text for _, source in sorted(self.sources.items())]
        texts += [_read_source(part) for part in _list_functions(self.value)]
        return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def install(self) -> None:
        """Make the sources importable in this process."""
        _finder.sources.update(self.sources)


def _list_functions(value: Any) -> list[Any]:
    found = value if isinstance(value, tuple) else (value,)
    return [part for part in found if part is not None]


def _read_source(value: Any) -> str:
    try:
        return inspect.getsource(value if hasattr(value, "__code__") else type(value))
    except (OSError, TypeError):  # typed at a prompt
        code = getattr(value, "__code__", None)
        return repr((code.co_code.hex(), code.co_consts)) if code else type(value).__qualname__


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from their text."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        source = self.sources.get(fullname)
        if source is None:
            return None
        spec = ModuleSpec(fullname, self, origin=source.path, is_package=source.is_package)
        spec.has_location = True
        if source.is_package:
            spec.submodule_search_locations = [str(Path(source.path).parent)]
        return spec

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname].text

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].is_package

    def get_code(self, fullname: str) -> Any:
        source = self.sources[fullname]
        return compile(source.text, source.path, "exec", dont_inherit=True)


_finder = _Finder()
sys.meta_path.insert(0, _finder)


def import_file(path: Path) -> ModuleType:
    """Import a file once; later calls return the same module.

    Modules beside the file can be imported while it is loaded, after all others.

    Raises:
        InputError: there is no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise InputError(f"{path}: the file does not exist; correct the path")
    where, path = path, path.resolve()
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
    name = f"raytune_yesno_user_{path.stem}_{digest[:8]}"
    if name not in sys.modules:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise InputError(f"{where}: cannot be read ({reason})") from None
        _finder.sources[name] = Source(str(path), text)
        sys.path.append(str(path.parent))
        try:
            return import_own(name, str(where))
        finally:
            sys.path.remove(str(path.parent))
    return sys.modules[name]


def import_own(name: str, where: str) -> ModuleType:
    """Import a module of the user's.

    Raises:
        InputError: it raises an exception, with the line that did.
    """
    try:
        return importlib.import_module(name)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: it cannot be imported: {describe_error(error)[0]}") from error


def gather_sources(module: ModuleType) -> dict[str, Source]:
    """Return the sources of a module, and of what it has imported from its folder or package."""
    file = getattr(module, "__file__", None)
    if not file or not is_own(file):
        return {}
    folder = str(Path(file).resolve().parent) + os.sep
    package = module.__name__.partition(".")[0]

    def belongs(name: str, path: str) -> bool:
        if name == module.__name__ or name.partition(".")[0] == package:
            return True
        return os.path.realpath(path).startswith(folder) and is_own(path)

    return {
        name: source
        for name, found in list(sys.modules.items())
        if (path := getattr(found, "__file__", None))
        and name != "__main__"
        and belongs(name, path)
        and (source := _read_module(name, path))
    }


def _read_module(name: str, path: str) -> Source | None:
    if name in _finder.sources:
        return _finder.sources[name]
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):  # an extension module
        return None
    return Source(path, text, is_package=Path(path).name == "__init__.py")


def is_function(value: Any) -> bool:
    """Return whether a value is called as a function: anything callable but a class."""
    return callable(value) and not inspect.isclass(value)


def find_parameters(function: Callable[..., Any]) -> list[str] | None:
    """Return the names of a function's parameters; None if it has no signature."""
    try:
        return list(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return None
