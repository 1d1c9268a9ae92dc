"""A metric that a task reports after every epoch, and those that every PyTorch task has."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
