"""Metrics that tasks report after an epoch, and objectives built from them."""

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

from raytune_yesno.errors import EveryTrialFails, InputError, MissingMetric, suggest_name
from raytune_yesno.numerals import MAX_NUMBER, MAX_WHOLE, read_number

Mode = Literal["min", "max"]
Format = Literal["number", "percent", "count"]


@dataclass(frozen=True)
class Metric:
    """A number that a task reports after every epoch.

    Example:
        >>> from raytune_yesno.metrics import Metric
        >>> accuracy = Metric("valid_accuracy", mode="max", format="percent", label="accuracy")
        >>> accuracy.show(0.875)
        '87.5%'
        >>> accuracy.cost({"valid_accuracy": 0.875})
        -0.875

    Attributes:
        name: its key in the epoch's record.
        mode: ``min`` if the smallest value is best, ``max`` if the largest is.
        format: ``number`` (four significant digits), ``percent`` (of a fraction) or ``count`` (a
            whole number).
        label: a short name, which ``--target`` and ``--metric`` also accept.
    """

    name: str
    mode: Mode = "min"
    format: Format = "number"
    label: str = ""

    def cost(self, record: Mapping[str, Any]) -> float:
        """Return the value as a cost to minimise; infinity if it is missing or not finite."""
        value = record.get(self.name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return math.inf
        return float(value) if self.mode == "min" else -float(value)

    def value_of(self, cost: float) -> float:
        """Return the value that :meth:`cost` made a cost of."""
        return cost if self.mode == "min" else -cost

    def show(self, value: Any) -> str:
        """Format a value for people; empty if there is none."""
        if not isinstance(value, int | float):
            return ""
        if self.format == "count" and math.isfinite(value):
            return f"{value:,.0f}"
        if self.format != "percent" and type(value) is int and abs(value) < 10**7:
            return str(value)
        return f"{value:.1%}" if self.format == "percent" else f"{value:.4g}"

    @property
    def title(self) -> str:
        """The label, or the name with spaces."""
        return self.label or self.name.replace("_", " ")


TRAIN_LOSS = Metric("train_loss", label="train loss")
"""The metric that the training loop itself reports, for every PyTorch task."""


COST_METRICS = (
    Metric("num_parameters", format="count", label="parameters"),
    Metric("train_seconds", label="train seconds"),
)
"""Costs that the engine can report for every PyTorch task; a task adds its ``cost_metrics``."""


@dataclass(frozen=True)
class Limit:
    """A bound that the result of a trial must keep.

    Example:
        >>> from raytune_yesno.metrics import Limit, Metric
        >>> limit = Limit(Metric("num_parameters"), "<=", 20000)
        >>> limit.excess({"num_parameters": 30000}), limit.excess({"num_parameters": 9000}) <= 0
        (0.5, True)

    Attributes:
        metric: the metric that is bounded.
        relation: ``<=`` or ``>=``.
        bound: the largest or the smallest value.
    """

    metric: Metric
    relation: Literal["<=", ">="]
    bound: float

    def excess(self, record: Mapping[str, Any]) -> float:
        """Return by how much of the bound a result exceeds it; at most 0 if it keeps it.

        The excess is relative to the size of the bound, or absolute for a bound of 0. It is
        infinite for a value that is missing or not finite.
        """
        cost = replace(self.metric, mode=self.mode).cost(record)
        return (cost - (self.bound if self.mode == "min" else -self.bound)) / (
            abs(self.bound) or 1.0
        )

    @property
    def mode(self) -> Mode:
        """The direction in which the limit is met."""
        return "min" if self.relation == "<=" else "max"

    def __str__(self) -> str:
        return f"{self.metric.name}{self.relation}{self.bound:.10g}"


def sum_excesses(excesses: Iterable[float]) -> float:
    """Return by how much limits are exceeded in all; 0 if they are kept."""
    return math.fsum(max(excess, 0.0) for excess in excesses)


_TIE_BREAK = 1e-7
"""What a tie-breaking metric adds to a rate at most: less than one item in a million."""

SMOOTH_EPOCHS = 3
"""Epochs over which the deciding metric is averaged before epochs are compared."""


def find_best_epoch(costs: Sequence[float], smooth: int = SMOOTH_EPOCHS) -> int | None:
    """Return the index of the best epoch, or None if no epoch has a finite value.

    Epochs are compared by the mean cost of ``smooth`` epochs, the epoch and those before it. This
    reduces the influence of chance on a small validation part. Of equal epochs, the later one wins.
    An epoch with too few epochs before it counts only if there is no other, so that an early,
    half-trained epoch cannot win for lack of smoothing. Epochs without a finite value are skipped.

    A new epoch becomes the best, or the best one stays; an earlier one never becomes the best
    later. It is therefore sufficient to keep the checkpoint of the epoch that is best so far.

    Args:
        costs: the cost of each epoch, in order, to be minimised.
        smooth: epochs in a mean; 1 compares single epochs.
    """
    found = [(index, cost) for index, cost in enumerate(costs) if math.isfinite(cost)]
    best, least = None, math.inf
    for last in range(max(0, min(smooth, len(found)) - 1), len(found)):
        recent = [cost for _, cost in found[max(0, last + 1 - smooth) : last + 1]]
        if (mean := math.fsum(recent) / len(recent)) <= least:
            best, least = found[last][0], mean
    return best


@dataclass(frozen=True)
class Objective:
    """The criterion by which epochs and trials are compared.

    Example:
        >>> from raytune_yesno.metrics import Metric, Objective
        >>> objective = Objective(Metric("accuracy", mode="max"), smooth=1)
        >>> objective.find_best([{"accuracy": 0.7}, {"accuracy": 0.9}, {"accuracy": 0.8}])
        1

    Attributes:
        metric: the metric that decides, the first objective: it chooses the best epoch of a trial.
        ties: other metrics, which break ties between trials, in order.
        smooth: epochs over which the metric is averaged before epochs are compared.
        others: further objectives. Trials are then compared by non-dominated sorting.
        limits: bounds that a result must keep.
    """

    metric: Metric
    ties: tuple[Metric, ...] = ()
    smooth: int = SMOOTH_EPOCHS
    others: tuple[Metric, ...] = ()
    limits: tuple[Limit, ...] = ()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics, the objectives first."""
        known = (*self.objectives, *self.ties, *(limit.metric for limit in self.limits))
        first: dict[str, Metric] = {}
        for metric in known:
            first.setdefault(metric.name, metric)
        return tuple(first.values())

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """The objectives, the deciding one first."""
        return (self.metric, *self.others)

    @property
    def required(self) -> tuple[Metric, ...]:
        """The metrics that every result must have: the objectives, then those with a limit."""
        return (*self.objectives, *(limit.metric for limit in self.limits))

    def costs(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return one cost for each objective; the first one is that of :meth:`cost`."""
        return (self.cost(record), *(metric.cost(record) for metric in self.others))

    def excesses(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return by how much a record exceeds each limit, see :meth:`Limit.excess`."""
        return tuple(limit.excess(record) for limit in self.limits)

    def excess(self, record: Mapping[str, Any]) -> float:
        """Return by how much a record exceeds the limits in all; 0 if it keeps them."""
        return sum_excesses(self.excesses(record))

    def is_feasible(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record keeps all limits."""
        return self.excess(record) == 0

    def score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a sort key of an epoch or trial; the smallest is best."""
        return tuple(metric.cost(record) for metric in (self.metric, *self.others, *self.ties))

    def cost(self, record: Mapping[str, Any]) -> float:
        """Return the one number that searches and schedulers minimise.

        A rate takes few values: early in training all trials may be at 100%, and a scheduler that
        sees only this number could tell none of them apart. So the first tie-breaking metric
        enters below the smallest difference between two rates.
        """
        cost = self.metric.cost(record)
        if self.metric.format == "percent" and self.ties and math.isfinite(cost):
            cost += _TIE_BREAK * math.atan(self.ties[0].cost(record)) * 2 / math.pi
        return cost

    def epoch_score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a sort key of a trial's epoch; the smallest is best.

        The key uses the value itself, not a mean: trials are ranked by the values that searches and
        schedulers receive. Of equal epochs, the later one is better.
        """
        return self.cost(record), -record["epoch"]

    def break_tie(self, records: Sequence[Mapping[str, Any]], epochs: int) -> tuple[float, ...]:
        """Return a sort key of points with equal means: the other metrics, then fewest epochs.

        Args:
            records: the best epochs of the trainings that decide.
            epochs: the epochs that a training of the point needs.
        """
        means = (
            math.fsum(metric.cost(record) for record in records) / len(records)
            for metric in self.ties
            if records
        )
        return *means, epochs

    def find_best(self, records: Sequence[Mapping[str, Any]]) -> int | None:
        """Return the index of the best epoch, see :func:`find_best_epoch`, or None.

        Args:
            records: the epochs of a run, in order.
        """
        return find_best_epoch([self.metric.cost(record) for record in records], self.smooth)

    def has_value(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has a finite value of the deciding metric."""
        return math.isfinite(self.metric.cost(record))

    def has_diverged(self, record: Mapping[str, Any]) -> bool:
        """Return whether an objective, or the training loss, is reported but not finite.

        A run ends with such an epoch. Other metrics may be undefined in some epochs.
        """
        deciding = (*self.objectives, TRAIN_LOSS)
        return any(
            metric.name in record and not math.isfinite(metric.cost(record)) for metric in deciding
        )

    def as_dicts(self) -> list[dict[str, str]]:
        """Return the metrics as plain mappings, for :meth:`from_dicts`."""
        return [asdict(metric) for metric in self.metrics]

    @classmethod
    def from_dicts(cls, plain: Iterable[Mapping[str, str]]) -> "Objective":
        """Build an objective from the result of :meth:`as_dicts`; unknown keys are ignored."""
        known = Metric.__dataclass_fields__.keys()
        first, *rest = (Metric(**{k: v for k, v in each.items() if k in known}) for each in plain)  # type: ignore[arg-type]
        return cls(first, tuple(rest))


def find_metric(name: str, known: Sequence[Metric], where: str = "metric") -> Metric:
    """Return the metric of a name or label.

    Args:
        name: the name or label.
        known: the metrics to search.
        where: the setting that contains the name, for the error message.

    Raises:
        InputError: the name is unknown; the message suggests the nearest one.
    """
    for metric in known:
        if name in (metric.name, metric.label):
            return metric
    names = [name for metric in known for name in (metric.name, metric.label) if name]
    raise InputError(f"{where}: unknown metric {name!r}; {suggest_name(name, names)}")


def build_objective(
    known: Sequence[Metric],
    name: str = "",
    mode: str = "",
    *,
    objectives: Sequence[str] = (),
    limits: Sequence[str] = (),
    costs: Sequence[Metric] = (),
) -> Objective:
    """Return the objective of a run.

    Args:
        known: the metrics that the task declares; the first is the default objective.
        name: another metric to use as the objective; empty for the first.
        mode: ``min`` or ``max`` to override the metric's own mode; empty to keep it.
        objectives: several metrics in place of ``name``, each ``NAME``, ``NAME:min`` or
            ``NAME:max``.
        limits: bounds, each ``NAME<=VALUE`` or ``NAME>=VALUE``.
        costs: metrics that are no objective, and break no ties, unless they are named.

    Raises:
        InputError: a metric, a mode or a limit is unknown or invalid.
    """
    if objectives and (name or mode):
        raise InputError("objectives: metric and mode are for one objective; omit them")
    everything = (*known, *costs)
    asked = [split_objective(each) for each in objectives] or [(name, mode)]
    found: list[Metric] = []
    for each, direction in asked:
        where = "objectives" if objectives else "metric"
        metric = find_metric(each, everything, where) if each else known[0]
        if direction not in ("", "min", "max"):
            raise InputError(f"mode: {direction!r} is not valid; choose min or max")
        if any(metric.name == other.name for other in found):
            raise InputError(f"objectives: {metric.name} is given twice")
        found.append(replace(metric, mode=direction) if direction else metric)  # type: ignore[arg-type]
    names = {metric.name for metric in found}
    ties = tuple(other for other in known if other.name not in names)
    bounds = tuple(read_limit(each, everything) for each in limits)
    return Objective(found[0], ties, others=tuple(found[1:]), limits=bounds)


def split_objective(text: str) -> tuple[str, str]:
    """Return the name and the mode of an objective, ``NAME`` or ``NAME:MODE``."""
    name, colon, mode = text.rpartition(":")
    return (name, mode) if colon and mode in ("min", "max") else (text, "")


_LIMIT = re.compile(r"\s*(?P<name>[^<>=]+?)\s*(?P<relation><=|>=)\s*(?P<bound>\S+)\s*")


def split_limit(text: str, where: str = "limits") -> tuple[str, str, float]:
    """Return the name, the relation and the bound of a limit.

    Example:
        >>> split_limit("num_parameters<=20000")
        ('num_parameters', '<=', 20000.0)

    Raises:
        InputError: the text is not ``NAME<=VALUE`` or ``NAME>=VALUE``.
    """
    found = _LIMIT.fullmatch(text)
    try:
        bound = float(read_number(found["bound"], float)) if found else math.nan
    except ValueError:
        bound = math.nan
    if not found or not math.isfinite(bound):
        raise InputError(
            f"{where}: {text!r} is not NAME<=VALUE or NAME>=VALUE, as in num_parameters<=20000"
        )
    return found["name"], found["relation"], bound


def read_limit(text: str, known: Sequence[Metric], where: str = "limits") -> Limit:
    """Read a limit on one of the known metrics.

    Raises:
        InputError: the text is no limit, or the metric is unknown.
    """
    name, relation, bound = split_limit(text, where)
    return Limit(find_metric(name, known, where), relation, bound)  # type: ignore[arg-type]


def read_metrics(reported: Any, epoch: int) -> dict[str, float]:
    """Return what a task reported after an epoch as plain numbers.

    Tensors and arrays of one element, numpy scalars and booleans become numbers. A key ``epoch``
    that repeats the number of the epoch is left out.

    Raises:
        EveryTrialFails: it is not a mapping, or a name is reserved.
        InputError: a name is not text, or a value is not a number.
    """
    if not isinstance(reported, Mapping):
        kind = type(reported).__name__
        raise EveryTrialFails(
            f"epoch {epoch}: expected a dict of metrics, got {kind} {reported!r:.60}"
        )
    metrics = {}
    for name, value in reported.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"epoch {epoch}: the name of a metric is text, not {name!r:.60}")
        number = as_number(value)
        if number is None:
            raise InputError(
                f"epoch {epoch}: metric {name!r} is {value!r:.60} ({type(value).__name__}); "
                "report a number"
            )
        if name == "epoch" and number == epoch:
            continue
        if name_metric(name) != name:
            raise EveryTrialFails(f"epoch {epoch}: metric {name!r} is a reserved name; rename it")
        metrics[name] = number
    return metrics


def as_number(value: Any) -> float | int | None:
    """Return a number as ``int`` or ``float``, NaN if it is masked; None if it is not one.

    It is infinite above ``MAX_NUMBER``, and a float above ``MAX_WHOLE``: a record holds no others.
    """
    if type(value) is float:
        return value if abs(value) <= MAX_NUMBER else value * math.inf
    if hasattr(value, "item"):  # numpy, torch, and others after them
        if getattr(value, "size", 1) != 1 and not callable(value.size):
            return None
        mask = getattr(value, "mask", False)
        if not callable(mask) and mask:  # of numpy, whose item() returns 0 for it
            return math.nan
        try:
            value = value.item()
        except (ValueError, RuntimeError, TypeError):  # more than one element
            return None
    if isinstance(value, int):  # also a boolean
        if abs(value) <= MAX_WHOLE:
            return int(value)
        return float(value) if abs(value) <= MAX_NUMBER else math.inf * (1 if value > 0 else -1)
    if isinstance(value, Real | Decimal):
        return as_number(float(value))
    return None


def check_reported(objective: "Objective", metrics: Mapping[str, Any], epoch: int) -> None:
    """Check that an epoch's metrics contain the objectives and those with a limit.

    Raises:
        MissingMetric: they do not, in the first epoch.
        InputError: they do not, in a later one.
    """
    kind = MissingMetric if epoch == 1 else InputError
    if not metrics:
        raise kind(f"epoch {epoch}: no metrics were reported")
    for metric in objective.required:
        if metric.name not in metrics:
            raise kind(
                f"epoch {epoch}: metric {metric.name!r} was not reported, only "
                f"{', '.join(metrics)}; {suggest_name(metric.name, metrics)}"
            )


RESERVED = frozenset(
    (
        *("event", "time", "study", "trial", "status", "epochs", "epoch", "best_epoch", "seconds"),
        *("attempt", "attempts", "error", "host", "node", "pid", "device", "began", "ended"),
        *("diverged", "point", "world_size"),
    )
)
"""Names that a metric cannot have: columns of tables, and fields of the event of an epoch."""

COST, COSTS, EXCESSES = "cost", "costs", "excesses"
"""Keys in reports to schedulers and searches: the first objective, always minimised; all of them;
and by how much each limit is exceeded."""

LEGACY_METRICS = (
    Metric("valid_loss", label="loss"),
    Metric("valid_wer", format="percent", label="wer"),
    TRAIN_LOSS,
)
"""The metrics of studies that were recorded before studies declared them."""

LEGACY_OBJECTIVE = Objective(LEGACY_METRICS[0], LEGACY_METRICS[1:], smooth=1)
"""Their objective: the smallest loss of a single epoch."""

METRIC_PREFIX = "metric."


@functools.lru_cache(maxsize=10_000)
def name_metric(name: str) -> str:
    """Return the column of a metric: its name, or ``metric.NAME`` if NAME is reserved."""
    is_reserved = name in RESERVED or name.startswith(("config.", METRIC_PREFIX))
    return METRIC_PREFIX + name if is_reserved else name


# Words that do not change the direction of a metric.
_QUALIFIERS = frozenset(
    (
        *("train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev"),
        *("mean", "avg", "average", "final"),
    )
)
_MINIMIZED = frozenset(
    (
        *("loss", "error", "error_rate", "mse", "rmse", "mae", "mape", "nll", "cross_entropy"),
        *("perplexity", "wer", "cer", "squared_error", "absolute_error", "log_loss", "logloss"),
    )
)
_MAXIMIZED = frozenset(
    (
        *("acc", "accuracy", "balanced_accuracy", "auc", "auroc", "roc_auc", "f1", "f1_score"),
        *("iou", "miou", "bleu", "reward", "episode_reward", "episode_return"),
    )
)


def known_mode(metric: str) -> str | None:
    """Return the direction that a metric's name implies; None if it is ambiguous.

    Qualifiers, as in ``val_loss`` or ``episode_reward_mean``, are ignored. The rest must match a
    known name exactly: ``brier_score_loss``, ``neg_log_loss`` and ``inaccuracy`` do not.

    Example:
        >>> known_mode("val_loss"), known_mode("mean_accuracy"), known_mode("score")
        ('min', 'max', None)
    """
    name = metric.removeprefix(METRIC_PREFIX).rpartition("/")[2]
    words = re.split(r"[\s_.-]+", name.lower())
    while words and words[0] in _QUALIFIERS:
        words.pop(0)
    while words and words[-1] in _QUALIFIERS:
        words.pop()
    core = "_".join(words)
    return "min" if core in _MINIMIZED else "max" if core in _MAXIMIZED else None
