"""Ray Tune as its documentation shows it: a function as trainable."""

from typing import Any

import ray
from ray import tune

from bench.speed.peers.work import load, read_task, train


def run_trial(config: dict[str, Any], corpus: Any) -> None:
    for metrics in train(config["task"], config["rate"], corpus):
        tune.report({"valid_loss": metrics["valid_loss"]})


if __name__ == "__main__":
    task = read_task()
    ray.init(num_cpus=task["slots"], include_dashboard=False)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, corpus=load(task)), {"cpu": 1}),
        param_space={"task": task, "rate": tune.grid_search(task["rates"])},
        tune_config=tune.TuneConfig(metric="valid_loss", mode="min"),
        run_config=tune.RunConfig(storage_path=task["out"], name="tuned"),
    )
    tuner.fit()
