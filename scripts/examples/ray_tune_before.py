"""A plain Ray Tune script; ``ray_tune_after.py`` does the same with raytune-yesno."""

import json
import tempfile
from pathlib import Path

from ray import tune
from ray.tune.schedulers import ASHAScheduler


def train(config):
    epoch, loss = 0, 1.0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            epoch, loss = json.loads(Path(folder, "state.json").read_text())
    while epoch < 9:
        epoch, loss = epoch + 1, loss * (1 - config["rate"]) + config["rate"] ** 2
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "state.json").write_text(json.dumps([epoch, loss]))
            tune.report({"loss": loss}, checkpoint=tune.Checkpoint.from_directory(folder))


if __name__ == "__main__":
    tuner = tune.Tuner(
        train,
        param_space={"rate": tune.loguniform(1e-3, 1.0)},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=16, scheduler=ASHAScheduler(max_t=9)
        ),
        run_config=tune.RunConfig(
            name="before",
            storage_path=str(Path("ray_results").absolute()),
            failure_config=tune.FailureConfig(max_failures=3),
        ),
    )
    results = tuner.fit()
    print(results.get_best_result().config)
