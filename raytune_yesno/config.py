"""The configuration of a run: one frozen, validated object.

A config has the keys of every run (:class:`Config`) and those of its task, which declares them in a
dataclass ``Settings``. :func:`build_config` merges all layers of changes: the defaults, a YAML
file, ``--set key=value``, and a trial's point. It runs on the driver, before anything starts.

The module has more than 300 lines of code because keys, tasks and the classes made of them refer to
each other.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.metrics import COST_METRICS, Metric, Objective, build_objective
from raytune_yesno.space import parse_space
from raytune_yesno.task_declaration import TaskDeclaration, read_declaration
from raytune_yesno.task_registry import TASKS
from raytune_yesno.user_code import Code
from raytune_yesno.values import check_range, convert


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

    Example:
        >>> from dataclasses import dataclass
        >>> from raytune_yesno.config import setting
        >>> @dataclass(frozen=True)
        ... class Settings:
        ...     hidden_units: int = setting(64, "units of the hidden layer", low=1, inherited=True)
        ...     dropout: float = setting(0.1, "dropout before the last layer", low=0.0, high=0.9)
        >>> Settings().hidden_units
        64

    Args:
        default: the default value; a tuple stands for a list.
        help: one line, for ``train --help-config``.
        low: smallest value of a number, or of each number of a list.
        high: largest value, in the same way.
        options: the valid values of a text.
        shared: whether all trials of a study have the same value; a search space cannot vary it.
        coupled: whether a valid value can be invalid in combination with another coupled key; a
            search space is then checked at all combinations of these keys.
        on_resume: whether the value may change when a run is resumed.
        inherited: whether trained weights or the optimiser's state depend on the value. A copy made
            by population-based training then keeps it.
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
class EngineConfig:
    """The keys of every run. A task adds its own, see :class:`TaskDeclaration`."""

    task: str = setting("yesno", "what to train: yesno, sine, or your own", shared=True)
    metric: str = setting("", "metric to optimise; empty for the task's first", shared=True)
    mode: str = setting(
        "", "min or max: which value is best; empty for the metric's own", shared=True
    )
    objectives: tuple[str, ...] = setting(
        (),
        "several metrics to optimise in place of one; each NAME, NAME:min or NAME:max",
        shared=True,
    )
    limits: tuple[str, ...] = setting(
        (), "bounds that a result must keep, such as num_parameters<=20000", shared=True
    )
    epochs: int = setting(
        16,
        "passes over the training data",
        low=1,
        high=1_000_000,
        shared=True,
        on_resume=True,
    )
    num_workers: int | tuple[int, int] = setting(
        1,
        "data-parallel workers; 0 trains in this process, 1:4 on as many as are available",
        low=0,
        high=4096,
        shared=True,
        on_resume=True,
    )
    use_gpu: bool = setting(False, "give every worker a GPU", shared=True, on_resume=True)
    gpus_per_worker: float = setting(
        1.0,
        "GPUs that each worker has: a whole number, or a share of one; trials can share one",
        low=0.01,
        high=64.0,
        shared=True,
        on_resume=True,
    )
    cpus_per_worker: float = setting(
        1.0,
        "CPU cores that each worker reserves",
        low=0.01,
        high=4096.0,
        shared=True,
        on_resume=True,
    )
    memory_per_worker: float = setting(
        0.0,
        "gigabytes of memory that each worker reserves; 0 for no reservation",
        low=0.0,
        high=1e6,
        shared=True,
        on_resume=True,
    )
    seed: int = setting(0, "random seed", low=0, high=2**31 - 1, shared=True)

    def __post_init__(self) -> None:
        for key in dataclasses.fields(self):
            check_range(key, getattr(self, key.name))
        if not self.min_workers <= self.max_workers or (self.is_elastic and not self.min_workers):
            raise InputError(
                f"num_workers: '{self.min_workers}:{self.max_workers}' is not a valid range; write "
                "LOW:HIGH with 1 <= LOW <= HIGH"
            )
        if self.use_gpu and self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise InputError(
                f"gpus_per_worker: {self.gpus_per_worker} is not possible; give a worker a share "
                "of one GPU, such as 0.5, or whole ones, such as 2"
            )
        self.check()
        _ = self.objective  # raises if a name is unknown

    def check(self) -> None:
        """Check combinations of keys; a task's ``Settings`` may override this.

        Raises:
            InputError: a combination is invalid.
        """

    def __reduce__(self) -> tuple[Any, ...]:
        function = self.declaration.function
        # What a worker sends goes to its driver, whose own code must not be replaced by a copy.
        code = None if self.task in TASKS.received else TASKS.pack(self.task)
        return _rebuild, (self.as_dict(), code, function.declared if function else None)

    @property
    def declaration(self) -> TaskDeclaration:
        """What the task declares. A config that :func:`build_config` made keeps its own."""
        return find_task(self.task)

    @property
    def objective(self) -> Objective:
        """The objective by which epochs and trials are compared."""
        task = self.declaration
        return build_objective(
            task.metrics,
            self.metric,
            self.mode,
            objectives=self.objectives,
            limits=self.limits,
            costs=(*task.cost_metrics, *COST_METRICS),
        )

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers follows the resources of the cluster."""
        return isinstance(self.num_workers, tuple)

    @property
    def min_workers(self) -> int:
        """The minimum number of workers."""
        return self.num_workers[0] if isinstance(self.num_workers, tuple) else self.num_workers

    @property
    def max_workers(self) -> int:
        """The maximum number of workers."""
        return self.num_workers[1] if isinstance(self.num_workers, tuple) else self.num_workers

    def as_dict(self) -> dict[str, Any]:
        """Return a plain, JSON-ready mapping that :func:`build_config` accepts."""
        plain = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }
        if self.is_elastic:
            plain["num_workers"] = f"{self.min_workers}:{self.max_workers}"
        return plain


@dataclass(frozen=True, kw_only=True)
class Config(EngineConfig):
    """The keys of every PyTorch task; a task adds those of its ``Settings``."""

    batch_size: int = setting(
        2, "examples in a step, summed over all workers", low=1, high=1_000_000
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
        0.2, "share of training during which the learning rate rises from zero", low=0.0, high=1.0
    )
    lr_decay: float = setting(
        1.0,
        "share by which the learning rate falls until the end, as a half cosine; 0 for none",
        low=0.0,
        high=1.0,
    )
    clip_norm: float = setting(5.0, "maximum gradient norm; 0 for no clipping", low=0.0)
    dtype: str = setting(
        "float32",
        "floating-point type of the arithmetic; bfloat16: of products alone (autocast)",
        options=("float32", "bfloat16", "float64"),
    )

    @property
    def stored_dtype(self) -> str:
        """The type of weights and data, ``float32`` or ``float64``."""
        return "float32" if self.dtype == "bfloat16" else self.dtype


_FUNCTION = "raytune_yesno.tasks.function:FunctionTask"
_found: dict[str, TaskDeclaration] = {}
_in_studies: dict[str, dict[str, TaskDeclaration]] = {}
"""Functions as studies declare them. Configs of equal declarations have one class, so that they can
be compared."""


def register_task(name: str, value: Any) -> None:
    """Register a task, or the parts of a function, that the user gives in Python."""
    TASKS.put(name, value)
    _found.pop(name, None)
    _in_studies.pop(name, None)


def find_task(name: str) -> TaskDeclaration:
    """Return what a task declares. A function is wrapped, see ``raytune_yesno.tasks.function``.

    Raises:
        InputError: the name is not text, the task is unknown, or a part of it is missing, misspelt
            or invalid.
    """
    if not isinstance(name, str):  # of a file of the user's
        raise InputError(f"task takes text, not {name!r}")
    if name not in _found:
        found = TASKS.find(name)
        if isinstance(found, tuple) or (callable(found) and not isinstance(found, type)):
            found = resolve_name(_FUNCTION)(found, name)
        elif not callable(found):
            raise InputError(f"{name}: it is neither a function nor a class")
        _found[name] = read_declaration(name, found, Config, is_own=name not in TASKS)
    return _found[name]


def declare_task(
    name: str,
    *,
    space: Mapping[str, Any],
    config: Mapping[str, Any],
    metrics: Sequence[Metric] = (),
) -> TaskDeclaration:
    """Return what a task declares in a study, for :func:`build_config`.

    A function declares no settings: they are those of its study. A class declares its own.

    Args:
        name: the name of the task.
        space: the search space.
        config: the keys that the user gives.
        metrics: the metrics of the study, the objective first.

    Raises:
        InputError: the task is unknown, or a key or a metric is invalid.
    """
    task = find_task(name)
    if not task.function:
        return task
    told, known = task.function.declare(space, config, metrics), _in_studies.setdefault(name, {})
    key = repr(told.declared)
    if key not in known:
        known[key] = read_declaration(name, told, Config)
    return known[key]


def _rebuild(
    plain: Mapping[str, Any], code: Code | None, declared: Mapping[str, Any] | None
) -> EngineConfig:
    """Unpickle a config; a task that the driver sends to its own workers is trusted there."""
    if code:
        TASKS.unpack(code)
    TASKS.trust(plain["task"])
    if not declared:
        return build_config(plain)
    task = declare_task(
        plain["task"],
        space=parse_space(declared["space"], exact=True) if declared["space"] else {},
        config=declared["config"],
        metrics=[Metric(**metric) for metric in declared["metrics"]],
    )
    return build_config(plain, declaration=task)


def build_config(
    *layers: Mapping[str, Any] | EngineConfig,
    declaration: TaskDeclaration | None = None,
    where: str = "config",
    searched: Collection[str] = (),
) -> Config:
    """Merge layers of changes with the defaults of their task and model.

    Example:
        >>> from raytune_yesno.config import build_config
        >>> config = build_config({"task": "sine", "epochs": 5}, {"epochs": "8"})
        >>> config.epochs, config.optimizer
        (8, 'sgd')

    Args:
        layers: mappings from key to value, and configs; later ones override earlier ones. Values
            may be text, as typed on a command line.
        declaration: what the task declares in a study, see :func:`declare_task`. Defaults to that
            of a config among the layers, else to that of the task that they name.
        where: the source of the layers, for error messages.
        searched: the names of a search space, which imply others as keys do: ``channels`` a model.

    Raises:
        InputError: a key is unknown (the message suggests the nearest one), or a value is invalid.
    """
    plain = [each.as_dict() if isinstance(each, EngineConfig) else each for each in layers]
    name = next((str(layer["task"]) for layer in reversed(plain) if "task" in layer), Config.task)
    configs = (each for each in layers if isinstance(each, EngineConfig) and each.task == name)
    if declaration is None and (config := next(configs, None)):
        declaration = config.declaration
    task = declaration or _find_task(name, where)
    changes: dict[str, Any] = {}
    for layer in plain:
        changes |= _convert_keys(task, layer, where)
    if task.imply:
        changes = {**task.imply({**dict.fromkeys(searched), **changes}), **changes}
    defaults = dict(task.defaults)
    if task.model_defaults:
        usual = task.config_class.__dataclass_fields__["model"].default
        defaults |= task.model_defaults.get(changes.get("model", usual), {})
    defaults = _convert_keys(task, defaults, f"defaults of task {name}")
    try:
        built: Config = task.config_class(**{**defaults, **changes})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return built


def read_layer(layer: Mapping[str, Any], task: TaskDeclaration, where: str) -> dict[str, Any]:
    """Return a layer of changes in the types of a task's keys.

    Each value is checked alone. Whether values fit each other is known when all layers are merged.

    Raises:
        InputError: a key is unknown, or a value has another type or is out of range.
    """
    read = _convert_keys(task, layer, where)
    try:
        for key, value in read.items():
            check_range(task.config_class.__dataclass_fields__[key], value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return read


def _find_task(name: str, where: str) -> TaskDeclaration:
    try:
        return find_task(name)
    except InputError as error:
        raise InputError(f"{where}: task: {error}") from None


def _convert_keys(task: TaskDeclaration, layer: Mapping[str, Any], where: str) -> dict[str, Any]:
    known, types = task.config_class.__dataclass_fields__, task.key_types
    for key in layer:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; {suggest_name(str(key), known)}")
    return {key: convert(key, types[key], value, where) for key, value in layer.items()}


def restore_config(record: Mapping[str, Any], where: str) -> Config:
    """Return the config of a run that was recorded. A function has the keys that are recorded.

    Args:
        record: the keys, perhaps of an older version.
        where: the record, for error messages.

    Raises:
        InputError: the task is unknown, or a key or its value is invalid in this version.
    """
    recorded = upgrade_config(record)
    try:
        task = declare_task(str(recorded.get("task", Config.task)), space={}, config=recorded)
    except InputError as error:
        raise InputError(f"{where}: task: {error}") from None
    return build_config(recorded, declaration=task, where=where)


def upgrade_config(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config recorded by an older version as a layer for :func:`build_config`.

    Keys that the task has removed since (its ``retired``) are dropped. Keys that it has added since
    get the value that reproduces the former behaviour (its ``legacy``).
    """
    try:
        task = find_task(str(record.get("task", Config.task)))
    except InputError:
        return dict(record)
    kept = {key: value for key, value in record.items() if key not in task.retired}
    return {**task.legacy, **kept}
