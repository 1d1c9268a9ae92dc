"""Write experiments with plain Ray Tune, and what Ray's ``ResultGrid`` says of each.

``python ray_experiments.py FOLDER NAME…`` writes each experiment to ``FOLDER/NAME`` and its
description to ``FOLDER/NAME.json``. All share one Ray session. Nothing of this project is imported.
"""

import json
import math
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune import Checkpoint, FailureConfig, ResultGrid, TuneConfig, Tuner
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from ray.tune.search import ConcurrencyLimiter, Repeater
from ray.tune.utils import flatten_dict

SCOPES = ("all", "last", "avg", "last-5-avg", "last-10-avg")


@dataclass(frozen=True)
class Made:
    """An experiment as Ray left it; ``order`` are the trials' ids as they were created."""

    grid: ResultGrid
    metric: str = "loss"
    mode: str = "min"
    order: Sequence[str] = ()


def train(config: dict[str, Any]) -> None:
    """Report a curve; continue from a checkpoint; raise and repeat as the config says."""
    first, tries = 1, 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            first, tries = json.loads(Path(folder, "state.json").read_text())
            first += 1
    for step in range(first, config.get("steps", 4) + 1):
        marks = Path(config["marks"]) if "marks" in config else None
        mark = marks / f"{config['x']}-{step}" if marks else None
        if step == config.get("fails_at") and not (mark and mark.exists()):
            if mark:
                mark.touch()
            raise RuntimeError(f"step {step}\x1b[31m of \n=SUM(1)")
        value = config["x"] * (1 + math.cos(step * config.get("speed", 1.3)))
        report = {"loss": value, "acc": 1 / (1 + value), **config.get("also", {})}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "state.json").write_text(json.dumps([step, tries + 1]))
            tune.report(report, checkpoint=Checkpoint.from_directory(folder))


def train_plainly(config: dict[str, Any]) -> None:
    """Report a curve without checkpoints."""
    for step in range(1, config.get("steps", 3) + 1):
        value = config["x"] * (1 + math.cos(step * 1.3)) + step * config.get("slope", 0.1)
        tune.report({"loss": value, "acc": 1 / (1 + value), **config.get("also", {})})


class Trainable(tune.Trainable):
    """The class form: Ray asks for each step."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begin."""
        self.x = config["x"]

    def reset_config(self, config: dict[str, Any]) -> bool:
        """Begin another trial."""
        self.x = config["x"]
        return True

    def step(self) -> dict[str, Any]:
        """Train one step."""
        return {"reward": self.x * self.iteration, "loss": -self.x}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write nothing: the iteration is Ray's."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Read nothing."""


def fit(
    folder: Path,
    trainable: Any = train_plainly,
    space: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    **config: Any,
) -> ResultGrid:
    """Run an experiment."""
    settings = {"metric": "loss", "mode": "min", "num_samples": 4, "reuse_actors": True}
    tuner = Tuner(
        trainable,
        param_space={"x": tune.uniform(0.1, 2.0)} if space is None else space,
        tune_config=TuneConfig(**{**settings, **config}),
        run_config=tune.RunConfig(
            name=folder.name, storage_path=str(folder.parent), verbose=0, **(run or {})
        ),
    )
    return tuner.fit()


def _random(folder: Path) -> Made:
    return Made(fit(folder))


def _grid(folder: Path) -> Made:
    space = {
        "x": tune.grid_search([0.5, 1.5, 1.0]),
        "net": {"depth": tune.grid_search([1, 2]), "width": 8},
        "label": "=1+1",
    }
    return Made(fit(folder, space=space, num_samples=1, metric="acc", mode="max"), "acc", "max")


def _many_metrics(folder: Path) -> Made:
    also = {
        **{f"m{index}": index * 0.5 for index in range(40)},
        **{"status": 1, "epochs": 77, "epoch": 0, "seconds": 9.0, "error": 0.25, "attempt": 5},
        **{"time": 3.0, "total": 4.0, "stamp": 5.0, "host": 6.0, "study": 1, "trial": 2},
        **{"config.x": 3.5, "metric.loss": 2.5, "best_epoch": 9, "began": 1.0, "node": 4},
        **{"tokens": 2**53 + 3, "more": 2**63 + 5, "nested": {"deep": {"loss": 0.125}}},
        **{"nothing": math.nan, "endless": math.inf, "text": "a\nb", "flag": True},
        **{"numpy": np.float64(0.1), "numpy_int": np.int64(2**53 + 1), "point": 3, "restored": 1},
    }
    return Made(fit(folder, space={"x": tune.uniform(1, 2), "also": also}, num_samples=3))


def _odd_config(folder: Path) -> Made:
    space = {
        "x": tune.uniform(1, 2),
        "clip": math.inf,
        "floor": tune.choice([-math.inf, math.nan]),
        "seed": 2**60 + 1,
        "layers": [8, 16],
        "name": "\x1b[31m@SUM(1)\n",
    }
    return Made(fit(folder, space=space, num_samples=3))


def _diverging(folder: Path) -> Made:
    def train_nan(config: dict[str, Any]) -> None:
        for value in config["values"]:
            tune.report({"loss": value})

    values = [[math.nan, 2.0, 3.0], [math.nan], [5.0, 4.0, 1.5], [-math.inf, 9.0, 7.0]]
    space = {"values": tune.grid_search(values)}
    return Made(fit(folder, train_nan, space, num_samples=1))


def _asha(folder: Path) -> Made:
    scheduler = ASHAScheduler(max_t=8, grace_period=1, reduction_factor=2)
    space = {"x": tune.uniform(0.1, 2), "steps": 8}
    return Made(fit(folder, space=space, scheduler=scheduler, num_samples=8))


def _asha_judges(folder: Path) -> Made:
    """The scheduler is told the metric, ``TuneConfig`` is not."""
    scheduler = ASHAScheduler(metric="acc", mode="max", max_t=4, grace_period=1)
    grid = fit(folder, scheduler=scheduler, metric=None, mode=None)
    return Made(grid, "acc", "max")


def _median(folder: Path) -> Made:
    scheduler = MedianStoppingRule(
        time_attr="training_iteration", grace_period=1, min_samples_required=2
    )
    space = {"x": tune.uniform(0.1, 2), "steps": 5}
    return Made(fit(folder, space=space, scheduler=scheduler, num_samples=6))


def _hyperband(folder: Path) -> Made:
    scheduler = HyperBandScheduler(max_t=4, reduction_factor=2)
    space = {"x": tune.uniform(0.1, 2), "steps": 4}
    return Made(fit(folder, train, space, scheduler=scheduler, num_samples=4))


def _pbt(folder: Path) -> Made:
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"x": tune.uniform(0.1, 2.0), "speed": [0.7, 1.3, 2.1]},
        quantile_fraction=0.5,
        synch=True,
    )
    space = {"x": tune.grid_search([0.2, 0.8, 1.4, 1.9]), "speed": 1.3, "steps": 8}
    return Made(fit(folder, train, space, scheduler=scheduler, num_samples=1))


def _pbt_uneven(folder: Path) -> Made:
    """A copy may be older than what it replaces: iterations repeat."""
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        hyperparam_mutations={"x": tune.loguniform(0.1, 2.0)},
        quantile_fraction=0.5,
        resample_probability=0.5,
    )
    space = {"x": tune.grid_search([0.2, 0.8, 1.4]), "steps": 6}
    return Made(fit(folder, train, space, scheduler=scheduler, num_samples=1))


def _pb2(folder: Path) -> Made:
    from ray.tune.schedulers.pb2 import PB2

    scheduler = PB2(
        time_attr="training_iteration", perturbation_interval=2, hyperparam_bounds={"x": [0.1, 2.0]}
    )
    space = {"x": tune.grid_search([0.2, 0.8, 1.4, 1.9]), "steps": 6}
    return Made(fit(folder, train, space, scheduler=scheduler, num_samples=1))


def _pbt_replay(folder: Path) -> Made:
    from ray.tune.schedulers import PopulationBasedTrainingReplay

    first = _pbt(folder.with_name(folder.name + "-first"))
    del first
    policy = next(folder.with_name(folder.name + "-first").glob("pbt_policy_*.txt"))
    scheduler = PopulationBasedTrainingReplay(str(policy))
    grid = fit(folder, train, {"x": 0.2, "speed": 1.3, "steps": 8}, scheduler=scheduler,
               num_samples=1, metric=None, mode=None)  # fmt: skip
    return Made(grid)


def _resources(folder: Path) -> Made:
    from ray.tune.schedulers import ResourceChangingScheduler

    scheduler = ResourceChangingScheduler()
    return Made(fit(folder, train, {"x": tune.uniform(0.1, 2), "steps": 3}, scheduler=scheduler,
                    num_samples=2, reuse_actors=False))  # fmt: skip


def _optuna(folder: Path) -> Made:
    from ray.tune.search.optuna import OptunaSearch

    points = [{"x": 1.5}, {"x": 0.3}]
    search = OptunaSearch(seed=1, points_to_evaluate=points)
    grid = fit(folder, search_alg=ConcurrencyLimiter(search, 2), metric="acc", mode="max",
               num_samples=6)  # fmt: skip
    return Made(grid, "acc", "max")


def _optuna_asha(folder: Path) -> Made:
    from ray.tune.search.optuna import OptunaSearch

    scheduler = ASHAScheduler(max_t=6, grace_period=1, reduction_factor=3)
    space = {"x": tune.loguniform(0.01, 2), "steps": 6}
    return Made(fit(folder, space=space, search_alg=OptunaSearch(seed=2), scheduler=scheduler,
                    num_samples=8))  # fmt: skip


def _hyperopt(folder: Path) -> Made:
    from ray.tune.search.hyperopt import HyperOptSearch

    search = HyperOptSearch(n_initial_points=2, random_state_seed=1)
    return Made(fit(folder, search_alg=search, num_samples=5))


def _repeater(folder: Path) -> Made:
    from ray.tune.search.optuna import OptunaSearch

    search = Repeater(OptunaSearch(seed=3), repeat=2)
    return Made(fit(folder, search_alg=search, num_samples=4))


def _failures(folder: Path) -> Made:
    """Some raise before their first report, one of them after the best."""
    space = {"x": tune.grid_search([1.0, 0.1, 0.5, 0.7]), "fails_at": tune.sample_from(_fail_at)}
    return Made(fit(folder, train, space, num_samples=1))


def _fail_at(spec: Any) -> int:
    return {1.0: 9, 0.1: 3, 0.5: 1, 0.7: 9}[spec.config.x]


def _retries(folder: Path) -> Made:
    """Each raises once in step 3, and is restored from step 2."""
    with tempfile.TemporaryDirectory() as marks:
        space = {"x": tune.grid_search([1.0, 0.1, 0.5]), "fails_at": 3, "marks": marks}
        run = {"failure_config": FailureConfig(max_failures=2)}
        return Made(fit(folder, train, space, run, num_samples=1))


def _fail_fast(folder: Path) -> Made:
    """The first failure ends the experiment: others never report."""
    space = {"x": tune.grid_search([1.0, 0.1, 0.5, 0.3]), "fails_at": 2}
    run = {"failure_config": FailureConfig(fail_fast=True)}
    return Made(fit(folder, train, space, run, num_samples=1))


def _resumed(folder: Path, **how: bool) -> Made:
    with tempfile.TemporaryDirectory() as marks:
        space = {"x": tune.grid_search([1.0, 0.1, 0.5]), "fails_at": 3, "marks": marks}
        first = fit(folder, train, space, num_samples=1)
        time.sleep(1.1)  # Ray names its state files by the second
        grid = Tuner.restore(str(folder), train, **(how or {"resume_errored": True})).fit()
    # A trial that is begun again is another one, with the tag of the first.
    tags = {trial.experiment_tag: trial.trial_id for trial in _trials(grid)}
    return Made(grid, order=[tags[trial.experiment_tag] for trial in _trials(first)])


def _restarted(folder: Path) -> Made:
    return _resumed(folder, restart_errored=True)


def _twice(folder: Path) -> Made:
    """A second run under the same name."""
    fit(folder, num_samples=3)
    time.sleep(1.1)  # Ray names its state files by the second
    return Made(fit(folder, num_samples=2))


def _renamed(folder: Path) -> Made:
    elsewhere = folder.with_name(folder.name + "-before")
    order = _ids(fit(elsewhere))
    shutil.move(elsewhere, folder)
    return Made(ResultGrid(tune.ExperimentAnalysis(str(folder))), order=order)


def _named_by_user(folder: Path) -> Made:
    from ray.tune.experiment import Trial

    def name(trial: Trial) -> str:
        return f"mine-{99 - int(trial.experiment_tag.split('_')[0])}"

    space = {"x": tune.uniform(0.1, 2.0)}
    trainable = tune.with_resources(train_plainly, {"cpu": 1})
    tuner = Tuner(
        trainable,
        param_space=space,
        tune_config=TuneConfig(metric="loss", mode="min", num_samples=4, reuse_actors=True,
                               trial_dirname_creator=name),
        run_config=tune.RunConfig(name=folder.name, storage_path=str(folder.parent), verbose=0),
    )  # fmt: skip
    return Made(tuner.fit())


def _csv_only(folder: Path) -> Made:
    order = _ids(fit(folder, num_samples=3))
    for file in folder.glob("*/result.json"):
        file.unlink()
    return Made(ResultGrid(tune.ExperimentAnalysis(str(folder))), order=order)


def _class(folder: Path) -> Made:
    run = {"stop": {"training_iteration": 3}}
    grid = fit(folder, Trainable, None, run, metric="reward", mode="max", num_samples=3)
    return Made(grid, "reward", "max")


def _returned(folder: Path) -> Made:
    """One result, which the function returns."""

    def evaluate(config: dict[str, Any]) -> dict[str, Any]:
        return {"score": config["x"] ** 2}

    return Made(fit(folder, evaluate, metric="score", mode="min"), "score")


def _ray_counts(folder: Path) -> Made:
    """Judged by what Ray itself adds to reports."""
    return Made(fit(folder, metric="training_iteration", mode="max"), "training_iteration", "max")


def _old_call(folder: Path) -> Made:
    """``tune.run`` writes no ``tuner.pkl``."""
    analysis = tune.run(
        train_plainly, config={"x": tune.uniform(0.1, 2)}, num_samples=3, metric="loss",
        mode="min", name=folder.name, storage_path=str(folder.parent), verbose=0,
        reuse_actors=True,
    )  # fmt: skip
    return Made(ResultGrid(analysis))


def _many_trials(folder: Path) -> Made:
    return Made(fit(folder, num_samples=40))


EXPERIMENTS: dict[str, Callable[[Path], Made]] = {
    "random": _random,
    "many_metrics": _many_metrics,
    "odd_config": _odd_config,
    "diverging": _diverging,
    "asha_judges": _asha_judges,
    "hyperband": _hyperband,
    "pbt": _pbt,
    "optuna": _optuna,
    "failures": _failures,
    "retries": _retries,
    "resumed": _resumed,
}
SLOW_EXPERIMENTS: dict[str, Callable[[Path], Made]] = {
    "asha": _asha,
    "pbt_uneven": _pbt_uneven,
    "renamed": _renamed,
    "csv_only": _csv_only,
    "grid": _grid,
    "median": _median,
    "class": _class,
    "pb2": _pb2,
    "pbt_replay": _pbt_replay,
    "resources": _resources,
    "optuna_asha": _optuna_asha,
    "hyperopt": _hyperopt,
    "repeater": _repeater,
    "fail_fast": _fail_fast,
    "restarted": _restarted,
    "twice": _twice,
    "named_by_user": _named_by_user,
    "returned": _returned,
    "ray_counts": _ray_counts,
    "old_call": _old_call,
    "many_trials": _many_trials,
}


def describe(made: Made) -> dict[str, Any]:
    """Return what Ray says of an experiment, trials in the order in which they were created."""
    analysis = made.grid._experiment_analysis
    trials = _trials(made.grid)
    if made.order:
        trials = sorted(trials, key=lambda trial: made.order.index(trial.trial_id))
    ids = [trial.trial_id for trial in trials]
    assert len(set(ids)) == len(ids)
    best: dict[str, int | None] = {}
    for scope in SCOPES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = analysis.get_best_trial(made.metric, made.mode, scope)
        best[scope] = ids.index(trial.trial_id) if trial else None
    return {
        "metric": made.metric,
        "mode": made.mode,
        "num_errors": made.grid.num_errors,
        "num_terminated": made.grid.num_terminated,
        "best": best,
        "trials": [
            {
                "status": trial.status,
                "config": flatten_dict(trial.config),
                "failures": trial.run_metadata.num_failures,
                "known": trial.metric_analysis.get(made.metric, {}).get(made.mode),
                "rows": _rows(analysis.trial_dataframes.get(trial.trial_id)),
            }
            for trial in trials
        ],
    }


def _ids(grid: ResultGrid) -> list[str]:
    return [trial.trial_id for trial in _trials(grid)]


def _trials(grid: ResultGrid) -> list[Any]:
    return list(grid._experiment_analysis.trials)


def _rows(table: Any) -> list[dict[str, Any]]:
    if table is None or table.empty:
        return []
    columns = {name: table[name].tolist() for name in table.columns}
    return [
        {name: values[index] for name, values in columns.items()} for index in range(len(table))
    ]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def main(folder: Path, names: Sequence[str]) -> None:
    """Write experiments and their descriptions."""
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    made = {**EXPERIMENTS, **SLOW_EXPERIMENTS}
    try:
        for name in names:
            began = time.monotonic()
            try:
                description = describe(made[name](folder / name))
            except Exception:  # the others are worth having
                traceback.print_exc()
                continue
            (folder / f"{name}.json").write_text(json.dumps(description, default=_plain))
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
