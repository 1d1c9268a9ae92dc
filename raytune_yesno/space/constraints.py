"""Constraints between parameters, such as ``low <= high`` or ``product(channels) <= 4096``.

An expression is parsed with :mod:`ast`, and only the kinds of nodes listed here are evaluated. A
study's record may be a stranger's: nothing in it is executed.
"""

import ast
import math
import operator
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.space.numeric import is_number

_MAX_TEXT = 500
_NO_VALUE = (ZeroDivisionError, OverflowError, ValueError)

_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda a, b: math.pow(a, b),  # floats: a power of large integers would never end
}
_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,  # codespell:ignore notin
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "len": len,
    "max": max,
    "min": min,
    "product": math.prod,
    "sum": sum,
}


@dataclass(frozen=True)
class Constraint:
    """A condition on the values of a point.

    Example:
        >>> from raytune_yesno.space.constraints import Constraint
        >>> Constraint("product(channels) <= 4096").holds({"channels": [64, 128]})
        False
        >>> Constraint("momentum < 0.9").holds({"optimizer": "adamw"})  # not active
        True

    Attributes:
        text: a comparison, or several with ``and``, ``or`` and ``not``. It may contain names of
            the space, numbers, texts, ``+ - * / // % **``, ``in``, lists, ``channels[0]`` and the
            functions abs, len, max, min, product and sum.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or len(self.text) > _MAX_TEXT:
            raise InputError(f"constraint {self.text!r:.60}: write a text such as 'low <= high'")
        _check_node(self._tree, self.text)

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise InputError(f"constraint {self.text!r}: {error}") from None

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of parameters in it."""
        return frozenset(
            node.id
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Name) and node.id not in _FUNCTIONS
        )

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Return whether a point satisfies it, or lacks one of its names.

        Raises:
            InputError: the values have types that the expression does not fit.
        """
        if any(name not in point for name in self.names):  # perhaps written otherwise
            point = {_normalize(name): value for name, value in point.items()}
        if any(name not in point for name in self.names):
            return True
        try:
            return bool(_evaluate(self._tree, point))
        except IndexError:
            return True  # an element that a shorter list lacks, as a parameter that is not active
        except _NO_VALUE:
            return False  # it has no value there
        except TypeError as error:
            raise InputError(f"constraint {self.text!r}: {error}") from None


def check_names(constraint: Constraint, names: frozenset[str]) -> None:
    """Check that a constraint has names, and that a space has all of them.

    Raises:
        InputError: it has none, or the space lacks one.
    """
    if not constraint.names:
        raise InputError(f"constraint {constraint.text!r}: it names no parameter of the space")
    for name in sorted(constraint.names - {*map(_normalize, names)}):
        raise InputError(
            f"constraint {constraint.text!r}: {name!r} is not in the search space; "
            f"{suggest_name(name, sorted(names))}"
        )


def _normalize(name: str) -> str:
    """Return a name as :mod:`ast` does: it has one form of letters such as the micro sign."""
    return unicodedata.normalize("NFKC", name)


def _check_node(node: ast.AST, text: str) -> None:
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        if not named or node.keywords:
            raise InputError(
                f"constraint {text!r}: unknown function; choose from {', '.join(_FUNCTIONS)}"
            )
        parts: list[ast.AST] = list(node.args)
    elif isinstance(node, ast.Constant):
        if not (isinstance(node.value, str | bool) or node.value is None or is_number(node.value)):
            raise InputError(f"constraint {text!r}: {node.value!r} is not a number or a text")
        return
    elif isinstance(node, ast.Name):
        if node.id in _FUNCTIONS:
            raise InputError(f"constraint {text!r}: {node.id} is a function; write {node.id}(…)")
        return
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        parts = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not):
        parts = [node.operand]
    elif isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.BoolOp):
        parts = list(node.values)
    elif isinstance(node, ast.List | ast.Tuple):
        parts = list(node.elts)
    elif isinstance(node, ast.Subscript):
        parts = [node.value, node.slice]
    else:
        raise InputError(
            f"constraint {text!r}: {type(node).__name__} is not supported; use comparisons, "
            f"arithmetic, and, or, not, in, and {', '.join(_FUNCTIONS)}"
        )
    for part in parts:
        _check_node(part, text)


def _evaluate(node: ast.AST, point: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _freeze(point[node.id])
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _FUNCTIONS[node.func.id](*(_evaluate(each, point) for each in node.args))
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, point), _evaluate(node.right, point)
        if not (is_number(left) and is_number(right)):
            raise TypeError("arithmetic is for numbers")
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        value = _evaluate(node.operand, point)
        if isinstance(node.op, ast.Not):
            return not value
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BoolOp):
        return _combine(isinstance(node.op, ast.Or), node.values, point)
    if isinstance(node, ast.Compare):
        left = _evaluate(node.left, point)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = _evaluate(comparator, point)
            if not _COMPARISONS[type(op)](left, right):
                return False
            left = right
        return True
    if isinstance(node, ast.Subscript):
        return _evaluate(node.value, point)[_evaluate(node.slice, point)]
    assert isinstance(node, ast.List | ast.Tuple)
    return tuple(_evaluate(each, point) for each in node.elts)


def _combine(decisive: bool, nodes: Sequence[ast.expr], point: Mapping[str, Any]) -> bool:
    """Return ``or`` (True decides) or ``and`` (False decides) of conditions.

    A condition without a value does not decide while another does, in whatever order they stand.
    """
    errors: list[Exception] = []
    for node in nodes:
        try:
            if bool(_evaluate(node, point)) is decisive:
                return decisive
        except (IndexError, *_NO_VALUE) as error:
            errors.append(error)
    if errors:
        raise min(errors, key=lambda error: isinstance(error, IndexError))
    return not decisive


def _freeze(value: Any) -> Any:
    """Return a value with tuples in place of lists: the same list is a tuple in some points."""
    return tuple(map(_freeze, value)) if isinstance(value, list | tuple) else value
