"""The compared searches: the project's algorithms, and Optuna's samplers as peers."""

import math
import time
import warnings
from typing import Any

import optuna
import yaml

from bench.search.simulator import Searching
from raytune_yesno.search import History, Observation, build_algorithm
from raytune_yesno.space import Choice, Float, Int, Point, Space, as_tree

OURS = ("random", "auto", "tpe", "tpe:model=joint", "bayesian", "pso", "genetic", "cmaes", "bohb")
PEERS = ("optuna-tpe", "optuna-cmaes", "optuna-gp")
SUITE_SEARCHES = (*(name for name in OURS if name != "bayesian"), "optuna-tpe", "optuna-cmaes")
"""What the suites compare; the Gaussian processes of `bayesian` and `optuna-gp` take hours."""


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
    name, _, given = name.partition(":")
    options = dict(pair.split("=") for pair in given.split(",")) if given else {}
    return _Ours(
        name, space, seed, **{key: yaml.safe_load(value) for key, value in options.items()}
    )
