"""Pack the user's code, to be sent to workers that may not have its files.

Files that the named one imports from its own folder (or package) are sent with it. Installed
packages are not sent.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from raytune_yesno.user_code.importing import Source, install, read_module, show_in_tracebacks
from raytune_yesno.user_code.ownership import is_own, resolve
from raytune_yesno.user_code.references import read_cells, read_sources


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
        show_in_tracebacks(cell, text)
    return Code(name, module, sources, value)


class _Installed(dict[str, Source]):
    """Sources that can be imported in the process that unpickles them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return install, (dict(self),)


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
        and (source := read_module(name, path))
    }


def gather_beside(value: Any) -> dict[str, Source]:
    """Return the sources of the modules that an object given in Python may refer to."""
    found: dict[str, Source] = {}
    for part in value if isinstance(value, tuple) else (value,):
        named = part.func if isinstance(part, partial) else part
        module = sys.modules.get(getattr(named, "__module__", None) or "")
        found |= gather_sources(module) if module else {}
    return found
