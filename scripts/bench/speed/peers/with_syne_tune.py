"""Syne Tune's local backend: one process per trial."""

import sys
from pathlib import Path

from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend import LocalBackend
from syne_tune.config_space import loguniform
from syne_tune.optimizer.baselines import RandomSearch

from bench.speed.peers.work import read_task

if __name__ == "__main__":
    task = read_task()
    space = {"learning_rate": loguniform(1e-4, 1e-2), "task": sys.argv[1]}
    tuner = Tuner(
        trial_backend=LocalBackend(str(Path(__file__).with_name("syne_tune_trial.py"))),
        scheduler=RandomSearch(
            space,
            metrics=["valid_loss"],
            do_minimize=True,
            points_to_evaluate=[{"learning_rate": rate} for rate in task["rates"]],
        ),
        stop_criterion=StoppingCriterion(max_num_trials_finished=len(task["rates"])),
        n_workers=task["slots"],
        sleep_time=0.1,  # its default, 5 s, is for trials of hours
        save_tuner=False,
    )
    tuner.run()
