"""Import the user's modules: from files on the driver, from their text on workers.

A module keeps the text that the driver read: an edit while a study runs has no effect on it.
Tracebacks show its lines even if the file is on another node.
"""

import hashlib
import importlib
import importlib.abc
import importlib.util
import linecache
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.user_code.errors import describe_error


@dataclass(frozen=True)
class Source:
    """The source of a module as the driver read it."""

    path: str
    text: str
    is_package: bool = False


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
        show_in_tracebacks(source.path, source.text)
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


def install(sources: Mapping[str, Source]) -> Mapping[str, Source]:
    """Let modules that another process has sent be imported here; return their sources."""
    for name, source in sources.items():
        if name not in sys.modules:  # as in the driver, whose modules may be reloaded
            _finder.sources[name] = source
    return sources


def show_in_tracebacks(file: str, text: str) -> None:
    """Let tracebacks show a text as that of a file, even if there is no such file."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


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


def read_module(name: str, path: str) -> Source | None:
    """Return the source of an imported module, or None if it has no text."""
    if name in _finder.sources:
        return _finder.sources[name]
    try:
        text = importlib.util.decode_source(Path(path).read_bytes())
    except (OSError, ValueError, SyntaxError):  # an extension module
        return None
    return Source(path, text, is_package=Path(path).name == "__init__.py")
