"""What a training run is made of, wherever it runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.config import Config
from raytune_yesno.tasks.task import Data, open_records
from raytune_yesno.training.loop import Record, find_device
from raytune_yesno.training.resume import count_epochs


@dataclass(frozen=True)
class RunPayload:
    """Everything a worker needs, sent as one object.

    Attributes:
        config: hyperparameters and settings of the run.
        data: the task's data, or None.
        resume: the checkpoint to resume from, or None.
        refit: whether to train on the training and validation parts together.
        epochs: the number of the last epoch to train.
        storage: folder or URI for the workers' checkpoints.
    """

    config: Config
    data: Data | None
    resume: Checkpoint | None
    refit: bool
    epochs: int
    storage: str

    def records(self, resume: Checkpoint | None, **options: Any) -> Iterator[Record]:
        """Train up to ``epochs`` and yield the records. Pass ``options`` to the loop."""
        records = open_records(self.config, self.data, resume=resume, refit=self.refit, **options)
        for _ in range(count_epochs(resume), self.epochs):
            if record := next(records, None):
                yield record

    def records_alone(self, resume: Checkpoint | None) -> Iterator[Record]:
        """Train without other ranks, on the config's device, and yield the records."""
        device = find_device(self.config)
        return self.records(resume, device=device, prepare=lambda model: model.to(device))
