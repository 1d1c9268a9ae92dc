"""Read YAML that people write: nothing in it is overlooked, and none of it can swell.

PyYAML takes the later of two equal keys without a word, raises many kinds of errors at a bad
number or date, and lets a kilobyte of aliases stand for gigabytes.
"""

import contextlib
import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

LONGEST_TEXT = 1_000_000
DEEPEST = 50
LONGEST_INT = 1000  # digits
MOST_VALUES = 100_000  # with aliases written out


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} deep")
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
                problem=f"{shown!r} is no {kind}", problem_mark=node.start_mark
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
                        problem=f"the key {name!r} is there twice", problem_mark=key.start_mark
                    )
                seen.add(name)
        return super().construct_mapping(node, deep)


class _DecimalLoader(_Loader):
    """Reads numbers as people do, and as YAML 1.2 has them."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        text = self.construct_scalar(node)
        if ":" in text:
            return str(text)
        digits = text.lstrip("+-")
        if not digits.isdecimal() or (digits != "0" and digits.startswith("0")):
            raise _refuse_number(node, "write whole numbers in decimal digits alone")
        return int(text)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        text = self.construct_scalar(node)
        if ":" in text:
            return str(text)
        if "_" in text:
            raise _refuse_number(node, "write numbers without underscores")
        return super().construct_yaml_float(node)


def _refuse_number(node: yaml.ScalarNode, advice: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=f"{node.value!r}: {advice}", problem_mark=node.start_mark)


_DecimalLoader.add_constructor("tag:yaml.org,2002:int", _DecimalLoader.construct_yaml_int)
_DecimalLoader.add_constructor("tag:yaml.org,2002:float", _DecimalLoader.construct_yaml_float)
# YAML 1.1 takes 1e3 and 25e-2 for words.
_DecimalLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+", re.ASCII),
    list("-+.0123456789"),
)


def read_text(path: Path) -> str:
    """Return a file's text, or so much of it that it is too long; a device may have no end."""
    with path.open(encoding="utf-8") as file:
        return file.read(LONGEST_TEXT + 1)


def load_documents(text: str, *, decimal: bool = False) -> list[Any]:
    """Return the documents of a YAML text, as plain types.

    Args:
        decimal: read numbers as people do: refuse ``010`` and ``1_0.5``, which YAML 1.1 takes for 8
            and 10.5; ``1e3`` is a number, and ``1:30``, which it takes for 90, is text. JSON is
            read as such, with tabs.

    Raises:
        ValueError: with one line that says what is wrong, and where.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"longer than {LONGEST_TEXT:,} characters")
    if unseen := re.search(yaml.reader.Reader.NON_PRINTABLE, text):
        line = text.count("\n", 0, unseen.start()) + 1
        raise ValueError(f"line {line}: a character that no text has, {unseen[0]!r}")
    if decimal and text.lstrip().startswith(("{", "[")):
        with contextlib.suppress(json.JSONDecodeError, RecursionError):  # YAML, or something wrong
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
    """Return the value of a JSON text: in YAML it could hold no tabs.

    Raises:
        JSONDecodeError: it is not JSON.
        ValueError: it is, and holds what settings must not.
    """
    value = json.loads(
        text, object_pairs_hook=_build_object, parse_int=_parse_int, parse_constant=_refuse_constant
    )
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in it holds half a character") from None
    if _measure_depth(value) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return built


def _parse_int(text: str) -> int:
    if len(text) > LONGEST_INT:
        raise ValueError(f"{text[:20]}… is no int")
    return int(text)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _measure_depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(
            map(_measure_depth, value.values() if isinstance(value, dict) else value), default=0
        )
    return 0


def _check_size(value: Any) -> None:
    """Raise YAMLError at more values than anybody writes, or at one that holds itself."""
    count, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        count += 1
        if count + len(waiting) > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES:,} values")
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
