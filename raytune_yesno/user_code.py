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
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from raytune_yesno.errors import (
    EveryTrialFails,
    InputError,
    TaskFailed,
    UnfinishedError,
    find_interruption,
    one_line,
)
from raytune_yesno.own_code import is_own, read_cells, read_sources, resolve

ONE_TRIAL, EVERY_TRIAL, NEW_STUDY = "", "every trial", "new study"
"""The scopes of an error: it fails its own trial; it ends the study; it ends a study in which no
epoch was trained, and later fails its own trial."""


class TaskError(Exception):
    """An error in a task: raised by the user's code, or in what it reported.

    It is not retried, unlike the loss of a process.

    Attributes:
        line: what is wrong, in one line.
        lines: the lines of the traceback that lie in the user's own code.
        scope: which trials would fail in the same way, one of :data:`ONE_TRIAL`,
            :data:`NEW_STUDY` and :data:`EVERY_TRIAL`.
        is_input: whether it was an InputError, which says what to do.
    """

    def __init__(
        self, line: str, lines: str = "", scope: str = "", *, is_input: bool = False
    ) -> None:
        super().__init__(line, lines, scope)
        self.line, self.lines, self.scope, self.is_input = line, lines, scope, is_input

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
    except (TaskError, UnfinishedError, StopIteration):
        raise
    except InputError as error:
        scope = NEW_STUDY if isinstance(error, EveryTrialFails) else ONE_TRIAL
        raise TaskError(str(error), "", scope, is_input=True) from error
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also SystemExit, and the panics of compiled libraries
        if passed(error):
            raise
        raise TaskError(*describe_error(error)) from error


@contextmanager
def stopped_by_errors(what: str) -> Iterator[None]:
    """Let an error of the user's code stop the work of this process.

    Args:
        what: what has failed, for the message.

    Raises:
        InputError: the code raised one.
        TaskFailed: it raised another error; the message has its own lines of the traceback.
    """
    try:
        with report_errors(lambda error: find_interruption(error) is not None):
            yield
    except TaskError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise unfinished(what, error) from error


def unfinished(what: str, error: TaskError) -> TaskFailed | InputError:
    """Return the error that stops the work, with the user's own lines of the traceback.

    It is an InputError again if it was one: in a worker as in this process.
    """
    if error.is_input:
        return InputError(*map(str.strip, error.line.splitlines()))
    return TaskFailed(f"{what}: {error.line}", *error.lines.splitlines())


def describe_error(error: BaseException) -> tuple[str, str]:
    """Return an error as one line, and the lines of its traceback in the user's own code.

    The line ends with the error that caused it: the first one of a chain, or of a group.
    """
    if isinstance(error.__cause__, StopIteration):  # Python replaces it in a generator
        error = error.__cause__
    chain = [error]
    while (cause := _find_cause(chain[-1])) and not any(cause is each for each in chain):
        chain.append(cause)
    line = ", caused by ".join(map(_describe_alone, (error, *chain[1:][-1:])))
    return line, "".join(traceback.format_list(_own_frames(error.__traceback__)))


def _find_cause(error: BaseException) -> BaseException | None:
    group = getattr(error, "exceptions", None)  # of an ExceptionGroup, from Python 3.11 on
    first = group[0] if isinstance(group, tuple) and group else None
    return first if isinstance(first, BaseException) else error.__cause__


def _describe_alone(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    try:
        said = one_line(str(error).strip().partition("\n")[0])
    except Exception:  # of a method of the user's
        said = ""
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    frames = _own_frames(error.__traceback__)
    return f"{line} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else line


def _own_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(trace) if is_own(frame.filename)]


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
        """Digest of the sources; it does not depend on where they are.

        Of an object that was given in Python, it is of the user's own code that the object uses.
        """
        texts = [source.text for _, source in sorted(self.sources.items())]
        if self.value is not None:
            seen: set[int] = set()
            texts = [text for part in self._parts for text in read_sources(part, seen)]
        return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def _parts(self) -> tuple[Any, ...]:
        """The object that was given in Python, or the parts of it."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def __reduce__(self) -> tuple[Any, ...]:
        cells = {name: text for part in self._parts for name, text in read_cells(part).items()}
        # Sources are unpickled, and installed, before the value, which may refer to them.
        return _receive, (self.name, self.module, _Installed(self.sources), self.value, cells)


def _receive(
    name: str, module: str, sources: Mapping[str, Source], value: Any, cells: Mapping[str, str]
) -> Code:
    """Return code from another process; tracebacks of this one show its notebook cells."""
    for cell, text in cells.items():
        _show_in_tracebacks(cell, text)
    return Code(name, module, sources, value)


def _show_in_tracebacks(file: str, text: str) -> None:
    """Let tracebacks show a text as that of a file, even if there is no such file."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


class _Installed(dict[str, Source]):
    """Sources that can be imported in the process that unpickles them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _install, (dict(self),)


def _install(sources: Mapping[str, Source]) -> Mapping[str, Source]:
    for name, source in sources.items():
        if name not in sys.modules:  # as in the driver, whose modules may be reloaded
            _finder.sources[name] = source
    return sources


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
        # Tracebacks show this text, even if the file has been edited since, or is on another node.
        _show_in_tracebacks(source.path, source.text)
        return compile(source.text, source.path, "exec", dont_inherit=True)


class _Namespaces(importlib.abc.MetaPathFinder):
    """Finds packages without a file of their own, after all others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if any(name.startswith(f"{fullname}.") for name in _finder.sources):
            return ModuleSpec(fullname, None, is_package=True)
        return None


_finder = _Finder()
sys.meta_path.insert(0, _finder)
sys.meta_path.append(_Namespaces())


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
            text = importlib.util.decode_source(path.read_bytes())
        except (OSError, ValueError, SyntaxError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise InputError(f"{where}: cannot be read ({reason})") from None
        _finder.sources[name] = Source(str(path), text)
        sys.path.append(str(path.parent))
        try:
            return import_own(name, str(where))
        except InputError as error:
            cause = error.__cause__
            if isinstance(cause, ImportError) and "relative import" in str(cause):
                raise InputError(
                    f"{where}: it is part of a package; {_name_module(path)}"
                ) from None
            raise
        finally:
            sys.path.remove(str(path.parent))
    return sys.modules[name]


def _name_module(path: Path) -> str:
    """Return how to name a file of a package as a module."""
    root = path.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    root = root.parent if root == path.parent else root
    module = ".".join(path.relative_to(root).with_suffix("").parts)
    return f"name it as {module}:NAME, with {root} in PYTHONPATH"


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
    """Return the sources of a module, and of what it has imported from its folder or package.

    A program that Python runs is left out, and so is a prompt: they cannot be imported.
    """
    is_program = module.__name__ == "__main__"
    file = getattr(module, "__file__", None) or (os.path.join(os.getcwd(), "-") * is_program)
    if not file or not is_own(file):
        return {}
    folder = os.path.dirname(resolve(file)) + os.sep
    package = module.__name__.partition(".")[0]

    def belongs(name: str, path: str) -> bool:
        if name == module.__name__ or name.partition(".")[0] == package:
            return True
        return resolve(path).startswith(folder) and is_own(path)

    return {
        name: source
        for name, each in list(sys.modules.items())
        if (path := getattr(each, "__file__", None))
        and name not in ("__main__", "__mp_main__")
        and belongs(name, path)
        and (source := _read_module(name, path))
    }


def gather_beside(value: Any) -> dict[str, Source]:
    """Return the sources of the modules that an object given in Python may refer to."""
    found: dict[str, Source] = {}
    for part in value if isinstance(value, tuple) else (value,):
        named = part.func if isinstance(part, partial) else part
        module = sys.modules.get(getattr(named, "__module__", None) or "")
        found |= gather_sources(module) if module else {}
    return found


def _read_module(name: str, path: str) -> Source | None:
    if name in _finder.sources:
        return _finder.sources[name]
    try:
        text = importlib.util.decode_source(Path(path).read_bytes())
    except (OSError, ValueError, SyntaxError):  # an extension module
        return None
    return Source(path, text, is_package=Path(path).name == "__init__.py")


def is_function(value: Any) -> bool:
    """Return whether a value is called as a function: anything callable but a class."""
    return callable(value) and not inspect.isclass(value)


@dataclass(frozen=True)
class Call:
    """How a function takes its config and its state.

    Attributes:
        names: the names of the parameters that it takes by position.
        takes_state: whether it takes a state: by position, or by the name ``checkpoint``.
        needs_state: whether it is called with None if there is no state.
    """

    names: tuple[str, ...] = ()
    takes_state: bool = True
    needs_state: bool = False

    def bind(self, function: Callable[..., Any], config: Any, state: Any) -> Callable[[], Any]:
        """Return the call of a function."""
        if not self.takes_state or (state is None and not self.needs_state):
            return partial(function, config)
        if len(self.names) > 1:
            return partial(function, config, state)
        return partial(function, config, **{_STATE: state})


_STATE = "checkpoint"


def read_call(function: Callable[..., Any]) -> Call:
    """Return how a function takes a config and a state.

    Raises:
        InputError: it takes no config, or it requires more than a config and a state.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # compiled
        return Call(("config", _STATE))
    empty, many = inspect.Parameter.empty, inspect.Parameter.VAR_POSITIONAL
    taken = [each for each in parameters if each.kind <= many]  # by position
    if not taken:
        raise InputError("the function takes no config; write def f(config): …")
    if taken[0].kind is many:
        taken = [taken[0], taken[0]]
    elif len(taken) > 1 and not any(taken[1].default is each for each in (empty, None)):
        taken = taken[:1]
    for each in parameters:
        required = each.default is empty and each.kind not in (many, each.VAR_KEYWORD)
        if required and each not in taken[:2] and each.name != _STATE:
            raise InputError(
                f"the function requires {each.name!r}, but gets a config and a checkpoint; bind it "
                f"with functools.partial(f, {each.name}=…)"
            )
    by_name = next((each for each in parameters if each.name == _STATE), None)
    state = taken[1] if len(taken) > 1 else by_name
    needs_state = state is not None and state.kind is not many and state.default is empty
    return Call(tuple(each.name for each in taken[:2]), state is not None, needs_state)
