"""What a run is: one frozen, checked configuration.

Layers of changes (the defaults, a YAML file, ``--set key=value``, a trial's point) are merged by
:func:`build_config` and nowhere else, on the driver, before anything starts.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin, get_type_hints

from raytune_yesno.errors import InputError, suggest_name

NumWorkers = int | tuple[int, int]  # or the fewest and the most of an elastic run


def _setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    options: tuple[str, ...] = (),
) -> Any:
    """Declare one field: its default, its line of help, and the closed range or the options."""
    metadata = {"help": help, "low": low, "high": high, "options": options}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A checked configuration; the defaults are those of the tutorial's CNN on ``yesno``."""

    task: str = _setting("yesno", "what is learnt", options=("yesno", "sine"))
    model: str = _setting("cnn", "the network", options=("cnn", "tdnn", "mlp"))
    epochs: int = _setting(
        16, "passes over the training part (sine: 100 steps each)", low=1, high=1_000_000
    )
    batch_size: int = _setting(
        2, "examples in a step, over all workers together", low=1, high=1_000_000
    )

    optimizer: str = _setting(
        "adamw", "optimisation algorithm", options=("sgd", "adam", "adamw", "rmsprop")
    )
    learning_rate: float = _setting(2e-3, "peak learning rate", low=0.0)
    momentum: float = _setting(
        0.9, "momentum of SGD and RMSprop, first-moment decay of Adam", low=0.0, high=0.999
    )
    weight_decay: float = _setting(1e-2, "weight decay (decoupled for adamw)", low=0.0)
    warmup: float = _setting(
        0.2, "share of training in which the learning rate rises from zero", low=0.0, high=1.0
    )
    lr_decay: float = _setting(
        1.0,
        "share of the learning rate gone by the end, along a half cosine; 0 keeps it",
        low=0.0,
        high=1.0,
    )
    flat_start: float = _setting(
        0.25,
        "share of training in which a flat alignment fades out (yesno)",
        low=0.0,
        high=1.0,
    )
    clip_norm: float = _setting(5.0, "largest gradient norm; 0 clips nothing", low=0.0)

    channels: tuple[int, ...] = _setting(
        (16, 32), "channels of each convolution; as many convolutions", low=1, high=4096
    )
    kernel_size: int = _setting(3, "width and height of each convolution", low=1, high=9)
    hidden_units: int = _setting(128, "units of each hidden layer", low=1, high=65_536)
    hidden_layers: int = _setting(1, "hidden layers of the MLP", low=0, high=8)
    activation: str = _setting(
        "relu", "activation function", options=("relu", "gelu", "silu", "tanh", "sigmoid")
    )
    dropout: float = _setting(
        0.2, "dropout before the last layer; half of it after pooling", low=0.0, high=0.95
    )

    features: str = _setting(
        "local",
        "what features are relative to: the noise nearby, or the recording's mean (yesno)",
        options=("local", "recording"),
    )
    min_examples: int = _setting(
        1,
        "fewest examples in an epoch; a smaller training part is repeated (yesno)",
        low=1,
        high=1_000_000,
    )
    alignment: float = _setting(
        0.0,
        "least weight in the loss of where words are, for recordings in which they were found "
        "(yesno)",
        low=0.0,
        high=1.0,
    )

    augment_scenes: float = _setting(
        0.0,
        "probability that a training recording is put together anew, in another room (yesno)",
        low=0.0,
        high=1.0,
    )
    augment_noise: float = _setting(
        0.0, "probability that a recording gets noise in training", low=0.0, high=1.0
    )
    augment_snr_db: float = _setting(
        0.0, "lowest signal-to-noise ratio of that; the highest is 20 dB more", low=-20.0, high=40.0
    )
    augment_gain_db: float = _setting(0.0, "largest change of level, dB", low=0.0, high=40.0)
    augment_shift_s: float = _setting(0.0, "largest shift in time, s", low=0.0, high=2.0)
    augment_speed: float = _setting(0.0, "largest relative change of speed", low=0.0, high=0.3)
    augment_time_mask: int = _setting(0, "most 20 ms frames hidden in every 2 s", low=0, high=12)
    augment_freq_mask: int = _setting(0, "most mel bands hidden", low=0, high=14)
    valid_noise: bool = _setting(True, "validate on noisy copies, too (yesno)")

    num_workers: int | tuple[int, int] = _setting(
        1,
        "data-parallel workers; 0 runs in the calling process, 1:4 on as many as there are",
        low=0,
        high=4096,
    )
    use_gpu: bool = _setting(False, "give every worker a GPU")
    gpus_per_worker: float = _setting(
        1.0, "how much of a GPU that is; trials can share one", low=0.01, high=64.0
    )
    dtype: str = _setting(
        "float32", "floating-point type of the arithmetic", options=("float32", "float64")
    )
    swap_halves: bool = _setting(False, "train on the odd recordings, test on the even ones")
    seed: int = _setting(0, "seed of everything random", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        for key in dataclasses.fields(self):
            _check_range(key, getattr(self, key.name))
        if self.task == "sine" and self.model != "mlp":
            raise InputError("task: 'sine' is a task for model 'mlp'; leave `model` out or set it")
        if self.model == "cnn" and 28 - len(self.channels) * (self.kernel_size - 1) < 2:
            raise InputError(
                f"kernel_size: {len(self.channels)} convolutions of {self.kernel_size} leave "
                "nothing of a 28x28 window; use fewer channels or a smaller kernel"
            )
        if not self.min_workers <= self.max_workers or (self.is_elastic and not self.min_workers):
            raise InputError(
                f"num_workers: '{self.min_workers}:{self.max_workers}' is no range; LOW:HIGH "
                "begins at 1 or more and does not fall"
            )

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers follows the nodes that there are."""
        return isinstance(self.num_workers, tuple)

    @property
    def min_workers(self) -> int:
        """The fewest workers that train."""
        return self.num_workers[0] if isinstance(self.num_workers, tuple) else self.num_workers

    @property
    def max_workers(self) -> int:
        """The most workers that train."""
        return self.num_workers[1] if isinstance(self.num_workers, tuple) else self.num_workers

    def as_dict(self) -> dict[str, Any]:
        """Return a plain, JSON-ready mapping that :func:`build_config` takes back."""
        plain = dataclasses.asdict(self)
        plain["channels"] = list(self.channels)
        if self.is_elastic:
            plain["num_workers"] = f"{self.min_workers}:{self.max_workers}"
        return plain


# What differs from the defaults above for other tasks and models. `sine` is the polynomial fit
# by plain gradient descent: 2000 steps over all points at once.
_PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("yesno", "cnn"): {},
    ("yesno", "tdnn"): {
        "min_examples": 150,
        "alignment": 0.7,
        "dropout": 0.1,
        "augment_scenes": 0.8,
        "augment_noise": 0.7,
        "augment_snr_db": -3.0,
        "augment_gain_db": 6.0,
        "augment_shift_s": 0.3,
        "augment_speed": 0.1,
    },
    ("yesno", "mlp"): {"hidden_layers": 2, "learning_rate": 1e-3},
    ("sine", "mlp"): {
        "epochs": 20,
        "batch_size": 2000,
        "optimizer": "sgd",
        "learning_rate": 1e-6,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "lr_decay": 0.0,
        "clip_norm": 0.0,
        "hidden_layers": 0,
        "hidden_units": 16,
        "activation": "tanh",
        "dropout": 0.0,
    },
}

_FIELDS = {key.name: key for key in dataclasses.fields(Config)}
_TYPES = get_type_hints(Config)


def build_config(*layers: Mapping[str, Any], where: str = "config") -> Config:
    """Merge layers of changes, later ones winning, over the defaults of their task and model.

    Args:
        layers: mappings from key to value; values may be strings as typed on a command line.
        where: what the layers came from, for error messages.

    Raises:
        InputError: a key is unknown (the nearest right one is named) or a value is out of range.
    """
    changes: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key not in _FIELDS:
                raise InputError(f"{where}: unknown key {key!r}; {suggest_name(str(key), _FIELDS)}")
            changes[key] = _convert(key, value, where)
    task = changes.get("task", "yesno")
    model = changes.setdefault("model", _choose_model(task, changes))
    try:
        return Config(**{**_PRESETS.get((task, model), {}), **changes})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _choose_model(task: str, changes: Mapping[str, Any]) -> str:
    """Return the network of a config that names none: one that has the settings it gives."""
    if task == "sine":
        return "mlp"
    if "channels" in changes or "kernel_size" in changes:
        return "cnn"
    return "mlp" if "hidden_layers" in changes else "tdnn"


# What a config that was stored before a key existed means by leaving it out.
_BEFORE: dict[str, Any] = {
    "features": "recording",
    "min_examples": 1,
    "alignment": 0.0,
    "augment_scenes": 0.0,
}


def read_config(stored: Mapping[str, Any], *changes: Mapping[str, Any], where: str) -> Config:
    """Read the config of a checkpoint or a study, of this version or an older one.

    Raises:
        InputError: as :func:`build_config`.
    """
    is_speech = stored.get("task", "yesno") == "yesno"
    return build_config(_BEFORE if is_speech else {}, stored, *changes, where=where)


def parse_assignments(assignments: list[str], where: str = "--set") -> dict[str, Any]:
    """Turn ``key=value`` strings into a layer for :func:`build_config`."""
    layer: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise InputError(f"{where} {assignment!r}: expected key=value")
        layer[key.strip()] = value.strip()
    return layer


def config_help() -> str:
    """Return one line a key: name, default, range or options, meaning."""
    lines = []
    for name, key in _FIELDS.items():
        default = ",".join(map(str, Config.channels)) if name == "channels" else key.default
        options = " | ".join(key.metadata["options"])
        lines.append(
            f"  {name:<14} {key.metadata['help']}{f' ({options})' * bool(options)} [{default}]"
        )
    return "\n".join(lines)


def _convert(key: str, value: Any, where: str) -> Any:
    """Read a value as the key's type; text holds decimal numbers, `true` or `false`, or a list."""
    kind = _TYPES[key]
    try:
        if kind == NumWorkers:
            return _num_workers(value)
        if get_origin(kind) is tuple:
            items = _split(value) if isinstance(value, str) else value
            items = items if isinstance(items, list | tuple) else [items]
            return tuple(_number(item, get_args(kind)[0]) for item in items)
        if kind in (int, float):
            return _number(value, kind)
        if kind is bool and isinstance(value, str):
            return _BOOLEANS[value.strip().lower()]
    except (ValueError, TypeError, OverflowError, KeyError):
        pass
    else:
        if isinstance(value, kind):
            return value
    name = "a list of whole numbers" if get_origin(kind) is tuple else _KIND_NAMES[kind]
    raise InputError(f"{where}: {key} takes {name}, not {value!r}")


_KIND_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    NumWorkers: "a whole number or a range LOW:HIGH",
}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# What Python reads beyond it, `1_000` and other scripts' digits, and YAML, `010` for 8 and `1:30`
# for 90, would be a surprise.
_NUMBER = re.compile(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*", re.ASCII)


def _split(text: str) -> list[str]:
    """Return the items of a list as typed: ``16,32`` or ``[16, 32]``."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    return inner.split(",") if inner.strip() else []


def _num_workers(value: Any) -> NumWorkers:
    """Read ``2``, or ``1:4``; a range of one number is that number."""
    if isinstance(value, str) and ":" in value:
        value = value.split(":")
    if not isinstance(value, list | tuple):
        return int(_number(value, int))
    low, high = (_number(limit, int) for limit in value)
    return low if low == high else (low, high)


def _number(value: Any, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise ValueError
        value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
    if kind is float:
        return float(value)
    if value != int(value):
        raise ValueError
    return int(value)


def _check_range(key: "dataclasses.Field[Any]", value: Any) -> None:
    low, high, options = (key.metadata[name] for name in ("low", "high", "options"))
    if options and value not in options:
        raise InputError(f"{key.name}: {value!r} is not one; {suggest_name(str(value), options)}")
    if low is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        finite = isinstance(number, int) or math.isfinite(number)
        if not finite or number < low or (high is not None and number > high):
            limits = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
            raise InputError(f"{key.name}: {number!r} is out of range; it must be {limits}")
    if value == ():
        raise InputError(f"{key.name}: the list is empty; give one number for each convolution")
