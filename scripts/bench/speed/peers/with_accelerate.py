"""Accelerate, started by torchrun: its own launcher started one process on CPUs, asked for two."""

import torch
from accelerate import Accelerator

from bench.speed.peers.data_parallel import list_steps, note_epoch, prepare
from raytune_yesno.training.loop import build_optimizer, sum_over_ranks, validate

if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    task, config, trained, model = prepare()
    rank, world_size = accelerator.process_index, accelerator.num_processes
    replica, optimizer = accelerator.prepare(model, build_optimizer(config, model))
    for epoch in range(1, config.epochs + 1):
        replica.train()
        total = torch.zeros((), dtype=torch.float64)
        for shard, scale, rate, progress in list_steps(config, trained, epoch, rank, world_size):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss = trained.loss(replica, shard, progress)
            accelerator.backward(loss * scale)
            accelerator.clip_grad_norm_(replica.parameters(), config.clip_norm)
            optimizer.step()
            total += loss.detach()
        train_loss = sum_over_ranks(total).item() * trained.train_scale
        metrics = validate(trained, accelerator.unwrap_model(replica), torch.device("cpu"))
        accelerator.save_state(f"{task['out']}/last")
        note_epoch(task, {"train_loss": train_loss, **metrics})
    accelerator.end_training()
