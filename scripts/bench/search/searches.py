"""The compared searches: the project's algorithms, and Optuna's samplers as peers."""

import logging
import math
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
import yaml

from bench.search.simulator import Searching
from bench.search.suites import NUM_EVALUATIONS
from raytune_yesno.search import History, Observation, build_algorithm
from raytune_yesno.space import Choice, Float, Int, Point, Space, as_tree

OURS = ("random", "auto", "tpe", "tpe:model=joint", "bayesian", "pso", "genetic", "cmaes", "bohb")
PEERS = ("optuna-tpe", "optuna-cmaes", "optuna-gp", "smac")
SUITE_SEARCHES = (*(name for name in OURS if name != "bayesian"), "optuna-tpe", "optuna-cmaes")
"""What the suites compare; the models of `bayesian`, `optuna-gp` and `smac` take hours."""


class _Ours:
    def __init__(self, name: str, space: Space, seed: int, **options: Any) -> None:
        self.algorithm = build_algorithm(name, space, seed=seed, **options)

    def ask(self, number: int, history: History) -> Point | None:
        return self.algorithm.suggest(number, history)

    def tell(self, seen: Observation) -> None:
        """Do nothing: the history has the result."""


class _Optuna:
    """Optuna's sampler with its own defaults, domains and treatment of trials in flight."""

    def __init__(self, name: str, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        samplers = {
            "optuna-tpe": optuna.samplers.TPESampler,
            "optuna-gp": optuna.samplers.GPSampler,
            "optuna-cmaes": optuna.samplers.CmaEsSampler,
        }
        self.study = optuna.create_study(sampler=samplers[name](seed=seed))
        self.space = as_tree(space)
        self.asked: dict[int, optuna.Trial] = {}

    def ask(self, number: int, history: History) -> Point:
        trial = self.asked[number] = self.study.ask()
        return define_trial(trial, self.space)

    def tell(self, seen: Observation) -> None:
        loss = seen.loss if seen.loss is not None and math.isfinite(seen.loss) else None
        state = None if loss is not None else optuna.trial.TrialState.FAIL
        self.study.tell(self.asked.pop(seen.number), loss, state=state)


class _Smac:
    """SMAC3 with its defaults for hyperparameters: a random forest, expected improvement.

    It divides its start by the number of trials, which it has to know.
    """

    def __init__(self, space: Space, seed: int) -> None:
        from smac import HyperparameterOptimizationFacade, Scenario

        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            _define_space(space, seed),
            deterministic=True,
            n_trials=NUM_EVALUATIONS,
            seed=seed,
            output_directory=Path(self.folder.name),
        )
        self.smac = HyperparameterOptimizationFacade(
            scenario, _never_called, overwrite=True, logging_level=logging.ERROR
        )
        self.space, self.asked = space, dict[int, Any]()

    def ask(self, number: int, history: History) -> Point:
        asked = self.asked[number] = self.smac.ask()
        point = dict(asked.config)
        return {
            name: domain.options[point[name]] if isinstance(domain, Choice) else point[name]
            for name, domain in self.space.items()
        }

    def tell(self, seen: Observation) -> None:
        from smac.runhistory.dataclasses import TrialValue
        from smac.runhistory.enumerations import StatusType

        is_good = seen.loss is not None and math.isfinite(seen.loss)
        status = StatusType.SUCCESS if is_good else StatusType.CRASHED
        cost = seen.loss if is_good else math.inf
        self.smac.tell(self.asked.pop(seen.number), TrialValue(cost=cost, status=status))


def _never_called(config: Any, seed: int = 0) -> float:
    raise NotImplementedError("points are asked for, and results are told")


def _define_space(space: Space, seed: int) -> Any:
    import ConfigSpace

    defined = ConfigSpace.ConfigurationSpace(seed=seed)
    for name, domain in as_tree(space).items():
        if isinstance(domain, Choice):
            defined.add(ConfigSpace.Categorical(name, list(range(len(domain.options)))))
        elif isinstance(domain, Float):
            bounds = (domain.low, domain.high)
            defined.add(ConfigSpace.Float(name, bounds, log=domain.log))
        elif isinstance(domain, Int):
            defined.add(ConfigSpace.Integer(name, (domain.low, domain.high), log=domain.log))
    return defined


def define_trial(trial: optuna.Trial, nodes: Space, prefix: str = "") -> Point:
    """Define a trial by running through the space: only parameters that are active."""
    point: Point = {}
    for name, domain in nodes.items():
        if isinstance(domain, Choice):
            options = list(range(len(domain.options)))
            index = trial.suggest_categorical(f"{prefix}{name}", options)
            point[name] = domain.options[index]
            if domain.branches:
                inner = f"{prefix}{name}={index}."
                point |= define_trial(trial, domain.branches[index], inner)
        elif isinstance(domain, Float):
            point[name] = trial.suggest_float(
                f"{prefix}{name}", domain.low, domain.high, log=domain.log
            )
        elif isinstance(domain, Int):
            point[name] = trial.suggest_int(
                f"{prefix}{name}", domain.low, domain.high, log=domain.log
            )
    return point


class Metered:
    """A search whose CPU time is measured, and the trials that it was told, in that order."""

    def __init__(self, search: Searching) -> None:
        self.search = search
        self.seconds = 0.0
        self.ended: list[Observation] = []

    def ask(self, number: int, history: History) -> Point | None:
        """Return the point of a trial."""
        began = time.process_time()
        point = self.search.ask(number, history)
        self.seconds += time.process_time() - began
        return point

    def tell(self, seen: Observation) -> None:
        """Receive an ended trial."""
        began = time.process_time()
        self.search.tell(seen)
        self.seconds += time.process_time() - began
        self.ended.append(seen)


def build_search(name: str, space: Space, seed: int) -> Searching:
    """Return a search by its name; ``name:key=value`` gives an algorithm of ours an option."""
    if name.startswith("optuna-"):
        return _Optuna(name, space, seed)
    if name == "smac":
        return _Smac(space, seed)
    name, _, given = name.partition(":")
    options = dict(pair.split("=") for pair in given.split(",")) if given else {}
    return _Ours(
        name, space, seed, **{key: yaml.safe_load(value) for key, value in options.items()}
    )
