"""Which code is the user's own: neither this package's, nor installed, nor Python's."""

import inspect
import os
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent
_PACKAGES = {"site-packages", "dist-packages"}
_INSTALLED = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")
)


@cache
def resolve(filename: str) -> str:
    """Return the path of a file without symbolic links."""
    return os.path.realpath(filename)


def is_own(filename: str) -> bool:
    """Return whether a source file is the user's: neither ours, nor installed, nor Python's."""
    if filename.startswith("<") and not filename.startswith("<ipython"):
        return False
    path = resolve(filename)
    if _PACKAGES & set(Path(path).parts):
        return False
    return not path.startswith((*_INSTALLED, str(_PACKAGE) + os.sep))


def is_own_object(value: Any) -> bool:
    """Return whether a function, a class or a module is the user's, see :func:`is_own`."""
    code = getattr(value, "__code__", None)
    if code:
        return is_own(code.co_filename) or code.co_filename.startswith("<")
    if isinstance(value, ModuleType):
        return is_own(getattr(value, "__file__", None) or "<built in>")
    try:
        return is_own(inspect.getfile(value))
    except (TypeError, OSError):  # of a prompt or built in
        return bool(value.__module__ == "__main__")
