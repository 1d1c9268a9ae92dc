"""Tasks and a function in a file of the user's own."""

TASK = """
import torch
from raytune_yesno.metrics import Metric
from raytune_yesno.tasks.task import Step

class Line:
    metrics = (Metric("loss"),)
    steps_per_epoch = steps_per_pass = 1
    train_scale = 1.0

    def __init__(self, config, data, device, *, refit=False):
        pass

    def build_model(self):
        return torch.nn.Linear(1, 1)

    def steps(self, epoch, rank, world_size):
        yield Step(torch.ones(2, 1), 0.5)

    def loss(self, model, shard, progress):
        return model(shard).pow(2).sum()

    def validate(self, model, rank, world_size):
        return model(torch.ones(1, 1)).pow(2).sum().double()

    def metrics_of(self, sums):
        return {"loss": sums}

class Tested(Line):
    @staticmethod
    def test(checkpoint, data):
        return {"score": torch.tensor(0.25), "by_word": [torch.tensor(3)]}

def broken(config):
    return {"loss": config["missing"]}

broken.metrics = (Metric("loss"),)
"""
