"""Metrics that tasks report after an epoch, and objectives built from them.

- :mod:`~raytune_yesno.metrics.metric`: a metric and how its values are shown.
- :mod:`~raytune_yesno.metrics.objective`: how epochs and trials are compared, and limits.
- :mod:`~raytune_yesno.metrics.parsing`: objectives and limits, read from settings.
- :mod:`~raytune_yesno.metrics.reported`: the values that a task reports.
- :mod:`~raytune_yesno.metrics.names`: reserved names, and directions that names imply.
"""

from raytune_yesno.metrics.metric import COST_METRICS, TRAIN_LOSS, Format, Metric, Mode
from raytune_yesno.metrics.names import METRIC_PREFIX, RESERVED, known_mode, name_metric
from raytune_yesno.metrics.objective import (
    LEGACY_METRICS,
    LEGACY_OBJECTIVE,
    SMOOTH_EPOCHS,
    Limit,
    Objective,
    find_best_epoch,
    sum_excesses,
)
from raytune_yesno.metrics.parsing import (
    build_objective,
    find_metric,
    read_limit,
    split_limit,
    split_objective,
)
from raytune_yesno.metrics.reported import (
    COST,
    COSTS,
    EXCESSES,
    as_number,
    check_reported,
    read_metrics,
)

__all__ = [
    "COST",
    "COSTS",
    "COST_METRICS",
    "EXCESSES",
    "LEGACY_METRICS",
    "LEGACY_OBJECTIVE",
    "METRIC_PREFIX",
    "RESERVED",
    "SMOOTH_EPOCHS",
    "TRAIN_LOSS",
    "Format",
    "Limit",
    "Metric",
    "Mode",
    "Objective",
    "as_number",
    "build_objective",
    "check_reported",
    "find_best_epoch",
    "find_metric",
    "known_mode",
    "name_metric",
    "read_limit",
    "read_metrics",
    "split_limit",
    "split_objective",
    "sum_excesses",
]
