"""Search spaces: domains, their text form, and their map to the unit cube.

A space is a dict of domains by name. Every search algorithm works in the unit cube, with one
dimension a domain. Only this module deals with log scales, integers and choices.
"""

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.numerals import read_if_number

Point: TypeAlias = dict[str, Any]
"""Sampled values by name, as native Python types."""

_MAX_INT = 2**53  # above it, neighbouring integers are equal as floats


@dataclass(frozen=True)
class Float:
    """The real numbers from ``low`` to ``high``, both included.

    Example:
        >>> from raytune_yesno.space import Float
        >>> learning_rate = Float(1e-4, 1e-2, log=True)
        >>> round(learning_rate.decode(0.5), 6)
        0.001

    Attributes:
        low: the smallest value.
        high: the largest value.
        log: whether values are uniform on a logarithmic scale; ``low`` must then be above 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))

    @property
    def num_values(self) -> float:
        """The number of values: infinity, or 1 if ``low`` equals ``high``."""
        return 1 if self.low == self.high else math.inf

    def decode(self, u: float) -> float:
        """Return the value at ``u`` in [0, 1]; exactly ``low`` at 0 and ``high`` at 1."""
        if u <= 0:
            return self.low
        if u >= 1:
            return self.high
        if self.log:
            value = math.exp(_interpolate(math.log(self.low), math.log(self.high), u))
        else:
            value = _interpolate(self.low, self.high, u)
        return min(max(value, self.low), self.high)

    def encode(self, value: float) -> float:
        """Return the position of a value in [0, 1]; 0.5 if the domain has one value."""
        if self.log:
            return _position(math.log(self.low), math.log(self.high), math.log(value))
        return _position(self.low, self.high, value)

    def contains(self, value: object) -> bool:
        """Return whether ``value`` is a number from ``low`` to ``high``."""
        return _is_number(value) and self.low <= value <= self.high

    def grid(self, levels: int) -> list[float]:
        """Return ``levels`` equally spaced values, ends included; the middle if ``levels`` is 1."""
        _check_levels(levels)
        if self.low == self.high:
            return [self.low]
        if levels == 1:
            return [self.decode(0.5)]
        return [self.decode(level / (levels - 1)) for level in range(levels)]


@dataclass(frozen=True)
class Int:
    """The integers from ``low`` to ``high``, both included.

    Each integer has a cell of [0, 1]. On a linear scale all cells have the same width. On a
    logarithmic scale the cell of k reaches from log(k - 1/2) to log(k + 1/2).

    Example:
        >>> from raytune_yesno.space import Int
        >>> layers = Int(1, 4)
        >>> [layers.decode(u) for u in (0.1, 0.3, 0.6, 0.9)]
        [1, 2, 3, 4]

    Attributes:
        low: the smallest value, at least -2**53.
        high: the largest value, at most 2**53.
        log: whether values are uniform on a logarithmic scale; ``low`` must then be above 0.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    @property
    def num_values(self) -> float:
        """The number of values."""
        return self.high - self.low + 1

    def decode(self, u: float) -> int:
        """Return the integer whose cell contains ``u`` in [0, 1]."""
        u = min(max(u, 0.0), 1.0)
        if self.log:
            value = round(math.exp(_interpolate(*self._log_edges, u)))
        else:
            value = self.low + math.floor(u * (self.high - self.low + 1))
        return min(max(value, self.low), self.high)

    def encode(self, value: int) -> float:
        """Return the middle of the integer's cell."""
        if self.log:
            middle = (math.log(value - 0.5) + math.log(value + 0.5)) / 2
            return _position(*self._log_edges, middle)
        return (value - self.low + 0.5) / (self.high - self.low + 1)

    def cell_width(self, value: int) -> float:
        """Return the width of an integer's cell."""
        if self.log:
            low, high = self._log_edges
            return (math.log(value + 0.5) - math.log(value - 0.5)) / (high - low)
        return 1 / (self.high - self.low + 1)

    def contains(self, value: object) -> bool:
        """Return whether ``value`` is an integer from ``low`` to ``high``."""
        return type(value) is int and self.low <= value <= self.high

    def grid(self, levels: int) -> list[int]:
        """Return all integers if there are at most ``levels``, else ``levels`` of them.

        The ends are included. On a logarithmic scale there may be fewer, because duplicates after
        rounding are removed.
        """
        _check_levels(levels)
        if self.num_values <= levels:
            return list(range(self.low, self.high + 1))
        ends = Float(self.low, self.high, self.log)
        return sorted({round(value) for value in ends.grid(levels)})

    @property
    def _log_edges(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)


@dataclass(frozen=True, init=False)
class Choice:
    """Unordered options: texts, numbers, booleans, None, or tuples of these.

    A list given as an option becomes a tuple; lists and tuples are equal when a value is looked up.

    Example:
        >>> from raytune_yesno.space import Choice
        >>> channels = Choice([16, 32], [32, 64])
        >>> channels.options
        ((16, 32), (32, 64))
        >>> channels.contains([32, 64])
        True

    Args:
        options: the options, at least one, all different.

    Raises:
        InputError: there are no options, two are equal, or one has an unsupported type.
    """

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        object.__setattr__(self, "options", tuple(_freeze(option) for option in options))
        if not options:
            raise InputError("Choice needs at least one option")
        for index, option in enumerate(self.options):
            if any(_same(option, earlier) for earlier in self.options[:index]):
                raise InputError(f"Choice has {option!r} twice; remove one")

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
        value = _freeze(value)
        for index, option in enumerate(self.options):
            if _same(option, value):
                return (index + 0.5) / len(self.options)
        raise InputError(f"{value!r} is not among the options {list(self.options)}")

    def cell_width(self, value: Any) -> float:
        """Return the width of an option's cell."""
        return 1 / len(self.options)

    def contains(self, value: object) -> bool:
        """Return whether ``value`` is an option; 1, 1.0 and True are different options."""
        try:
            value = _freeze(value)
        except InputError:
            return False
        return any(_same(option, value) for option in self.options)

    def grid(self, levels: int) -> list[Any]:
        """Return all options, for any number of levels."""
        _check_levels(levels)
        return list(self.options)


Domain: TypeAlias = Float | Int | Choice
Space: TypeAlias = dict[str, Domain]

_FORMS = "{float: [low, high]}, {int: [low, high]} or {choice: [a, b]}"


def build_space(domains: Mapping[str, Any]) -> Space:
    """Return a space; a value that is not a domain becomes a choice of that one value.

    Raises:
        InputError: the mapping is empty, a name is not text, or a value cannot be an option.
    """
    if not domains:
        raise InputError("the search space is empty; give at least one name")
    space: Space = {}
    for name, domain in domains.items():
        if not isinstance(name, str):
            raise InputError(f"search space: the name {name!r} is not text; quote it")
        if isinstance(domain, Float | Int | Choice):
            space[name] = domain
        else:
            with _prefix_errors(name):
                space[name] = Choice(domain)
    return space


def parse_space(mapping: Mapping[str, Any]) -> Space:
    """Parse a space in the form of a YAML file or a study's record.

    Each name has one of these values::

        learning_rate: {float: [1e-4, 1e-1], log: true}
        hidden_layers: {int: [1, 4]}
        channels: {choice: [[16, 32], [32, 64]]}
        batch_size: 4                                # fixed

    A number may be given as text, since YAML 1.1 reads ``1e-4`` as text. An integer may be written
    ``32.0``.

    Example:
        >>> from raytune_yesno.space import parse_space
        >>> space = parse_space({"learning_rate": {"float": [1e-4, 1e-1], "log": True}})
        >>> space["learning_rate"]
        Float(low=0.0001, high=0.1, log=True)

    Raises:
        InputError: the space is invalid; the message contains the name.
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"a search space is a mapping; give each name one of {_FORMS}")
    space: Space = {}
    for name, text in mapping.items():
        with _prefix_errors(name):
            space[name] = _parse_domain(text)
    return build_space(space)


def format_space(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space in plain types for JSON and YAML; the inverse of :func:`parse_space`."""
    plain: dict[str, Any] = {}
    for name, domain in build_space(space).items():
        if isinstance(domain, Choice):
            plain[name] = {"choice": [_thaw(option) for option in domain.options]}
        else:
            kind = "float" if isinstance(domain, Float) else "int"
            plain[name] = {kind: [domain.low, domain.high]} | ({"log": True} if domain.log else {})
    return plain


def check_point(space: Space, point: Mapping[str, Any], *, partial: bool = False) -> None:
    """Check that a point lies inside a space.

    Args:
        space: the space.
        point: the point.
        partial: whether the point may lack some of the names.

    Raises:
        InputError: a name is unknown or missing, or a value lies outside its domain.
    """
    for name, value in point.items():
        if name not in space:
            raise InputError(f"{name!r} is not in the search space; {suggest_name(name, space)}")
        if not space[name].contains(value):
            raise InputError(f"{name}: {value!r} lies outside {format_space(space)[name]}")
    missing = [name for name in space if name not in point]
    if missing and not partial:
        raise InputError(f"the point lacks a value for {', '.join(missing)}")


def express_point(space: Space, point: Mapping[str, Any], config: Mapping[str, Any]) -> Point:
    """Return a point of another space as a point of this one.

    Args:
        space: the space.
        point: values that were searched. Names that this space lacks are dropped.
        config: the settings that the point overrode, for names that were not searched then.

    Raises:
        InputError: a value is unknown, or lies outside its domain.
    """
    known = {**config, **point}
    expressed = {name: known[name] for name in space if name in known}
    check_point(space, expressed)
    return expressed


def read_point(space: Space, point: Mapping[str, Any]) -> Point:
    """Convert the values of a point from a file to the types of their domains.

    A number may be given as text, an integer as ``32.0``, and an option as any number equal to it.
    Values that do not fit are returned unchanged; see :func:`check_point`.
    """
    return {
        name: _read_value(space[name], value) if name in space else value
        for name, value in point.items()
    }


def decode_point(space: Space, position: Iterable[float]) -> Point:
    """Return the point at a position of the unit cube, which has one coordinate a domain."""
    pairs = zip(space.items(), position, strict=True)
    return {name: domain.decode(float(u)) for (name, domain), u in pairs}


def encode_point(space: Space, point: Mapping[str, Any]) -> list[float]:
    """Return the position of a point in the unit cube, in the order of the space."""
    return [domain.encode(point[name]) for name, domain in space.items()]


@contextmanager
def _prefix_errors(name: object) -> Iterator[None]:
    """Put a name of the space before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"search space: {name}: {error}") from error


def _parse_domain(text: Any) -> Domain:
    if isinstance(text, Sequence) and not isinstance(text, str):
        raise InputError(f"a bare list is ambiguous; write {_FORMS}")
    if not isinstance(text, Mapping):
        return Choice(_read_number(text))
    for key in text:
        if key not in ("float", "int", "choice", "log"):
            known = ("float", "int", "choice", "log")
            raise InputError(f"unknown key {key!r}; {suggest_name(str(key), known)}")
    kinds = [key for key in text if key != "log"]
    if len(kinds) != 1:
        raise InputError(f"write one of {_FORMS}")
    kind, values = kinds[0], text[kinds[0]]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(f"{kind} needs a list, not {values!r}")
    values = [_read_number(value) for value in values]
    if kind == "choice":
        if "log" in text:
            raise InputError("a choice has no log scale; remove log")
        return Choice(*values)
    if len(values) != 2:
        raise InputError(f"{kind} needs [low, high], not {values!r}")
    log = text.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"log is true or false, not {log!r}")
    low, high = (read_if_number(value, float if kind == "float" else int) for value in values)
    return Float(low, high, log=log) if kind == "float" else Int(low, high, log=log)


def _read_value(domain: Domain, value: Any) -> Any:
    if isinstance(domain, Float):
        return read_if_number(value, float)
    if isinstance(domain, Int):
        return read_if_number(value, int)
    if domain.contains(value):
        return value
    equal = [option for option in domain.options if _is_meant(option, value)]
    return _thaw(equal[0]) if len(equal) == 1 else value


def _is_meant(option: Any, value: Any) -> bool:
    """Return whether a value of another type stands for an option."""
    if isinstance(option, tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(option)
            and all(map(_is_meant, option, value))
        )
    if _is_number(option):
        number = read_if_number(value, float)
        return _is_number(number) and number == option
    return type(option) is type(value) and bool(option == value)


_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def _read_number(value: Any) -> Any:
    """Return the number of a text such as ``1e-4``, which YAML 1.1 reads as text, or the value."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value


def _freeze(option: Any) -> Any:
    if isinstance(option, list | tuple):
        return tuple(_freeze(part) for part in option)
    if option is None or type(option) in (bool, int, str):
        return option
    if type(option) is float and math.isfinite(option):
        return option
    raise InputError(f"{option!r} cannot be an option; use text, finite numbers, booleans or lists")


def _thaw(option: Any) -> Any:
    return [_thaw(part) for part in option] if isinstance(option, tuple) else option


def _same(a: Any, b: Any) -> bool:
    """Return whether two frozen options are equal in value and type; in Python, 1 == True."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_range(domain: Float | Int) -> None:
    for bound in (domain.low, domain.high):
        where = f"{domain!s:.99}: {bound!r:.50}"
        if isinstance(domain, Int):
            if type(bound) is not int or abs(bound) > _MAX_INT:
                raise InputError(f"{where} is not an integer of at most 2**53")
        elif (
            not _is_number(bound) or not abs(bound) <= sys.float_info.max
        ):  # an integer may exceed all floats
            raise InputError(f"{where} is not a finite number")
    if domain.low > domain.high:
        raise InputError(f"{domain}: low is above high")
    if not math.isfinite(float(domain.high) - float(domain.low)):
        raise InputError(f"{domain}: the range is too wide for a float")
    if domain.log and domain.low <= 0:
        raise InputError(f"{domain}: a log scale needs low above 0")


def _check_levels(levels: int) -> None:
    if type(levels) is not int or levels < 1:
        raise InputError(f"levels: {levels!r} is not a whole number of at least 1")


def _interpolate(low: float, high: float, u: float) -> float:
    return low + u * (high - low)


def _position(low: float, high: float, value: float) -> float:
    return (value - low) / (high - low) if low < high else 0.5
