"""Bad config keys, ``--set`` and ``--point``, settings files, search spaces."""

import math
import re
from pathlib import Path
from random import Random
from typing import Any

import yaml

from raytune_yesno.cli import build_parser
from raytune_yesno.commands.recorded_run import resume_settings
from raytune_yesno.commands.settings import build_plan, read_point, read_settings
from raytune_yesno.config import Config, build_config, find_task
from raytune_yesno.errors import InputError
from raytune_yesno.space import decode_point, format_space, parse_space
from raytune_yesno.tasks.task import find_space
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan
from reliability.fuzz.kind import Kind
from reliability.fuzz.mutations import VALUES, misspell, mutate_bytes, mutate_lines, mutate_tree

CONFIGS = [build_config(), build_config({"model": "mlp"}), build_config({"task": "sine"})]

DEFAULTS = build_config().as_dict()
KEYS = list(DEFAULTS)
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def find_otherwise(key: str, given: Any, taken: Any) -> str | None:
    """Return how a config key has another value than was given; text is read as decimals."""
    if isinstance(DEFAULTS[key], str) and taken == given:
        return None  # also text that is all white space: it is not trimmed
    if key == "num_workers" and isinstance(given, list | tuple):
        given = ":".join(map(str, given)) if len(set(given)) > 1 else given[0]  # a range
    meant = _read(given, isinstance(DEFAULTS[key], list))
    if isinstance(DEFAULTS[key], list) and not isinstance(meant, list | tuple):
        meant = [meant]
    if isinstance(meant, list | tuple):
        same = len(meant) == len(taken) and all(
            _same(_read(one), other) for one, other in zip(meant, taken, strict=True)
        )
    else:
        same = _same(meant, taken)
    return None if same else f"{key}: {given!r:.60} was taken as {taken!r:.60}"


def _read(given: Any, split: bool = False) -> Any:
    if not isinstance(given, str):
        return given
    text = given.strip()
    if split:
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        return [_read(item) for item in inner.split(",") if item.strip()]
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if re.fullmatch(r"[-+]?[0-9]+", text, re.ASCII):
        return int(text) if len(text) < 400 else math.inf
    if re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text, re.ASCII):
        return float(text)
    return text


def _same(meant: Any, taken: Any) -> bool:
    if isinstance(taken, float) and type(meant) is int:
        meant = float(meant)
    return isinstance(meant, bool) == isinstance(taken, bool) and meant == taken


def damage_key(random: Random, layer: dict[Any, Any]) -> dict[Any, Any]:
    """Set a config key to a value that may be wrong, or misspell it."""
    key = random.choice(KEYS)
    field = type(CONFIGS[0]).__dataclass_fields__[key]
    low, high = field.metadata["low"], field.metadata["high"]
    near = [DEFAULTS[key], *field.metadata["options"]]
    near += [misspell(random, option) for option in field.metadata["options"]]
    for end in (low, high):
        if end is not None:
            near += [end, end + 1, end - 1, math.nextafter(end, -math.inf), -end, str(end), [end]]
    value = random.choice(near) if random.random() < 0.4 else random.choice(VALUES)
    if random.random() < 0.15:
        return {**layer, misspell(random, key): value}
    if random.random() < 0.03:
        return {**layer, random.choice(VALUES[:30]): value}  # a key that is no text
    return {**layer, key: value}


def try_config(layer: dict[Any, Any], folder: Path) -> str | None:
    try:
        config = build_config(layer).as_dict()
    except InputError as error:
        return find_no_hint(layer, str(error))
    return next(
        (said for key in layer if (said := find_otherwise(key, layer[key], config[key]))), None
    )


def find_no_hint(layer: dict[Any, Any], message: str) -> str | None:
    """Raise the refusal again, unless a key is misspelt and it does not name the right one."""
    for key in layer:
        if f"unknown key {key!r}" in message and isinstance(key, str) and len(key) > 4:
            right = [name for name in KEYS if _is_slip(key, name)]
            if right and not any(repr(name) in message for name in right):
                return f"{key!r} was not answered with {right}: {message:.200}"
    raise InputError(message)


def _is_slip(one: str, other: str) -> bool:
    """Return whether two names differ by one letter added, removed or changed."""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    start = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    tails = ((1, 1), (1, 0), (0, 1))
    return any(one[start + a :] == other[start + b :] for a, b in tails)


def damage_assignment(random: Random, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Add or damage a `KEY=VALUE`."""
    layer = damage_key(random, {})
    key, value = next(iter(layer.items()))
    text = f"{key}={value}".replace("\x00", "")
    match random.randrange(8):
        case 0:
            text = mutate_bytes(random, text.encode(errors="replace")).decode(errors="replace")
        case 1:
            text = text.replace("=", random.choice((" = ", "==", "", ":", "= =")), 1)
        case 2:
            text = f"{key}={','.join([str(value)[:50]] * random.choice((2, 3)))}"
    return (*texts, text)


def try_assignments(texts: tuple[str, ...], folder: Path) -> str | None:
    options = build_parser().parse_args(["train"])
    options.assignments = list(texts)
    config = build_config(read_settings(options)["config"]).as_dict()
    points = [read_point(text, find_task(Config.task)) for text in texts if text.count("=") == 1]
    last = dict(text.split("=", 1) for text in texts)
    for key, value in last.items():
        if said := find_otherwise(key.strip(), value, config[key.strip()]):
            return said
    for text, point in zip([t for t in texts if t.count("=") == 1], points, strict=True):
        key, value = text.split("=", 1)
        if said := find_otherwise(key.strip(), value, point[key.strip()]):
            return f"--point: {said}"
    return None


SETTINGS = (
    b"data: synthetic:20\nconfig:\n  epochs: 3\n  channels: [4, 8]\n  learning_rate: 1e-3\n",
    b"seed: 1\ntrials: 16\nordered: true\nconfig: {epochs: 8, dropout: 0.25}\nspace:\n"
    b"  learning_rate: {float: [1.0e-3, 1e-2], log: true}\n  batch_size: {choice: [1, 2, 4]}\n"
    b"  hidden_units: {int: [4, 64], log: true}\n",
    b"search: random\nscheduler: asha\nscheduler_options: {grace_period: 2}\ntarget: wer=0\n"
    b"patience: 5\nmax_failures: 3\nmax_concurrent: 2\nworkers_per_trial: 1\nW: 4\n",
    b"search: pso\nsearch_options: {particles: 4}\nscheduler: fifo\ntime_budget: 60\n"
    b"config:\n  task: sine\n  model: mlp\nspace:\n  momentum: {float: [0, 0.9]}\n",
)
YAML_WORDS = (
    *(b"&a ", b"*a", b"<<: *a\n", b"[", b"{", b"]", b"}", b": ", b"- ", b"? ", b"| ", b"> ", b"\t"),
    *(b"!!python/object/apply:os.system [echo]", b"!!binary x", b"!!int ", b"!!float x", b"!!set "),
    *(b"!!bool x", b"!!timestamp x", b"!!omap ", b"!!str ", b"!x ", b"%YAML 9.9\n---\n", b"---\n"),
    *(b"2001-99-99", b"2001-01-01", b"0o17", b"010", b"1:30", b"0b11", b"1_0", b"~", b".nan"),
    *(b".inf", b"9" * 5000, b"9" * 30, b"1e400", b"3.7", b"'false'", b"yes", b'"\\ud800"'),
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\r", b"#", b"[" * 2000, b"{a: " * 2000),
    b"a: &a [x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
    ),
    *(b"\n" + key.encode() + b": " for key in (*KEYS[:6], "config", "space", "seed", "trials")),
)


def damage_yaml(random: Random, text: bytes) -> bytes:
    """Damage a YAML text: its bytes, lines or values, or with rare features of YAML."""
    match random.randrange(4):
        case 0:
            return mutate_bytes(random, text, YAML_WORDS)
        case 1:
            return mutate_lines(random, text, lambda r, line: mutate_bytes(r, line, YAML_WORDS))
        case 2:
            try:
                tree = mutate_tree(random, yaml.safe_load(text))
                return yaml.safe_dump(tree, allow_unicode=True).encode(errors="surrogatepass")
            except Exception:
                return mutate_bytes(random, text, YAML_WORDS)
    lines = text.split(b"\n")
    at = random.randrange(len(lines))
    head, colon, _ = lines[at].partition(b": ")
    value = random.choice(YAML_WORDS) if random.random() < 0.5 else f"{random.choice(VALUES)}"[:90]
    data = value if isinstance(value, bytes) else value.encode(errors="replace")
    lines[at] = head + colon + data
    return b"\n".join(lines)


def try_settings(text: bytes, folder: Path) -> str | None:
    file = folder / "settings.yaml"
    file.write_bytes(text)
    options = build_parser().parse_args(["tune", "--config", str(file)])
    settings = read_settings(options)
    if twice := find_twice(text):
        return f"{twice} is there twice, the first was left out"
    plan = build_plan(settings, options)
    check_plan(plan)
    given = yaml.safe_load(text)
    config = plan.config.as_dict()
    for key, value in (given.get("config") or {}).items():
        if key == "num_workers" and "workers_per_trial" in given:
            continue
        if key == "seed" and given.get("seed") is not None:
            continue
        if said := find_otherwise(key, value, config[key]):
            return said
    for key in ("search", "scheduler", "ordered"):
        if given.get(key) is not None and getattr(plan, key) != given[key]:
            return f"{key}: {given[key]!r} was taken as {getattr(plan, key)!r}"
    if given.get("space") is not None and plan.space != parse_space(given["space"]):
        return "space: taken otherwise"
    resume_settings(folder, {"config": {}}, {})
    return None


def find_twice(text: bytes) -> str | None:
    """Return a key that a mapping has twice."""
    waiting = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for name in names:
                if names.count(name) > 1:
                    return repr(name)
            waiting += [value for _, value in node.value]
    return None


def good_spaces(folder: Path) -> list[Any]:
    return [
        *(format_space(space) for space in map(find_space, CONFIGS)),
        {"learning_rate": {"float": ["1e-4", "1e-1"], "log": True}, "batch_size": 4},
        {"hidden_units": {"int": [4, 64], "log": True}, "channels": {"choice": [[4], [4, 8]]}},
    ]


def try_space(mapping: Any, folder: Path) -> str | None:
    space = parse_space(mapping)
    if parse_space(format_space(space)) != space:
        return "a space that was written is read as another one"
    for u in (0.0, 0.3, 1.0):
        point = decode_point(space, [u] * len(space))
        for name, value in point.items():
            if not space[name].contains(value):
                return f"{name}: {value!r} was drawn outside of {mapping[name]!r:.100}"
    for name, domain in mapping.items():
        if isinstance(domain, dict) and "choice" not in domain:
            kind = float if "float" in domain else int
            given: Any = domain.get("float", domain.get("int"))
            ends = [kind(_read(end)) for end in given]
            if ends != [space[name].low, space[name].high]:  # type: ignore[union-attr]
                return f"{name}: {ends!r:.100} was taken as {space[name]}"
    check_plan(Plan(build_config(), space, search="random"))
    return None


def _no_folder(*seeds: Any) -> Any:
    return lambda folder: list(seeds)


OURS = ("raytune_yesno.config", "raytune_yesno.commands.settings", "raytune_yesno.tuning.plan")
KINDS = (
    Kind("config keys", _no_folder({}), damage_key, try_config, OURS),
    Kind("--set and --point", _no_folder(()), damage_assignment, try_assignments, OURS),
    Kind(
        "settings files",
        _no_folder(*SETTINGS),
        damage_yaml,
        try_settings,
        (
            *OURS,
            "raytune_yesno.space",
            "raytune_yesno.task_registry",
            "yaml.constructor",
            "yaml.parser",
        ),
    ),
    Kind("search spaces", good_spaces, mutate_tree, try_space, ("raytune_yesno.space",)),
)
