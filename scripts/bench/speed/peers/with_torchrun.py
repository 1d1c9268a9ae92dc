"""Plain torch.distributed, started by torchrun, around the project's own epoch."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from bench.speed.peers.data_parallel import note_epoch, prepare
from raytune_yesno.seeding import derive_seed
from raytune_yesno.training.loop import build_optimizer, train_epoch, validate


def train() -> None:
    """Train, each rank its share."""
    task, config, trained, model = prepare()
    rank, world_size = dist.get_rank(), dist.get_world_size()
    replica = DistributedDataParallel(model) if world_size > 1 else model
    optimizer = build_optimizer(config, model)
    for epoch in range(1, config.epochs + 1):
        torch.manual_seed(derive_seed("epoch", config.seed, epoch, rank))
        train_loss = train_epoch(config, trained, replica, optimizer, epoch)
        metrics = validate(trained, model, torch.device("cpu"))
        if rank == 0:
            torch.save([model.state_dict(), optimizer.state_dict()], f"{task['out']}/last.pt")
        note_epoch(task, {"train_loss": train_loss, **metrics})


if __name__ == "__main__":
    dist.init_process_group("gloo")
    train()
    dist.barrier()
    dist.destroy_process_group()
