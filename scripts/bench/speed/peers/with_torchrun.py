"""Plain torch.distributed, started by torchrun: DistributedDataParallel and a loop."""

import torch
import torch.distributed as dist
from data_parallel import list_steps, note_epoch, prepare
from torch.nn.parallel import DistributedDataParallel

from raytune_yesno.loop import build_optimizer, sum_over_ranks, validate

if __name__ == "__main__":
    task, config, trained, model = prepare()
    dist.init_process_group("gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    replica = DistributedDataParallel(model) if world_size > 1 else model
    optimizer = build_optimizer(config, model)
    for epoch in range(1, config.epochs + 1):
        model.train()
        total = torch.zeros((), dtype=torch.float64)
        for shard, scale, rate, progress in list_steps(config, trained, epoch, rank, world_size):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss = trained.loss(replica, shard, progress)
            (loss * scale).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            total += loss.detach()
        train_loss = sum_over_ranks(total).item() * trained.train_scale
        metrics = validate(trained, model, torch.device("cpu"))
        if rank == 0:
            torch.save([model.state_dict(), optimizer.state_dict()], f"{task['out']}/last.pt")
        note_epoch(task, {"train_loss": train_loss, **metrics})
    dist.destroy_process_group()
