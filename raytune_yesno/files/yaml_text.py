"""Defensive reading of YAML: strict about mistakes, and limited in size.

PyYAML silently uses the later of two equal keys, raises many types of errors for an invalid number
or date, and expands a kilobyte of aliases to gigabytes.
"""

import contextlib
import json
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from raytune_yesno.files.json_text import measure_depth

MAX_LENGTH = 1_000_000
MAX_DEPTH = 50
MAX_DIGITS = 1000  # of an integer
MAX_VALUES = 100_000  # with aliases expanded


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested more than {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, str):  # JSON writes letters beyond U+FFFF as pairs of escapes
                value = value.encode("utf-16", "surrogatepass").decode("utf-16")
        except (ValueError, KeyError, IndexError, OverflowError, AttributeError, TypeError):
            shown = node.value if isinstance(node, yaml.ScalarNode) else "this"
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"{shown!r} is not a valid {kind}", problem_mark=node.start_mark
            ) from None
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable):
                if name in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {name!r} appears twice", problem_mark=key.start_mark
                    )
                seen.add(name)
        return super().construct_mapping(node, deep)


class _DecimalLoader(_Loader):
    """A loader that reads numbers as YAML 1.2 does, and ``yes`` as text in lists and as a key.

    As the value of a key, ``skip_bad: yes`` for instance, it stays true.
    """

    def construct_sequence(self, node: yaml.SequenceNode, deep: bool = False) -> list[Any]:
        if isinstance(node, yaml.SequenceNode):
            _make_texts(node.value)
        return super().construct_sequence(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            _make_texts(key for key, _ in node.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        text = self.construct_scalar(node)
        if ":" in text:
            return str(text)
        digits = text.lstrip("+-")
        if not digits.isdecimal() or (digits != "0" and digits.startswith("0")):
            raise _refuse_number(node, "write whole numbers in decimal digits only")
        return int(text)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        text = self.construct_scalar(node)
        if ":" in text:
            return str(text)
        if "_" in text:
            raise _refuse_number(node, "write numbers without underscores")
        return super().construct_yaml_float(node)


def _make_texts(nodes: Iterable[yaml.Node]) -> None:
    """Make texts of what only YAML 1.1 takes for true or false."""
    for node in nodes:
        if node.tag == "tag:yaml.org,2002:bool" and node.value.lower() not in ("true", "false"):
            node.tag = "tag:yaml.org,2002:str"


def _refuse_number(node: yaml.ScalarNode, advice: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=f"{node.value!r}: {advice}", problem_mark=node.start_mark)


_DecimalLoader.add_constructor("tag:yaml.org,2002:int", _DecimalLoader.construct_yaml_int)
_DecimalLoader.add_constructor("tag:yaml.org,2002:float", _DecimalLoader.construct_yaml_float)
# YAML 1.1 reads 1e3 and 25e-2 as text.
_DecimalLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+", re.ASCII),
    list("-+.0123456789"),
)


def read_text(path: Path) -> str:
    """Return a file's text, cut one character above the limit; a device may be endless."""
    with path.open(encoding="utf-8") as file:
        return file.read(MAX_LENGTH + 1)


def load_documents(text: str, *, decimal: bool = False) -> list[Any]:
    """Return the documents of a YAML text in plain types.

    Args:
        text: the YAML text.
        decimal: whether to read numbers as YAML 1.2 does, and ``yes``, ``no``, ``on`` and ``off``
            as texts in lists and as keys. ``010`` and ``1_0.5``, for YAML 1.1 the
            numbers 8 and 10.5, are refused; ``1e3`` is a number; ``1:30``, for YAML 1.1 the number
            90, is text. A JSON text is then parsed as JSON, so that it may contain tabs.

    Raises:
        ValueError: the text is invalid; the message is one line with the line number.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH:,} characters")
    if unseen := re.search(yaml.reader.Reader.NON_PRINTABLE, text):
        line = text.count("\n", 0, unseen.start()) + 1
        raise ValueError(f"line {line}: the character {unseen[0]!r} is not allowed")
    if decimal and text.lstrip().startswith(("{", "[")):
        with contextlib.suppress(json.JSONDecodeError, RecursionError):  # YAML, or invalid
            return [_load_json(text)]
    loader = (_DecimalLoader if decimal else _Loader)(text)
    documents: list[Any] = []
    try:
        while loader.check_data():  # type: ignore[no-untyped-call]
            documents.append(loader.get_data())
            _check_size(documents)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        said = getattr(error, "problem", None) or str(error)
        raise ValueError(where + " ".join(str(said).split())) from None
    finally:
        loader.dispose()
    return documents


def _load_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        JSONDecodeError: the text is not JSON.
        ValueError: it is JSON beyond the limits of this module.
    """
    value = json.loads(
        text, object_pairs_hook=_build_object, parse_int=_parse_int, parse_constant=_refuse_constant
    )
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text contains a lone surrogate; remove it") from None
    if measure_depth(value) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} appears twice")
    return built


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"{text[:20]}… is not a valid int")
    return int(text)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _check_size(value: Any) -> None:
    """Raise YAMLError for too many values, and so for a value that contains itself."""
    count, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        count += 1
        if count + len(waiting) > MAX_VALUES:
            raise yaml.YAMLError(f"its aliases expand to more than {MAX_VALUES:,} values")
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
