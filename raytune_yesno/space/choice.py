"""Unordered options, some with parameters of their own, and lists of parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from raytune_yesno.errors import InputError
from raytune_yesno.numerals import MAX_NUMBER, MAX_WHOLE
from raytune_yesno.space.numeric import Float, Int, check_levels

_MAX_LENGTH = 64


@dataclass(frozen=True, init=False)
class Choice:
    """Unordered options: texts, numbers, booleans, None, or tuples of these.

    A list given as an option becomes a tuple; lists and tuples are equal when a value is looked up.
    Options with parameters of their own are given as one mapping, from option to parameters. A
    point has a value for such a parameter only if it has that option.

    Example:
        >>> from raytune_yesno.space import Choice, Float
        >>> channels = Choice([16, 32], [32, 64])
        >>> channels.options
        ((16, 32), (32, 64))
        >>> channels.contains([32, 64])
        True
        >>> optimizer = Choice({"adamw": {}, "sgd": {"momentum": Float(0.5, 0.99)}})
        >>> optimizer.options
        ('adamw', 'sgd')

    Args:
        options: the options, at least one, all different; or one mapping.

    Raises:
        InputError: there are no options, two are equal, one has an unsupported type, or a list of
            several values is the only one: it was probably meant as the options.

    Attributes:
        options: the options.
        branches: the parameters of each option; empty if no option has any.
    """

    options: tuple[Any, ...]
    branches: tuple[Mapping[str, Any], ...] = ()

    def __init__(self, *options: Any) -> None:
        branches: tuple[Mapping[str, Any], ...] = ()
        if len(options) == 1 and isinstance(options[0], Mapping):
            branches = tuple(_build_branch(*item) for item in options[0].items())
            options = tuple(options[0])
        elif len(options) == 1 and isinstance(options[0], list | tuple) and len(options[0]) > 1:
            listed = ", ".join(map(repr, options[0]))
            raise InputError(
                f"Choice({options[0]!r}) has a list as its only option; write Choice({listed}), "
                f"or Choice.from_options([{options[0]!r}]) for a parameter that is always this list"
            )
        _fill(self, options, branches)

    @classmethod
    def from_options(
        cls, options: Sequence[Any], branches: Sequence[Mapping[str, Any]] = ()
    ) -> "Choice":
        """Return the choice of listed options, with the parameters of each in the same order.

        Example:
            >>> from raytune_yesno.space import Choice
            >>> Choice.from_options([[16, 32]]).options  # a single option, which is a list
            ((16, 32),)
        """
        choice = cls.__new__(cls)
        _fill(choice, options, branches)
        return choice

    def __repr__(self) -> str:
        """Return the options, and their parameters if they have any."""
        branches = f", branches={self.branches!r}" if self.branches else ""
        return f"Choice(options={self.options!r}{branches})"

    def __hash__(self) -> int:
        """Return a hash of the options; parameters are in mappings, which have none."""
        return hash(self.options)

    @property
    def num_values(self) -> float:
        """The number of options."""
        return len(self.options)

    def decode(self, u: float) -> Any:
        """Return the option whose cell contains ``u`` in [0, 1]; all cells have the same width."""
        index = math.floor(min(max(u, 0.0), 1.0) * len(self.options))
        return self.options[min(index, len(self.options) - 1)]

    def encode(self, value: Any) -> float:
        """Return the middle of an option's cell.

        Raises:
            InputError: the value is not an option.
        """
        return (self.find(value) + 0.5) / len(self.options)

    def find(self, value: Any) -> int:
        """Return the index of an option.

        Raises:
            InputError: the value is not an option.
        """
        value = freeze(value)
        for index, option in enumerate(self.options):
            if same(option, value):
                return index
        raise InputError(f"{value!r} is not among the options {list(self.options)}")

    def cell_width(self, value: Any) -> float:
        """Return the width of an option's cell."""
        return 1 / len(self.options)

    def contains(self, value: object) -> bool:
        """Return whether ``value`` is an option; 1, 1.0 and True are different options."""
        try:
            value = freeze(value)
        except InputError:
            return False
        return any(same(option, value) for option in self.options)

    def grid(self, levels: int) -> list[Any]:
        """Return all options, for any number of levels."""
        check_levels(levels)
        return list(self.options)


Domain: TypeAlias = Float | Int | Choice


@dataclass(frozen=True)
class List:
    """A list of values of one domain, whose length is a parameter too.

    Example:
        >>> from raytune_yesno.space import Int, List
        >>> channels = List(Int(8, 64, log=True), 1, 3)
        >>> channels.contains([16, 32])
        True

    Attributes:
        element: the domain of each value; a choice without parameters of its own.
        low: the smallest length, at least 0.
        high: the largest length, at most 64.

    Raises:
        InputError: the domain or a length is invalid.
    """

    element: Domain
    low: int
    high: int

    def __post_init__(self) -> None:
        for length in (self.low, self.high):
            if type(length) is not int or not 0 <= length <= _MAX_LENGTH:
                raise InputError(f"length: {length!r} is not a whole number from 0 to 64")
        if self.low > self.high:
            raise InputError(f"length: {self.low} is above {self.high}")
        if not isinstance(self.element, Float | Int | Choice):
            raise InputError(f"a list of {self.element!r}: its values are a float, int or choice")
        if isinstance(self.element, Choice) and self.element.branches:
            raise InputError("the options of a list's choice cannot have parameters of their own")

    @property
    def num_values(self) -> float:
        """The number of lists."""
        return sum(self.element.num_values**length for length in range(self.low, self.high + 1))

    @property
    def length(self) -> Int:
        """The domain of the length."""
        return Int(self.low, self.high)

    def contains(self, value: object) -> bool:
        """Return whether ``value`` is a list or tuple of a valid length with valid values."""
        if not isinstance(value, list | tuple) or not self.low <= len(value) <= self.high:
            return False
        return all(map(self.element.contains, value))


Node: TypeAlias = Float | Int | Choice | List
"""What a name of a space may stand for."""


def build_node(value: Any) -> Node:
    """Return a domain unchanged; a value that is none becomes a choice of that one value.

    Raises:
        InputError: it is a list, which may be meant as the options, or a mapping.
    """
    if isinstance(value, Float | Int | Choice | List):
        return value
    if isinstance(value, list | tuple):
        options = ", ".join(map(repr, value))
        raise InputError(
            f"a bare list is ambiguous; write Choice({options}) for one of its values, or "
            f"Choice.from_options([{list(value)!r}]) for the list itself"
        )
    if isinstance(value, Mapping):
        raise InputError(f"{value!r} is not a domain; write Float, Int, Choice or List")
    return Choice.from_options([value])


def find_extremes(node: Node) -> list[Any]:
    """Return the smallest and the largest values of a domain, or all options of a choice."""
    if not isinstance(node, List):
        return list(node.grid(2))
    ends = find_extremes(node.element)
    return [(end,) * length for length in sorted({node.low, node.high}) for end in ends]


def _fill(choice: Choice, options: Sequence[Any], branches: Sequence[Mapping[str, Any]]) -> None:
    object.__setattr__(choice, "options", tuple(freeze(option) for option in options))
    object.__setattr__(choice, "branches", tuple(branches) if any(branches) else ())
    if not options:
        raise InputError("Choice needs at least one option")
    for index, option in enumerate(choice.options):
        if any(same(option, earlier) for earlier in choice.options[:index]):
            raise InputError(f"Choice has {option!r} twice; remove one")


def _build_branch(option: Any, parameters: Any) -> dict[str, Node]:
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise InputError(f"option {option!r}: give a mapping of its parameters, not {parameters!r}")
    for name in parameters:
        if not isinstance(name, str):
            raise InputError(f"option {option!r}: the name {name!r} is not text; quote it")
    return {name: build_node(value) for name, value in parameters.items()}


def freeze(option: Any) -> Any:
    """Return an option with tuples in place of lists.

    Raises:
        InputError: it has a type that cannot be an option.
    """
    if isinstance(option, list | tuple):
        return tuple(freeze(part) for part in option)
    if option is None or type(option) in (bool, str):
        return option
    if type(option) is int and abs(option) <= MAX_WHOLE:
        return option
    if type(option) is float and abs(option) <= MAX_NUMBER:
        return option
    raise InputError(
        f"{option!r} cannot be an option; use text, booleans, lists, or numbers of at most "
        f"{MAX_NUMBER:g}, whole ones of at most 2**53"
    )


def thaw(option: Any) -> Any:
    """Return an option with lists in place of tuples."""
    return [thaw(part) for part in option] if isinstance(option, tuple) else option


def same(a: Any, b: Any) -> bool:
    """Return whether two frozen options are equal in value and type; in Python, 1 == True."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)
