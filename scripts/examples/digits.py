"""A task of one's own: recognise scikit-learn's handwritten digits, 8x8 images.

raytune-yesno train --task scripts/examples/digits.py:Digits --num-workers 0
raytune-yesno tune --task scripts/examples/digits.py:Digits --trials 16
"""

import hashlib
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from raytune_yesno.config import setting
from raytune_yesno.metrics import TRAIN_LOSS, Metric
from raytune_yesno.space import Float, Int
from raytune_yesno.tasks.task import Step, batched, shuffle


@dataclass(frozen=True)
class Images:
    x: torch.Tensor  # (N, 64), pixels in [0, 1]
    y: torch.Tensor  # (N,)
    source: str
    fingerprint: str


class Digits:
    metrics = (
        Metric("accuracy", mode="max", format="percent", label="acc"),
        Metric("valid_loss", label="loss"),
        TRAIN_LOSS,
    )
    defaults = {"epochs": 8, "batch_size": 32}
    space = {"learning_rate": Float(1e-4, 1e-1, log=True), "hidden_units": Int(8, 128, log=True)}

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        hidden_units: int = setting(32, "units of the hidden layer", low=1, inherited=True)
        dropout: float = setting(0.1, "dropout before the last layer", low=0.0, high=0.9)

    @staticmethod
    def load_data(source, *, config, skip_bad=False, progress=None):
        x, y = load_digits(return_X_y=True)
        digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()[:16]
        return Images(torch.tensor(x / 16).float(), torch.tensor(y), "scikit-learn", digest)

    def __init__(self, config, data, device, *, refit=False):
        self.config, self.data, self.device = config, data, device
        order = shuffle(len(data.y), "split", config.seed)
        self.test, self.valid, self.train = order[:300], order[300:600], order[600:]
        if refit:
            self.train, self.valid = self.train + self.valid, []
        self.steps_per_pass = self.steps_per_epoch = math.ceil(len(self.train) / config.batch_size)
        self.train_scale = 1 / len(self.train)

    def build_model(self):
        return torch.nn.Sequential(
            torch.nn.Linear(64, self.config.hidden_units),
            torch.nn.ReLU(),
            torch.nn.Dropout(self.config.dropout),
            torch.nn.Linear(self.config.hidden_units, 10),
        )

    def steps(self, epoch, rank, world_size):
        order = shuffle(len(self.train), "order", self.config.seed, epoch)
        for batch in batched(order, self.config.batch_size):
            yield Step([self.train[i] for i in batch[rank::world_size]], 1 / len(batch))

    def loss(self, model, shard, progress):
        logits = model(self.data.x[shard].to(self.device))
        return F.cross_entropy(logits, self.data.y[shard].to(self.device), reduction="sum")

    def validate(self, model, rank, world_size):
        part = self.valid[rank::world_size]
        logits = model(self.data.x[part].to(self.device)).cpu()
        right = (logits.argmax(1) == self.data.y[part]).sum().item()
        loss = F.cross_entropy(logits, self.data.y[part], reduction="sum").item()
        return torch.tensor([len(part), right, loss], dtype=torch.float64)

    def metrics_of(self, sums):
        count, right, loss = sums.tolist()
        return {"accuracy": right / count, "valid_loss": loss / count} if count else {}
