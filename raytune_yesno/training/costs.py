"""What a model costs beside its errors: size, arithmetic, time.

Nothing is measured unless the objective of the run, or one of its limits, needs it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from raytune_yesno.config import EngineConfig
from raytune_yesno.metrics import read_metrics
from raytune_yesno.tasks.task import Data, build_task

NUM_PARAMETERS, TRAIN_SECONDS = "num_parameters", "train_seconds"


class Costs:
    """The costs of one run.

    Args:
        config: the config of the run.
        data: the data of the task.
    """

    def __init__(self, config: EngineConfig, data: Data | None) -> None:
        task, names = config.declaration, _list_needed(config)
        self.fixed: dict[str, float] = {}
        self.is_timed = TRAIN_SECONDS in names
        if names - {TRAIN_SECONDS}:
            self.fixed = find_costs(config, data)
            if task.measure_costs and names - {TRAIN_SECONDS, *self.fixed}:
                self.fixed |= read_metrics(task.measure_costs(config, data), 0)

    def after(self, history: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, float]:
        """Return the costs after an epoch.

        Args:
            history: the epochs before it.
            seconds: the duration of the epoch.
        """
        if not self.is_timed:
            return self.fixed
        earlier = sum(epoch["seconds"] for epoch in history)
        return {**self.fixed, TRAIN_SECONDS: earlier + seconds}


def _list_needed(config: EngineConfig) -> set[str]:
    """Return the metrics that a run needs beside those that its task reports itself.

    A study declares whatever metric it names for a function, which may be one of its costs.
    """
    task = config.declaration
    reported = task.function.own_metrics if task.function else task.metrics
    needed = {metric.name for metric in config.objective.required}
    return needed - {metric.name for metric in reported}


def find_costs(config: EngineConfig, data: Data | None) -> dict[str, float]:
    """Return the costs of a config that are known without training.

    These are what the task's ``costs(config, data)`` returns. A PyTorch task without it has the
    number of parameters of its model, and one with it if the config needs that number and it is
    missing. The state of torch's generators is kept.

    Args:
        config: the config.
        data: the data of the task.
    """
    task = config.declaration
    with torch.random.fork_rng():
        found = read_metrics(task.costs(config, data), 0) if task.costs else {}
        is_complete = task.costs and NUM_PARAMETERS not in _list_needed(config) - found.keys()
        if is_complete or not task.trains_model:
            return found
        model = build_task(config, data, torch.device("cpu")).build_model()  # type: ignore[arg-type]
        return {NUM_PARAMETERS: sum(each.numel() for each in model.parameters()), **found}
