"""A search space as a tree of parameters, and its dimensions."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from raytune_yesno.errors import InputError
from raytune_yesno.space.choice import Choice, Domain, List, Node, build_node
from raytune_yesno.space.constraints import Constraint, check_names
from raytune_yesno.space.numeric import Int

Point: TypeAlias = dict[str, Any]
"""Sampled values by name, as native Python types, of the parameters that are active."""

Space: TypeAlias = Mapping[str, Node]
"""A search space: a domain by name; :class:`Tree` adds constraints and dimensions."""

CONSTRAINTS = "constraints"
"""The key of a space whose value, if it is a text or a list of texts, holds constraints."""

INACTIVE = 0.5
"""The coordinate of a dimension that is not active."""


class Activation(NamedTuple):
    """When a dimension is active.

    Attributes:
        parent: the index of the dimension that decides.
        cells: the indices of the parent's values under which the dimension is active.
    """

    parent: int
    cells: frozenset[int]


@dataclass(frozen=True)
class Dimension:
    """One dimension of a space: a parameter, or the length or an element of a list.

    Attributes:
        key: a name that no other dimension of the space has: that of the parameter or, if several
            options have a parameter of that name, for instance ``optimizer=sgd.momentum``.
        name: the name of the parameter, by which a point has its value.
        domain: the values.
        condition: when it is active; None for always.
        element: None for a parameter, -1 for the length of a list, else an index of the list.
    """

    key: str
    name: str
    domain: Domain
    condition: Activation | None = None
    element: int | None = None

    def read(self, point: Mapping[str, Any]) -> Any:
        """Return the value of the dimension in a point.

        Raises:
            LookupError: the point has no such value.
        """
        value = point[self.name]
        if self.element is None:
            return value
        return len(value) if self.element < 0 else value[self.element]


class Tree(dict[str, Node]):
    """A search space as built or parsed: a domain by name, and constraints between the values.

    The parameters of an option are in its :class:`Choice`. The searches see the dimensions.

    Args:
        nodes: the domains by name.
        constraints: conditions that each point satisfies.

    Raises:
        InputError: two parameters that can be active at the same time have the same name, or a
            constraint names something else.
    """

    def __init__(
        self, nodes: Mapping[str, Node] | None = None, constraints: Sequence[Constraint] = ()
    ) -> None:
        super().__init__(nodes or {})
        self.constraints = tuple(constraints)
        _check_unique(self)
        for constraint in self.constraints:
            check_names(constraint, self.names)

    def __eq__(self, other: object) -> bool:
        """Return whether domains and constraints are equal."""
        return dict.__eq__(self, other) is True and self.constraints == getattr(
            other, "constraints", ()
        )

    def __ne__(self, other: object) -> bool:
        """Return whether domains or constraints differ."""
        return not self == other

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Tree, (dict(self), self.constraints)

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All dimensions; one that decides on others precedes them."""
        names = [name for name, _, _ in walk(self)]
        found: list[Dimension] = []
        _list_dimensions(self, "", None, {n for n in names if names.count(n) > 1}, found)
        keys: set[str] = set()
        for index, dim in enumerate(found):  # options 1 and "1" have one text
            key = dim.key
            while key in keys:
                key += "'"
            keys.add(key)
            found[index] = replace(dim, key=key)
        return tuple(found)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all parameters, those of options included."""
        return frozenset(name for name, _, _ in walk(self))

    @property
    def has_conditions(self) -> bool:
        """Whether some dimensions are not always active."""
        return any(dim.condition for dim in self.dimensions)

    def satisfies(self, point: Mapping[str, Any]) -> bool:
        """Return whether a point satisfies all constraints."""
        return all(constraint.holds(point) for constraint in self.constraints)

    def restrict(self, names: Collection[str]) -> "Tree":
        """Return the space of some of the parameters, and of the choices that they belong to.

        All constraints remain: they are for points that have the other values too.
        """
        space = Tree(_restrict(self, names))
        space.constraints = self.constraints
        return space

    def select(self, values: Mapping[str, Any]) -> Point:
        """Return the values of the parameters that are active under ``values``.

        Raises:
            KeyError: an active parameter has no value.
        """
        return dict(_select(self, values))


def as_tree(space: Space) -> Tree:
    """Return a mapping of domains as a :class:`Tree`."""
    return space if isinstance(space, Tree) else Tree(space)


def build_space(domains: Mapping[str, Any]) -> Tree:
    """Return a space; a value that is not a domain becomes a choice of that one value.

    Args:
        domains: domains by name. A text or a list of texts by the name ``constraints`` holds
            constraints. A :class:`Tree` is copied.

    Raises:
        InputError: the mapping is empty, a name is not text, or a value cannot be an option.
    """
    if isinstance(domains, Tree) and domains:
        space = Tree(domains)  # a copy: whoever has the other may change it
        space.constraints = domains.constraints
        return space
    if not isinstance(domains, Mapping):
        raise InputError(f"the search space is {domains!r:.60}; give a dict of domains by name")
    nodes: dict[str, Node] = {}
    constraints: list[Constraint] = []
    for name, value in domains.items():
        if not isinstance(name, str):
            raise InputError(f"search space: the name {name!r} is not text; quote it")
        with prefix_errors(name):
            if holds_constraints(name, value):
                texts = [value] if isinstance(value, str) else value or ()
                constraints = [Constraint(each) for each in texts]
            else:
                nodes[name] = build_node(value)
    if not nodes:
        raise InputError("the search space is empty; give at least one name")
    with prefix_errors():
        return Tree(nodes, constraints)


def holds_constraints(name: object, value: object) -> bool:
    """Return whether an entry of a space holds constraints; None, an empty entry, holds none."""
    return name == CONSTRAINTS and (value is None or isinstance(value, list | tuple | str))


def walk(
    nodes: Mapping[str, Node], context: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, Node, dict[str, Any]]]:
    """Yield each parameter: its name, its domain and the options under which it is active."""
    context = dict(context or {})
    for name, node in nodes.items():
        yield name, node, context
        if isinstance(node, Choice):
            for option, branch in zip(node.options, node.branches, strict=False):
                yield from walk(branch, {**context, name: option})


def encode_point(space: Space, point: Mapping[str, Any]) -> list[float]:
    """Return the position of a point in the unit cube, with one coordinate per dimension.

    The coordinate of a dimension that is not active is 0.5, whatever the point contains.
    """
    position: list[float] = []
    cells: list[int] = []  # of each dimension, the index of its value; -1 if it is not active
    for dim in as_tree(space).dimensions:
        active = dim.condition is None or cells[dim.condition.parent] in dim.condition.cells
        value = dim.domain.decode(0.5) if not active else dim.read(point)
        cells.append(find_cell(dim.domain, value) if active else -1)
        position.append(dim.domain.encode(value) if active else INACTIVE)
    return position


def decode_point(space: Space, position: Sequence[float]) -> Point:
    """Return the point at a position of the unit cube, with one coordinate per dimension."""
    keys = (dim.key for dim in as_tree(space).dimensions)
    coordinates = dict(zip(keys, position, strict=True))
    return build_point(space, lambda dim: dim.domain.decode(float(coordinates[dim.key])))


def build_point(space: Space, choose: Callable[[Dimension], Any]) -> Point:
    """Return the point whose active dimensions have the values that ``choose`` returns."""
    point: Point = {}
    cells: list[int] = []
    for dim in as_tree(space).dimensions:
        if dim.condition and cells[dim.condition.parent] not in dim.condition.cells:
            cells.append(-1)
            continue
        value = choose(dim)
        cells.append(find_cell(dim.domain, value))
        if dim.element is None:
            point[dim.name] = value
        else:
            point[dim.name] = () if dim.element < 0 else (*point[dim.name], value)
    return point


def find_cell(domain: Domain, value: Any) -> int:
    """Return the index of the value of a dimension that decides on others; else 0."""
    if isinstance(domain, Choice):
        return domain.find(value) if domain.branches else 0
    return value - domain.low if isinstance(domain, Int) else 0


@contextmanager
def prefix_errors(name: object = "") -> Iterator[None]:
    """Put a name of the space before the message of an InputError."""
    try:
        yield
    except InputError as error:
        where = f"search space: {name}: " if name else "search space: "
        raise InputError(f"{where}{str(error).removeprefix('search space: ')}") from error


def _list_dimensions(
    nodes: Mapping[str, Node],
    prefix: str,
    condition: Activation | None,
    repeated: set[str],
    found: list[Dimension],
) -> None:
    for name, node in nodes.items():
        key = f"{prefix}{name}" if name in repeated else name
        index = len(found)
        if isinstance(node, List):
            length = node.length
            found.append(Dimension(f"{key}.length", name, length, condition, -1))
            for element in range(node.high):
                cells = frozenset(range(max(element + 1 - node.low, 0), node.high - node.low + 1))
                when = condition if element < node.low else Activation(index, cells)
                found.append(Dimension(f"{key}[{element}]", name, node.element, when, element))
            continue
        found.append(Dimension(key, name, node, condition))
        if isinstance(node, Choice):
            for option, branch in enumerate(node.branches):
                single = len(node.options) == 1
                when = condition if single else Activation(index, frozenset((option,)))
                inner = f"{prefix}{name}={node.options[option]}."
                _list_dimensions(branch, inner, when, repeated, found)


def _restrict(nodes: Mapping[str, Node], names: Collection[str]) -> dict[str, Node]:
    kept: dict[str, Node] = {}
    for name, node in nodes.items():
        branches = [_restrict(b, names) for b in getattr(node, "branches", ())]
        if isinstance(node, Choice) and any(branches):
            kept[name] = Choice.from_options(node.options, branches)
        elif name in names:
            kept[name] = node
    return kept


def _select(nodes: Mapping[str, Node], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, node in nodes.items():
        yield name, values[name]
        if isinstance(node, Choice) and node.branches and node.contains(values[name]):
            yield from _select(node.branches[node.find(values[name])], values)


def _check_unique(nodes: Mapping[str, Node], taken: frozenset[str] = frozenset()) -> frozenset[str]:
    """Check that no two parameters that may both be active have one name; return all names."""
    found = set(taken)
    for name in nodes:
        if name in found:
            raise InputError(
                f"{name!r} names two parameters that are active at the same time; rename one"
            )
        found.add(name)
    for node in nodes.values():
        if isinstance(node, Choice):
            below = [_check_unique(branch, frozenset(found)) for branch in node.branches]
            found.update(*below)
    return frozenset(found)
