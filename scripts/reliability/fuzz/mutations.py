"""Damage good inputs: bytes, text, values in JSON and YAML, names."""

import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

# Wrong values. Some texts are read as other types by other languages.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**53 + 1, 2**63, -(2**63), 10**20, 10**400),
    *(0.0, -0.0, 0.5, 1.5, 3.7, -0.5, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *("", " ", "x", "é", "\ud800", "\x00", "a\nb", "\u2028", "false", "true", "yes", "No", "null"),
    *("1", "010", "1_000", "0x10", "1:30", "1e3", "1e400", "nan", "inf", ".inf", "٣", "1.5", "-1"),
    *("9" * 30, "9" * 5000, "[1]", "[1,2", "{a: 1}", "&a [*a]", "!!int x", "../..", "x" * 100_000),
    *([], {}, [[]], [1], [1.5], ["a"], [None], [True], {"a": 1}, {"": {}}, [math.nan], [10**400]),
    *([0, 1], [1, 0], [1, 1], [0.1, 0.01], ["1e-4", "1e-1"], {"float": [0, 1]}, list(range(300))),
)

_INTEGERS = (0, 1, 2, 4, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF)


def misspell(random: Random, name: str) -> str:
    """Change one letter of a name: leave it out, double it, swap it or replace it."""
    at = random.randrange(len(name))
    return random.choice(
        (
            name[:at] + name[at + 1 :],
            name[:at] + name[at] + name[at:],
            name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :],
            name[:at] + random.choice("abcxyz_") + name[at + 1 :],
        )
    )


def mutate_bytes(random: Random, data: bytes, dictionary: tuple[bytes, ...] = ()) -> bytes:
    """Damage bytes at one position, or truncate them."""
    at = random.randrange(len(data) + 1)
    length = min(len(data) - at, random.choice((1, 1, 2, 4, 8, 64, 1024)))
    end = at + length
    match random.randrange(9):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:end] + data[at:end] * random.choice((1, 2, 50)) + data[end:]
        case 3:
            return data[:at] + random.randbytes(length) + data[end:]
        case 4 | 5:
            bits = bytes(byte ^ (1 << random.randrange(8)) for byte in data[at : at + 1])
            return data[:at] + bits + data[at + 1 :]
        case 6:
            width, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
            number = (random.choice(_INTEGERS) % 256**width).to_bytes(width, order)
            return data[:at] + number + data[at + width :]
        case 7 if dictionary:
            return data[:at] + random.choice(dictionary) + data[at:]
        case 8 if dictionary:
            return data[:at] + random.choice(dictionary) + data[end:]
    return data[:at] + random.randbytes(1) + data[at:]


def mutate_head(random: Random, data: bytes, size: int = 64) -> bytes:
    """Damage bytes, mostly among the first ones, where formats have their headers."""
    if random.random() < 0.3:
        return mutate_bytes(random, data)
    return mutate_bytes(random, data[:size]) + data[size:]


def mutate_lines(random: Random, text: bytes, mutate: Callable[[Random, bytes], bytes]) -> bytes:
    """Damage a text of lines: one line, or the order and number of them."""
    lines = text.splitlines(keepends=True) or [b""]
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(8):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
        case _:
            lines[at] = mutate(random, lines[at])
    return b"".join(lines)


def mutate_tree(random: Random, tree: Any) -> Any:
    """Change one item of nested lists and mappings: a value, a key or a position."""
    if not isinstance(tree, dict | list) or not tree or random.random() < 0.15:
        return random.choice(VALUES)
    if isinstance(tree, list):
        items = list(tree)
        at = random.randrange(len(items))
        match random.randrange(5):
            case 0:
                del items[at]
            case 1:
                items.insert(at, items[at])
            case _:
                items[at] = mutate_tree(random, items[at])
        return items
    mapping = dict(tree)
    key = random.choice(list(mapping))
    match random.randrange(6):
        case 0:
            del mapping[key]
        case 1:
            name = misspell(random, key) if isinstance(key, str) and key else "x"
            mapping[name] = mapping.pop(key)
        case 2:
            mapping[key] = mapping[random.choice(list(mapping))]
        case _:
            mapping[key] = mutate_tree(random, mapping[key])
    return mapping


def mutate_json(random: Random, text: bytes) -> bytes:
    """Change one item of a JSON text, or its bytes, or its depth."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return mutate_bytes(random, text)
    match random.randrange(12):
        case 0:
            return mutate_bytes(random, text)
        case 1:
            return text.replace(b":", b":" + b"[" * random.choice((10, 1100, 200_000)), 1)
        case 2:  # numbers that Python reads and other readers do not
            number = random.choice((b"9" * 5000, b"1e999", b"NaN", b"-Infinity", b"1" * 400))
            return text.replace(b": 1", b": " + number, 1)
    end = b"\n" if text.endswith(b"\n") else b""
    return json.dumps(mutate_tree(random, tree)).encode() + end
