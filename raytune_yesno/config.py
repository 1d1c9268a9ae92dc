"""What a run is: one frozen, checked configuration.

A config has the keys of every run (:class:`Config`) and those of its task, which declares them as a
dataclass ``Settings``. Layers of changes (the defaults, a YAML file, ``--set key=value``, a trial's
point) are merged by :func:`build_config` and nowhere else, on the driver, before anything starts.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin, get_type_hints

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.metrics import Objective, build_objective
from raytune_yesno.numerals import read_number
from raytune_yesno.registry import Registry

NumWorkers = int | tuple[int, int]  # or the fewest and the most of an elastic run


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    options: tuple[str, ...] = (),
    shared: bool = False,
    coupled: bool = False,
    on_resume: bool = False,
    inherited: bool = False,
) -> Any:
    """Declare one key of a config, as a field of a dataclass.

    Args:
        default: its value where nothing else is said; a tuple stands for a list.
        help: one line, for ``train --help-config``.
        low, high: the closed range of a number, or of each number of a list.
        options: the values of a word.
        shared: the same for all trials of a study; a search space cannot vary it.
        coupled: a value can be wrong together with that of another coupled key, where each is
            right alone; a search space is then checked at all their combinations.
        on_resume: may change when a run is resumed.
        inherited: trained weights or the optimiser's state depend on it, so a copy that
            population-based training makes keeps the value.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "options": options,
        "shared": shared,
        "coupled": coupled,
        "on_resume": on_resume,
        "inherited": inherited,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every run has; a task adds the keys of its ``Settings`` (see :func:`config_class`)."""

    task: str = setting("yesno", "what is learnt: yesno, sine, or your own", shared=True)
    metric: str = setting("", "metric that decides; empty for the task's first", shared=True)
    mode: str = setting(
        "", "whether its min or max is best; empty for the metric's own", shared=True
    )
    epochs: int = setting(
        16,
        "passes over the training part",
        low=1,
        high=1_000_000,
        shared=True,
        on_resume=True,
    )
    batch_size: int = setting(
        2, "examples in a step, over all workers together", low=1, high=1_000_000
    )

    optimizer: str = setting(
        "adamw",
        "optimisation algorithm",
        options=("sgd", "adam", "adamw", "rmsprop"),
        inherited=True,
    )
    learning_rate: float = setting(2e-3, "peak learning rate", low=0.0)
    momentum: float = setting(
        0.9, "momentum of SGD and RMSprop, first-moment decay of Adam", low=0.0, high=0.999
    )
    weight_decay: float = setting(1e-2, "weight decay (decoupled for adamw)", low=0.0)
    warmup: float = setting(
        0.2, "share of training in which the learning rate rises from zero", low=0.0, high=1.0
    )
    lr_decay: float = setting(
        1.0,
        "share of the learning rate gone by the end, along a half cosine; 0 keeps it",
        low=0.0,
        high=1.0,
    )
    clip_norm: float = setting(5.0, "largest gradient norm; 0 clips nothing", low=0.0)

    num_workers: int | tuple[int, int] = setting(
        1,
        "data-parallel workers; 0 runs in the calling process, 1:4 on as many as there are",
        low=0,
        high=4096,
        shared=True,
        on_resume=True,
    )
    use_gpu: bool = setting(False, "give every worker a GPU", shared=True, on_resume=True)
    gpus_per_worker: float = setting(
        1.0,
        "how much of a GPU that is; trials can share one",
        low=0.01,
        high=64.0,
        shared=True,
        on_resume=True,
    )
    dtype: str = setting(
        "float32", "floating-point type of the arithmetic", options=("float32", "float64")
    )
    seed: int = setting(0, "seed of everything random", low=0, high=2**31 - 1, shared=True)

    def __post_init__(self) -> None:
        for key in dataclasses.fields(self):
            _check_range(key, getattr(self, key.name))
        if not self.min_workers <= self.max_workers or (self.is_elastic and not self.min_workers):
            raise InputError(
                f"num_workers: '{self.min_workers}:{self.max_workers}' is no range; LOW:HIGH "
                "begins at 1 or more and does not fall"
            )
        self.check()
        build_objective(find_task(self.task).metrics, self.metric, self.mode)

    def check(self) -> None:
        """Raise InputError if keys are wrong together; a task's ``Settings`` may define it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.as_dict(),)

    @property
    def objective(self) -> Objective:
        """What epochs and trials are judged by."""
        return build_objective(find_task(self.task).metrics, self.metric, self.mode)

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
        plain = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }
        if self.is_elastic:
            plain["num_workers"] = f"{self.min_workers}:{self.max_workers}"
        return plain


TASKS = Registry(
    "task",
    {
        "yesno": "raytune_yesno.tasks.speech.declaration:SpeechTask",
        "sine": "raytune_yesno.tasks.sine:Sine",
    },
)


def find_task(name: str) -> Any:
    """Return the class of a task, see :class:`raytune_yesno.tasks.task.Task`.

    Raises:
        InputError: there is no such task.
    """
    return TASKS.find(name)


_classes: dict[str, type[Config]] = {}


def config_class(task: str) -> type[Config]:
    """Return the class of a task's configs: the keys of every run, and those of its ``Settings``.

    Raises:
        InputError: there is no such task.
    """
    if task not in _classes:
        own = getattr(find_task(task), "Settings", None)
        bases = (own, Config) if own else (Config,)
        made = type("Config", bases, {"__annotations__": {}, "__module__": __name__})
        _classes[task] = dataclass(frozen=True, kw_only=True)(made)
    return _classes[task]


def _rebuild(plain: Mapping[str, Any]) -> Config:
    """Unpickle a config; what a driver sends to its workers names code that may run there."""
    TASKS.trust(plain["task"])
    return build_config(plain)


def build_config(*layers: Mapping[str, Any], where: str = "config") -> Config:
    """Merge layers of changes, later ones winning, over the defaults of their task and model.

    Args:
        layers: mappings from key to value; values may be strings as typed on a command line.
        where: what the layers came from, for error messages.

    Raises:
        InputError: a key is unknown (the nearest right one is named) or a value is out of range.
    """
    name = next((str(layer["task"]) for layer in reversed(layers) if "task" in layer), Config.task)
    try:
        task = find_task(name)
        made = config_class(name)
    except InputError as error:
        raise InputError(f"{where}: task: {error}") from None
    known, types = made.__dataclass_fields__, _types(made)
    changes: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key not in known:
                raise InputError(f"{where}: unknown key {key!r}; {suggest_name(str(key), known)}")
            changes[key] = _convert(key, types[key], value, where)
    if hasattr(task, "imply"):
        changes = {**task.imply(changes), **changes}
    defaults: dict[str, Any] = dict(getattr(task, "defaults", {}))
    by_model: Mapping[str, Mapping[str, Any]] = getattr(task, "model_defaults", {})
    if by_model:
        defaults |= by_model.get(changes.get("model", known["model"].default), {})
    try:
        return made(**{**defaults, **changes})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def upgrade_config(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded config as a layer for :func:`build_config`.

    Keys that the task had once and has no more (its ``retired``) are dropped, and keys that came
    later get the value that stands for how it was before (its ``legacy``).
    """
    try:
        task = find_task(str(record.get("task", Config.task)))
    except InputError:
        return dict(record)
    retired: Collection[str] = getattr(task, "retired", ())
    kept = {key: value for key, value in record.items() if key not in retired}
    return {**getattr(task, "legacy", {}), **kept}


_known_types: dict[type[Config], dict[str, Any]] = {}


def _types(made: type[Config]) -> dict[str, Any]:
    if made not in _known_types:
        _known_types[made] = get_type_hints(made)
    return _known_types[made]


def parse_assignments(assignments: list[str], where: str = "--set") -> dict[str, Any]:
    """Turn ``key=value`` strings into a layer for :func:`build_config`."""
    layer: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise InputError(f"{where} {assignment!r}: expected key=value")
        layer[key.strip()] = value.strip()
    return layer


def config_help(task: str = Config.task) -> str:
    """Return one line a key of a task's config: name, meaning, options, default."""
    lines = []
    usual = build_config({"task": task})
    for key in dataclasses.fields(usual):
        value = getattr(usual, key.name)
        default = ",".join(map(str, value)) if isinstance(value, tuple) else value
        options = " | ".join(key.metadata["options"])
        lines.append(
            f"  {key.name:<14} {key.metadata['help']}{f' ({options})' * bool(options)} [{default}]"
        )
    return "\n".join(lines)


def _convert(key: str, kind: Any, value: Any, where: str) -> Any:
    """Read a value as the key's type; text holds decimal numbers, `true` or `false`, or a list."""
    try:
        if kind == NumWorkers:
            return _num_workers(value)
        if get_origin(kind) is tuple:
            items = _split(value) if isinstance(value, str) else value
            items = items if isinstance(items, list | tuple) else [items]
            return tuple(read_number(item, get_args(kind)[0]) for item in items)
        if kind in (int, float):
            return read_number(value, kind)
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
        return read_number(value, int)
    low, high = (read_number(limit, int) for limit in value)
    return low if low == high else (low, high)


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
        raise InputError(f"{key.name}: the list is empty; give at least one number")
