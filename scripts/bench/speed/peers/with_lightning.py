"""Lightning, started by torchrun."""

import os
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, IterableDataset

from bench.speed.peers.data_parallel import list_steps, note_epoch, prepare
from raytune_yesno.training.loop import build_optimizer, sum_over_ranks, validate

TASK, CONFIG, TRAINED, MODEL = prepare()
RANK, WORLD_SIZE = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


class Steps(IterableDataset[Any]):
    """The steps of all epochs."""

    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Iterator[Any]:
        self.epoch += 1
        return list_steps(CONFIG, TRAINED, self.epoch, RANK, WORLD_SIZE)


class Module(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.model = MODEL
        self.total = torch.zeros((), dtype=torch.float64)

    def forward(self, x_B1FT: torch.Tensor) -> Any:
        return self.model(x_B1FT)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, number: int) -> Any:
        return batch

    def training_step(self, step: Any, number: int) -> torch.Tensor:
        shard, scale, rate, progress = step
        for group in self.optimizers().param_groups:
            group["lr"] = rate
        loss = TRAINED.loss(self, shard, progress)
        self.total += loss.detach()
        return loss * scale

    def on_train_epoch_end(self) -> None:
        train_loss = sum_over_ranks(self.total).item() * TRAINED.train_scale
        self.total = torch.zeros((), dtype=torch.float64)
        metrics = validate(TRAINED, self.model, torch.device("cpu"))
        self.model.train()
        note_epoch(TASK, {"train_loss": train_loss, **metrics})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(CONFIG, self.model)


if __name__ == "__main__":
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=WORLD_SIZE,
        strategy="ddp" if WORLD_SIZE > 1 else "auto",
        max_epochs=CONFIG.epochs,
        gradient_clip_val=CONFIG.clip_norm,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(dirpath=TASK["out"], filename="last")],
        use_distributed_sampler=False,
    )
    trainer.fit(Module(), DataLoader(Steps(), batch_size=None))
