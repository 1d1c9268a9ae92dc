"""Points of a search space: checked, read from text, expressed in another space, completed."""

from collections.abc import Iterable, Mapping
from typing import Any

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.numerals import read_if_number
from raytune_yesno.space.choice import Choice, List, Node, freeze, same, thaw
from raytune_yesno.space.numeric import Float, Int, is_number
from raytune_yesno.space.text_form import format_node
from raytune_yesno.space.tree import Dimension, Point, Space, as_tree, build_point, walk
from raytune_yesno.values import split_list


def check_point(space: Space, point: Mapping[str, Any], *, partial: bool = False) -> None:
    """Check that a point lies inside a space.

    Args:
        space: the space.
        point: the point.
        partial: whether the point may lack some of the names.

    Raises:
        InputError: a name is unknown or missing, or belongs to an option that the point does not
            have, a value lies outside its domain, or a constraint is violated.
    """
    tree = as_tree(space)
    for name in point:
        if name not in tree.names:
            known = sorted(tree.names) if tree.has_conditions else list(tree)
            raise InputError(f"{name!r} is not in the search space; {suggest_name(name, known)}")
    checked: set[str] = set()
    missing: list[str] = []
    unresolved = _check_nodes(tree, point, checked, missing)
    for name, value in point.items():
        if name in checked:
            continue
        uses = [(node, context) for known, node, context in walk(tree) if known == name]
        if unresolved and any(context.keys() & unresolved for _, context in uses):
            if not any(node.contains(value) for node, _ in uses):
                raise InputError(f"{name}: {value!r} lies outside {format_node(uses[0][0])}")
            continue
        options = _describe(context for _, context in uses)
        raise InputError(f"{name}: it belongs to {options}, which the point does not have; omit it")
    if missing and not partial:
        raise InputError(f"the point lacks a value for {', '.join(missing)}")
    for constraint in tree.constraints:
        if not constraint.holds(point):
            values = ", ".join(f"{name}={point[name]!r}" for name in sorted(constraint.names))
            raise InputError(f"{values} violates the constraint {constraint.text!r}")


def _check_nodes(
    nodes: Mapping[str, Node], point: Mapping[str, Any], checked: set[str], missing: list[str]
) -> set[str]:
    """Check the values of active parameters; return the choices that the point lacks."""
    unresolved: set[str] = set()
    for name, node in nodes.items():
        if name not in point:
            missing.append(name)
            unresolved.add(name)
            continue
        if not node.contains(point[name]):
            raise InputError(f"{name}: {point[name]!r} lies outside {format_node(node)}")
        checked.add(name)
        if isinstance(node, Choice) and node.branches:
            branch = node.branches[node.find(point[name])]
            unresolved |= _check_nodes(branch, point, checked, missing)
    return unresolved


def express_point(space: Space, point: Mapping[str, Any], config: Mapping[str, Any]) -> Point:
    """Return a point of another space as a point of this one.

    Args:
        space: the space.
        point: values that were searched. Names that this space lacks, or that are not active in
            it, are dropped.
        config: the settings that the point overrode, for names that were not searched then.

    Raises:
        InputError: a value is unknown, or lies outside its domain.
    """
    known = {**config, **point}
    tree = as_tree(space)
    expressed: Point = {}
    _express(tree, known, expressed)
    check_point(tree, expressed)
    return expressed


def _express(nodes: Mapping[str, Node], known: Mapping[str, Any], found: Point) -> None:
    for name, node in nodes.items():
        if name in known:
            found[name] = known[name]
            if isinstance(node, Choice) and node.branches and node.contains(known[name]):
                _express(node.branches[node.find(known[name])], known, found)


def complete_point(space: Space, known: Mapping[str, Any], base: Point) -> Point:
    """Return a point with some known values, and those of another point for the rest.

    A known value of an option's parameter implies the option. A parameter that is active, but not
    in either point, has the middle of its domain.

    Args:
        space: the space.
        known: the known values; they are valid, see :func:`check_point`.
        base: a point of the space.
    """
    tree = as_tree(space)
    merged = {**base, **imply_options(tree, known)}

    def choose(dim: Dimension) -> Any:
        try:
            value = dim.read(merged)
        except (LookupError, TypeError):  # TypeError: a number where a list is meant
            return dim.domain.decode(0.5)
        # It may be of a parameter of the same name under another option.
        return value if dim.domain.contains(value) else dim.domain.decode(0.5)

    return build_point(tree, choose)


def has_options(point: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Return whether a point has all of some options, see :func:`raytune_yesno.space.walk`."""
    return all(
        name in point and same(freeze(point[name]), option) for name, option in options.items()
    )


def imply_options(space: Space, known: Mapping[str, Any]) -> Point:
    """Return some values of a point, and the options that the parameters among them belong to.

    Args:
        space: the space.
        known: the values; they are valid, see :func:`check_point`.

    Raises:
        InputError: a value fits a parameter of several options, and no other value says which.
    """
    implied = dict(known)
    nodes = list(walk(space))
    while True:
        before = len(implied)
        unclear: dict[str, list[Mapping[str, Any]]] = {}
        for name, value in known.items():
            fitting: list[Mapping[str, Any]] = [
                context
                for other, node, context in nodes
                if other == name and node.contains(value) and not _contradicts(implied, context)
            ]
            if len(fitting) == 1:
                implied = {**fitting[0], **implied}
            elif fitting:
                unclear[name] = fitting
        if len(implied) == before:
            break
    for name, contexts in unclear.items():
        raise InputError(f"{name}: it belongs to {_describe(contexts)}; also name the option")
    return {**{name: v for name, v in implied.items() if name not in known}, **known}


def _contradicts(point: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Return whether a point has another option in place of one of these."""
    return any(
        name in point and not same(freeze(point[name]), option) for name, option in options.items()
    )


def _describe(contexts: Iterable[Mapping[str, Any]]) -> str:
    """Return the options to which the parameters of one name belong."""
    return " or ".join(
        " and ".join(f"{key}={option}" for key, option in context.items()) for context in contexts
    )


def read_point(space: Space, point: Mapping[str, Any]) -> Point:
    """Convert the values of a point from a file to the types of their domains.

    Text may stand for a number, a list (``[16, 32]``), ``true``, ``false`` or ``null``. An integer
    may be given as ``32.0``, and an option as any number equal to it.
    Values that do not fit are returned unchanged; see :func:`check_point`.
    """
    nodes: dict[str, list[tuple[Node, Mapping[str, Any]]]] = {}
    for name, node, context in walk(space):
        nodes.setdefault(name, []).append((node, context))
    read: Point = dict(point)
    # Names of several parameters last: which of them is meant depends on the options.
    for name in sorted(point, key=lambda each: len(nodes.get(each, []))):
        uses = nodes.get(name, [])
        uses = [use for use in uses if not _contradicts(read, use[1])] or uses
        for node, _ in uses:
            typed = _read_value(node, point[name])
            if len(uses) == 1 or node.contains(typed):
                read[name] = typed
                break
    return read


def _read_value(node: Node, value: Any) -> Any:
    if isinstance(node, Float):
        return read_if_number(value, float)
    if isinstance(node, Int):
        return read_if_number(value, int)
    if isinstance(node, List):
        value = split_list(value) if isinstance(value, str) else value
        if not isinstance(value, list | tuple):
            return value
        return tuple(_read_value(node.element, each) for each in value)
    if node.contains(value):
        return value
    equal = [option for option in node.options if _is_meant(option, value)]
    return thaw(equal[0]) if len(equal) == 1 else value


_TYPED = {True: ("true",), False: ("false",), None: ("null", "none")}


def _is_meant(option: Any, value: Any) -> bool:
    """Return whether a value of another type stands for an option."""
    if isinstance(value, str) and (option is None or isinstance(option, bool)):
        return value.strip().lower() in _TYPED[option]
    if isinstance(option, tuple):
        if isinstance(value, str) and value.strip().startswith("["):
            value = [part.strip(" '\"") for part in split_list(value)]
        return (
            isinstance(value, list | tuple)
            and len(value) == len(option)
            and all(map(_is_meant, option, value))
        )
    if is_number(option):
        number = read_if_number(value, float)
        return is_number(number) and number == option
    return type(option) is type(value) and bool(option == value)
