"""The source of an object that is given in Python, and of what it refers to.

A function or class may come from a notebook, a prompt or a closure. Its text, and that of the
user's functions, classes and modules that it refers to by name, identify the code of a study.
"""

import inspect
import linecache
import os
from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from raytune_yesno.user_code.ownership import is_own_object


def read_sources(value: Any, seen: set[int] | None = None) -> Iterator[str]:
    """Yield the source of an object, and of all functions and classes of the user's that it uses.

    Args:
        value: a function, a class, a module, or an instance of a class.
        seen: the ids of those that have been yielded.
    """
    for each in find_used(value, set() if seen is None else seen):
        try:
            yield inspect.getsource(each)
        except (OSError, TypeError):  # typed at a prompt
            yield from (repr(_describe(function.__code__)) for function in _list_functions(each))


def read_cells(value: Any) -> dict[str, str]:
    """Return the notebook cells that define an object and what it uses, by their names.

    A cell has the name of a file that does not exist. Tracebacks show its lines only in a process
    that knows them.
    """
    names = {
        function.__code__.co_filename
        for each in find_used(value, set())
        for function in _list_functions(each)
    }
    texts = {name: "".join(linecache.getlines(name)) for name in names if not os.path.exists(name)}
    return {name: text for name, text in texts.items() if text}


def find_used(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield an object, and all functions, classes and modules of the user's that it uses.

    Args:
        value: see :func:`read_sources`.
        seen: the ids of those that have been yielded.
    """
    if value is None:
        return
    if isinstance(value, partial):
        value = value.func
    if isinstance(value, MethodType):
        value = value.__func__
    value = inspect.unwrap(value)  # of a decorator
    if not isinstance(value, ModuleType | type) and not hasattr(value, "__code__"):
        value = type(value)
    if id(value) in seen or not is_own_object(value):
        return
    seen.add(id(value))
    yield value
    used = [each for function in _list_functions(value) for each in _find_named(function)]
    for each in [*used, *(value.__bases__ if isinstance(value, type) else ())]:
        yield from find_used(each, seen)


def _list_functions(value: Any) -> list[Any]:
    """Return a function, or the methods of a class; of a module nothing."""
    if not isinstance(value, type):
        return [] if isinstance(value, ModuleType) else [value]
    members = (
        member.__func__ if isinstance(member, staticmethod | classmethod) else member
        for member in vars(value).values()
    )
    return [member for member in members if isinstance(member, FunctionType)]


def _find_named(function: Any) -> Iterator[Any]:
    """Yield the functions, classes and modules that a function refers to by name."""
    names = {name for code in _list_code(function.__code__) for name in code.co_names}
    found = [value for name, value in sorted(function.__globals__.items()) if name in names]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # it has no value yet
            continue
    for value in found:
        if isinstance(value, ModuleType | type | partial | FunctionType | MethodType):
            yield value


def _list_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _list_code(constant)


def _describe(code: CodeType) -> tuple[Any, ...]:
    """Return what a code does, equal in every process."""
    constants = [
        _describe(constant) if isinstance(constant, CodeType) else repr(constant)
        for constant in code.co_consts
    ]
    return code.co_code.hex(), constants, code.co_names
