"""The form of a search space in YAML files and in a study's record."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.numerals import read_if_number
from raytune_yesno.space.choice import Choice, List, Node, thaw
from raytune_yesno.space.numeric import Float, Int
from raytune_yesno.space.tree import (
    CONSTRAINTS,
    Tree,
    build_space,
    holds_constraints,
    prefix_errors,
)

FORMS = "{float: [low, high]}, {int: [low, high]} or {choice: [a, b]}"
KINDS = ("float", "int", "choice", "list")
_NUMERIC = ("log", "step", "prior", "mean", "sigma")
_KEYS = (*KINDS, *_NUMERIC, "length", "with")


def parse_space(mapping: Mapping[str, Any], *, exact: bool = False) -> Tree:
    """Parse a space in the form of a YAML file or a study's record.

    Each name has one of these values::

        learning_rate: {float: [1e-4, 1e-1], log: true}
        hidden_layers: {int: [1, 4]}
        channels: {choice: [[16, 32], [32, 64]]}
        batch_size: 4                                # fixed
        dropout: {float: [0, 0.5], step: 0.05}
        weight_decay: {float: [1e-6, 1e-1], prior: lognormal, mean: 1e-3, sigma: 1.5}
        widths: {list: {int: [8, 64], log: true}, length: [1, 3]}
        optimizer:                                   # options with parameters of their own
          choice:
            adamw:
            sgd: {momentum: {float: [0.5, 0.99]}}
        constraints:
          - product(widths) <= 4096

    A number may be given as text, since YAML 1.1 reads ``1e-4`` as text. An integer may be written
    ``32.0``.

    Args:
        mapping: the space.
        exact: whether all texts stay texts, as in what :func:`format_space` returned.

    Example:
        >>> from raytune_yesno.space import parse_space
        >>> space = parse_space({"learning_rate": {"float": [1e-4, 1e-1], "log": True}})
        >>> space["learning_rate"]
        Float(low=0.0001, high=0.1, log=True)

    Raises:
        InputError: the space is invalid; the message contains the name.
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"a search space is a mapping; give each name one of {FORMS}")
    nodes: dict[str, Any] = {}
    for name, text in mapping.items():
        if holds_constraints(name, text):
            nodes[name] = text
            continue
        with prefix_errors(name):
            nodes[name] = _parse_node(text if exact else _read_numbers(text))
    return build_space(nodes)


def format_space(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space in plain types for JSON and YAML; the inverse of :func:`parse_space`."""
    built = build_space(space)
    plain: dict[str, Any] = {name: format_node(node) for name, node in built.items()}
    if built.constraints:
        plain[CONSTRAINTS] = [constraint.text for constraint in built.constraints]
    return plain


def format_node(node: Node) -> dict[str, Any]:
    """Return a domain in plain types."""
    if isinstance(node, List):
        return {"list": format_node(node.element), "length": [node.low, node.high]}
    if isinstance(node, Choice):
        options = [thaw(option) for option in node.options]
        branches = [
            {name: format_node(child) for name, child in branch.items()} for branch in node.branches
        ]
        if not branches:
            return {"choice": options}
        if all(type(option) is str for option in node.options):
            return {"choice": dict(zip(options, branches, strict=True))}
        return {"choice": options, "with": branches}  # JSON has no other keys than texts
    kind = "float" if isinstance(node, Float) else "int"
    log = {"log": True} if node.log else {}
    return {kind: [node.low, node.high]} | log | node.extras


def _parse_node(text: Any) -> Node:
    if isinstance(text, Float | Int | Choice | List):
        return text
    if isinstance(text, Sequence) and not isinstance(text, str):
        raise InputError(f"a bare list is ambiguous; write {FORMS}")
    if not isinstance(text, Mapping):
        return Choice.from_options([text])
    for key in text:
        if key not in _KEYS:
            raise InputError(f"unknown key {key!r}; {suggest_name(str(key), _KEYS)}")
    kinds = [key for key in text if key in KINDS]
    if len(kinds) != 1:
        raise InputError(f"write one of {FORMS}")
    kind, values = kinds[0], text[kinds[0]]
    others = {key: value for key, value in text.items() if key != kind}
    if kind == "list":
        return _parse_list(values, others)
    if kind == "choice":
        return _parse_choice(values, others)
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(f"{kind} needs a list, not {values!r}")
    if len(values) != 2:
        raise InputError(f"{kind} needs [low, high], not {values!r}")
    log = others.pop("log", False)
    if not isinstance(log, bool):
        raise InputError(f"log is true or false, not {log!r}")
    _refuse(others, {*_NUMERIC}, kind)
    as_kind = float if kind == "float" else int
    low, high = (read_if_number(value, as_kind) for value in values)
    if "step" in others:
        others["step"] = read_if_number(others["step"], as_kind)
    return (Float if kind == "float" else Int)(low, high, log=log, **others)


def _parse_choice(values: Any, others: dict[str, Any]) -> Choice:
    _refuse(others, {"with"}, "choice")
    if isinstance(values, Mapping):
        _refuse(others, set(), "a choice of a mapping")
        return Choice({option: _parse_branch(option, b) for option, b in values.items()})
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(f"choice needs a list, not {values!r}")
    options = list(values)
    if any(isinstance(option, Mapping) for option in options):
        raise InputError(
            "write options with parameters as a mapping: {choice: {a: , b: {name: …}}}"
        )
    if not others:
        return Choice.from_options(options)
    branches = others["with"]
    if not isinstance(branches, Sequence) or len(branches) != len(options):
        raise InputError("with needs a list of one mapping per option")
    parsed = [_parse_branch(*pair) for pair in zip(options, branches, strict=True)]
    return Choice.from_options(options, parsed)


def _parse_branch(option: Any, branch: Any) -> dict[str, Node]:
    if branch is None:
        return {}
    if not isinstance(branch, Mapping):
        raise InputError(f"option {option!r}: give a mapping of its parameters, not {branch!r}")
    parsed = {}
    for name, text in branch.items():
        if holds_constraints(name, text):
            raise InputError("constraints belong to the whole space; move them to its top level")
        try:
            parsed[name] = _parse_node(text)
        except InputError as error:
            raise InputError(f"{option}: {name}: {error}") from None
    return parsed


def _parse_list(element: Any, others: dict[str, Any]) -> List:
    _refuse(others, {"length"}, "list")
    length = others.get("length")
    if type(length) is int:
        length = [length, length]
    if not isinstance(length, Sequence) or isinstance(length, str) or len(length) != 2:
        raise InputError("list needs length: [low, high]")
    node = _parse_node(element)
    if isinstance(node, List):
        raise InputError("a list of lists is not supported; use one list for each")
    low, high = (read_if_number(value, int) for value in length)
    return List(node, low, high)


def _refuse(others: Mapping[str, Any], allowed: set[str], kind: str) -> None:
    for key in others:
        if key not in allowed:
            raise InputError(f"{kind} has no {key}; remove it")


_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def _read_numbers(value: Any) -> Any:
    """Return a value with numbers in place of texts such as ``1e-4``; YAML 1.1 has them as text."""
    if isinstance(value, str):
        return float(value) if _EXPONENT.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {_read_numbers(key): _read_numbers(each) for key, each in value.items()}
    return [_read_numbers(each) for each in value] if isinstance(value, list | tuple) else value
