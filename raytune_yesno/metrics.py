"""Metrics: what a task reports after an epoch, which way is better, how people read it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from raytune_yesno.errors import InputError, suggest_name

Mode = Literal["min", "max"]
Format = Literal["number", "percent"]


@dataclass(frozen=True)
class Metric:
    """One number that a task reports after every epoch.

    Attributes:
        name: its key in the epoch's record.
        mode: whether the smallest or the largest value is best.
        format: how people read it: ``number`` (four digits) or ``percent`` (of a fraction).
        label: a short name, which ``--target`` and ``--metric`` also accept.
    """

    name: str
    mode: Mode = "min"
    format: Format = "number"
    label: str = ""

    def cost(self, record: Mapping[str, Any]) -> float:
        """Return the value as a cost: less is better; infinity if it is missing or not finite."""
        value = record.get(self.name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return math.inf
        return float(value) if self.mode == "min" else -float(value)

    def show(self, value: Any) -> str:
        """Return a value for people; an empty text if there is none."""
        if not isinstance(value, int | float):
            return ""
        return f"{value:.1%}" if self.format == "percent" else f"{value:.4g}"

    @property
    def title(self) -> str:
        """The label, or the name in words."""
        return self.label or self.name.replace("_", " ")


TRAIN_LOSS = Metric("train_loss", label="train loss")
"""What the training loop itself reports, for every PyTorch task."""


SMOOTH_EPOCHS = 3
"""Epochs over which the deciding metric is averaged before epochs are compared."""


def find_best_epoch(costs: Sequence[float], smooth: int = SMOOTH_EPOCHS) -> int | None:
    """Return the index of the best epoch, or None where none has a finite value.

    Epochs are compared by the mean over an epoch and those before it, ``smooth`` in all, so that
    luck on a small validation part decides less; of equal epochs the later one wins. An epoch with
    fewer before it counts only if there is no other, so an early, half-trained epoch never wins
    because it was not smoothed. Epochs without a finite value are skipped.

    The choice moves forward only: a further epoch becomes the best, or the best one stays. So it is
    enough to keep the checkpoint of an epoch that is the best when it ends.

    Args:
        costs: of each epoch, in order; less is better.
        smooth: epochs in a mean; 1 compares single epochs.
    """
    found = [(index, cost) for index, cost in enumerate(costs) if math.isfinite(cost)]
    best, least = None, math.inf
    for place in range(max(0, min(smooth, len(found)) - 1), len(found)):
        recent = [cost for _, cost in found[max(0, place + 1 - smooth) : place + 1]]
        if (mean := math.fsum(recent) / len(recent)) <= least:
            best, least = found[place][0], mean
    return best


@dataclass(frozen=True)
class Objective:
    """What a run is judged by.

    Attributes:
        metric: the metric that decides.
        ties: other metrics, which break ties between trials, in order.
        smooth: epochs over which the metric is averaged before epochs are compared.
    """

    metric: Metric
    ties: tuple[Metric, ...] = ()
    smooth: int = SMOOTH_EPOCHS

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics, the one that decides first."""
        return (self.metric, *self.ties)

    def score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a key that orders epochs or trials: the least is best."""
        return tuple(metric.cost(record) for metric in self.metrics)

    def epoch_score(self, record: Mapping[str, Any]) -> tuple[float, ...]:
        """Return a key that orders the epochs of a trial: the least is best.

        It goes by the value itself, which searches and schedulers were told, and not by a mean:
        what a trial is ranked by must be what they saw. Of equal epochs the later one is better.
        """
        return self.metric.cost(record), -record["epoch"]

    def find_best(self, records: Sequence[Mapping[str, Any]]) -> int | None:
        """Return the position of the best epoch, by :func:`find_best_epoch`; None without any.

        Args:
            records: the epochs of a run, in order.
        """
        return find_best_epoch([self.metric.cost(record) for record in records], self.smooth)

    def reached(self, record: Mapping[str, Any]) -> bool:
        """Whether a record holds a finite value of the deciding metric."""
        return math.isfinite(self.metric.cost(record))

    def as_dicts(self) -> list[dict[str, str]]:
        """Return plain mappings, which :meth:`from_dicts` reads."""
        return [asdict(metric) for metric in self.metrics]

    @classmethod
    def from_dicts(cls, plain: Iterable[Mapping[str, str]]) -> "Objective":
        """Read what :meth:`as_dicts` returned; keys of later versions are ignored."""
        known = Metric.__dataclass_fields__.keys()
        first, *rest = (Metric(**{k: v for k, v in each.items() if k in known}) for each in plain)  # type: ignore[arg-type]
        return cls(first, tuple(rest))


def find_metric(name: str, known: Sequence[Metric], where: str = "metric") -> Metric:
    """Return the metric that has a name or label.

    Raises:
        InputError: none has; the nearest name is suggested.
    """
    for metric in known:
        if name in (metric.name, metric.label):
            return metric
    names = [name for metric in known for name in (metric.name, metric.label) if name]
    raise InputError(f"{where}: unknown metric {name!r}; {suggest_name(name, names)}")


def build_objective(known: Sequence[Metric], name: str = "", mode: str = "") -> Objective:
    """Return the objective of a run.

    Args:
        known: the metrics that the task declares; the first is its own objective.
        name: the metric to judge by instead; empty for the first.
        mode: ``min`` or ``max`` instead of the metric's own direction; empty for that.

    Raises:
        InputError: no metric has the name, or the mode is unknown.
    """
    metric = find_metric(name, known) if name else known[0]
    if mode not in ("", "min", "max"):
        raise InputError(f"mode: {mode!r} is neither min nor max")
    ties = tuple(other for other in known if other.name != metric.name)
    return Objective(replace(metric, mode=mode) if mode else metric, ties)  # type: ignore[arg-type]


COST = "cost"
"""The key under which schedulers and searches see a trial's objective: always minimised."""

LEGACY_METRICS = (
    Metric("valid_loss", label="loss"),
    Metric("valid_wer", format="percent", label="wer"),
    TRAIN_LOSS,
)
"""The metrics of studies that were recorded before studies declared them."""

LEGACY_OBJECTIVE = Objective(LEGACY_METRICS[0], LEGACY_METRICS[1:], smooth=1)
"""What these were judged by: the least loss of any single epoch."""
