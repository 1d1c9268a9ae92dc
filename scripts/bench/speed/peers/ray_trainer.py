"""Ray Tune as its documentation shows it for distributed trials: each builds a TorchTrainer."""

import time
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from bench.speed.case import PLAIN
from bench.speed.peers.work import load, note, read_task
from raytune_yesno.config import build_config
from raytune_yesno.training.loop import fit


def run_worker(config: dict[str, Any]) -> None:
    task = config["task"]
    settings = {"epochs": task["epochs"], "learning_rate": config["rate"]}
    records = fit(
        build_config({**PLAIN, **settings, "num_workers": task.get("workers", 1)}),
        ray.get(config["corpus"]),
        prepare=ray.train.torch.prepare_model,
    )
    began, trained = time.time(), 0.0
    for record in records:
        trained += record.metrics["seconds"]
        ray.train.report({"valid_loss": record.metrics["valid_loss"], "trained": trained})
    if ray.train.get_context().get_world_rank() == 0:
        note(task, began, trained)


def run_trial(config: dict[str, Any]) -> None:
    task = config["task"]
    trainer = ray.train.torch.TorchTrainer(
        run_worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=task.get("workers", 1)),
        run_config=ray.train.RunConfig(
            name=f"trial-{tune.get_context().get_trial_id()}",
            storage_path=task["out"],
            callbacks=[TuneReportCallback()],
        ),
    )
    trainer.fit()


if __name__ == "__main__":
    task = read_task()
    ray.init(num_cpus=task["slots"] + 1)  # trials that only wait for their workers count, too
    tuner = tune.Tuner(
        tune.with_resources(run_trial, {"cpu": 0.01}),
        param_space={
            "task": task,
            "corpus": ray.put(load(task)),
            "rate": tune.grid_search(task["rates"]),
        },
        tune_config=tune.TuneConfig(
            metric="valid_loss",
            mode="min",
            max_concurrent_trials=task["slots"] // task.get("workers", 1),
        ),
        run_config=tune.RunConfig(storage_path=task["out"], name="tuned"),
    )
    tuner.fit()
