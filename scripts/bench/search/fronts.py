"""Problems of several objectives: ZDT, DTLZ, COCO's pairs of functions, networks, recognisers.

The score is the hypervolume of all evaluations, divided by that of the true front (ZDT, DTLZ2,
NAS-Bench-201) or of everything that any run has found (COCO, recognisers).
"""

import itertools
import math
import os
import statistics
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from bench.search.searches import define_trial
from bench.search.suites import INSTANCES, load_networks
from raytune_yesno import pareto
from raytune_yesno.schedulers.stopping_rules import SuccessiveHalving, TrialState
from raytune_yesno.search import History, Observation, build_algorithm
from raytune_yesno.space import Choice, Float, Int, Point, Space, as_tree

NUM_EVALUATIONS = 100
NUM_TRAINED = 128
"""Evaluations of a problem whose networks are trained."""
DIMENSION = 10
COCO_DIMENSION = 5
OURS = ("random", "auto", "tpe", "genetic", "pso")
PEERS = ("optuna-nsgaii", "optuna-tpe")
SEARCHES = (*OURS, *PEERS)
SYNTHETIC = ("zdt1", "zdt2", "zdt3", "dtlz2")
NETWORKS = tuple(f"nas201-{name}" for name in ("cifar10", "cifar100", "imagenet"))
RECOGNISERS = {
    name: os.environ.get(variable, "")
    for name, variable in (("yesno", "YESNO_ROOT"), ("digits", "FSDD_ROOT"))
}
"""Networks that are trained: errors of validation against parameters; the folder of each corpus."""
EPOCHS = 9  # of a network that is trained
COCO = tuple(f"biobj{number}" for number in (1, 11, 21, 31, 41, 51))

Costs = tuple[float, ...]


@dataclass(frozen=True)
class FrontProblem:
    """A function with several values, all to be minimised.

    Attributes:
        space: its space.
        train: its values at a point, after each epoch.
        reference: the reference point of the hypervolume.
        most: the hypervolume of the true front; None if it is not known.
        score: the values that count, if a search sees others: those of one seed.
        num_evaluations: of a run.
    """

    space: Space
    train: Callable[[Point], Iterable[Costs]]
    reference: Costs
    most: float | None = None
    score: Callable[[Point], Costs] | None = None
    num_evaluations: int = NUM_EVALUATIONS


def zdt(number: int, point: Point) -> Costs:
    """Return the values of ZDT1, 2 or 3 (Zitzler, Deb & Thiele, 2000)."""
    first, *rest = point.values()
    g = 1 + 9 * statistics.fmean(rest)
    share = first / g
    second = {
        1: 1 - math.sqrt(share),
        2: 1 - share**2,
        3: 1 - math.sqrt(share) - share * math.sin(10 * math.pi * first),
    }[number]
    return first, g * second


def dtlz2(point: Point) -> Costs:
    """Return the three values of DTLZ2 (Deb et al., 2002), whose front is an eighth of a sphere."""
    a, b, *rest = point.values()
    radius = 1 + sum((x - 0.5) ** 2 for x in rest)
    a, b = a * math.pi / 2, b * math.pi / 2
    return (
        radius * math.cos(a) * math.cos(b),
        radius * math.cos(a) * math.sin(b),
        radius * math.sin(a),
    )


@cache
def build_front_problem(name: str, instance: int) -> FrontProblem:
    """Return a problem; the instance is one of COCO's, or the seed of a trained network."""
    if name in RECOGNISERS:
        return _build_recogniser(name, instance)
    if name in NETWORKS:
        return _build_networks(name.partition("-")[2], instance)
    if name.startswith("biobj"):
        return _build_coco(int(name.removeprefix("biobj")), instance)
    num = 7 if name == "dtlz2" else DIMENSION
    space: Space = {f"x{index}": Float(0, 1) for index in range(num)}
    if name == "dtlz2":
        most = 1.1**3 - math.pi / 6
        return FrontProblem(space, lambda point: [dtlz2(point)], (1.1, 1.1, 1.1), most)
    number = int(name[-1])
    front = [(x, zdt(number, {"x": x, "y": 0.0})[1]) for x in np.linspace(0, 1, 20_001).tolist()]
    most = pareto.hypervolume(front, (11, 11))
    return FrontProblem(space, lambda point: [zdt(number, point)], (11, 11), most)


def _build_recogniser(name: str, seed: int) -> FrontProblem:
    """Return the problem of small recognisers: a training takes some seconds of a core."""
    from raytune_yesno.config import build_config
    from raytune_yesno.training.costs import find_costs
    from raytune_yesno.training.loop import fit

    space: Space = {
        "model": Choice(
            {
                "dstdnn": {"hidden_units": Int(4, 128, log=True)},
                "mlp": {"hidden_units": Int(2, 64, log=True), "hidden_layers": Int(1, 3)},
            }
        ),
        "learning_rate": Float(3e-4, 3e-2, log=True),
        "batch_size": Choice(2, 4, 8),
    }
    fixed = {**_SETTINGS[name], "task": "yesno", "epochs": EPOCHS, "num_workers": 0, "seed": seed}
    fixed["objectives"] = ["valid_wer", "num_parameters"]

    def train(point: Point) -> Iterator[Costs]:
        corpus, config = _load_corpus(RECOGNISERS[name]), build_config(fixed, point)
        size = float(find_costs(config, corpus)["num_parameters"])
        for record in fit(config, corpus):
            yield record.metrics["valid_wer"], size

    return FrontProblem(space, train, (1.0, 60_000.0), num_evaluations=NUM_TRAINED)


@cache
def _load_corpus(source: str) -> Any:
    from examples.spoken_digits import write_table

    from raytune_yesno.tasks.speech.load import load_corpus

    if not Path(source, "recordings").is_dir():
        return load_corpus(source)
    with tempfile.TemporaryDirectory() as table:  # a copy of the digits has none
        write_table(Path(source), Path(table))
        return load_corpus(table)


_SETTINGS: dict[str, dict[str, Any]] = {
    "yesno": {"max_examples": 32},
    "digits": {
        "max_examples": 250,
        "augment_scenes": 0,
        "augment_noise": 0,
        "augment_shift_s": 0,
        "augment_speed": 0,
        "valid_noise": False,
    },
}


def _build_networks(name: str, instance: int) -> FrontProblem:
    """Return the problem of small and accurate networks: validation error in %, latency in s."""
    networks = load_networks(name)
    space = networks.space

    def observe(point: Point) -> list[Costs]:
        errors, latency = networks.results[tuple(point[key] for key in space)]
        return [(errors[instance % len(errors)], latency)]

    def score(point: Point) -> Costs:
        errors, latency = networks.results[tuple(point[key] for key in space)]
        return statistics.fmean(errors), latency

    scored = [(statistics.fmean(errors), latency) for errors, latency in networks.results.values()]
    front = [scored[index] for index in pareto.find_front(scored)]
    reference = pareto.choose_reference(front)
    return FrontProblem(space, observe, reference, pareto.hypervolume(front, reference), score)


@cache
def _load_coco() -> Any:
    import importlib

    return importlib.import_module("cocoex").Suite(
        "bbob-biobj", "", f"dimensions: {COCO_DIMENSION}"
    )


def _build_coco(number: int, instance: int) -> FrontProblem:
    problem = _load_coco().get_problem_by_function_dimension_instance(
        number, COCO_DIMENSION, instance
    )
    space: Space = {f"x{index}": Float(-5, 5) for index in range(COCO_DIMENSION)}

    def evaluate(point: Point) -> list[Costs]:
        return [tuple(map(float, problem(np.array(list(point.values())))))]

    nadir = tuple(map(float, problem.largest_fvalues_of_interest))
    return FrontProblem(space, evaluate, nadir)


@dataclass
class Found:
    """The evaluations of a run.

    Attributes:
        costs: the values of each, at its epoch of the least first one.
        epochs: the epochs that each has trained.
    """

    costs: list[Costs] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)

    def take(self, problem: FrontProblem, point: Point, curve: Sequence[Costs]) -> Costs:
        """Receive the values of a point after each epoch; return those that a search sees."""
        costs = min(curve)
        self.costs.append(problem.score(point) if problem.score else costs)
        self.epochs.append(len(curve))
        return costs


def run_front(name: str, search: str, seed: int, scheduler: str = "fifo") -> Found:
    """Run a search, one evaluation at a time.

    With ``asha``, one stops early by the rule of that scheduler, with its usual rungs, and there
    are as many as take the epochs of those that do not stop.
    """
    problem = build_front_problem(name, 1 + seed % INSTANCES)
    if search.startswith("optuna-"):
        return _run_optuna(problem, search, seed)
    algorithm = build_algorithm(search, problem.space, seed=seed, several=True)
    rule = SuccessiveHalving(EPOCHS, EPOCHS // 2, 2) if scheduler == "asha" else None
    history, found, states = History(), Found(), list[TrialState]()
    for number in itertools.count():
        spent, budget = (sum(found.epochs), EPOCHS) if rule else (number, 1)
        if spent >= budget * problem.num_evaluations:
            break
        point = algorithm.suggest(number, history)
        assert point is not None
        curve, state = [], TrialState()
        for epoch, costs in enumerate(problem.train(point), start=1):
            curve.append(costs)
            state.note(epoch, *costs)
            if rule and epoch in rule.checks and rule.stops(state, states, epoch):
                break
        states.append(state)
        costs = found.take(problem, point, curve)
        history.observe(Observation(number, point, costs[0], len(curve), "done", costs=costs))
    return found


def list_schedulers(name: str, search: str) -> tuple[str, ...]:
    """Return the schedulers to run a search with: peers stop no trial early with several values."""
    return ("fifo", "asha") if name in RECOGNISERS and search in ("random", "auto") else ("fifo",)


def _run_optuna(problem: FrontProblem, search: str, seed: int) -> Found:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    samplers = {
        "optuna-nsgaii": optuna.samplers.NSGAIISampler,
        "optuna-tpe": optuna.samplers.TPESampler,
    }
    study = optuna.create_study(
        sampler=samplers[search](seed=seed), directions=["minimize"] * len(problem.reference)
    )
    space, found = as_tree(problem.space), Found()
    for _ in range(problem.num_evaluations):
        trial = study.ask()
        point = define_trial(trial, space)
        study.tell(trial, found.take(problem, point, list(problem.train(point))))
    return found


def tell_fronts(records: Mapping[Any, Mapping[str, Any]]) -> list[str]:
    """Return the section on fronts: the share of the hypervolume that each search reached."""
    found: dict[str, _Runs] = defaultdict(lambda: defaultdict(dict))
    for run, record in records.items():
        if run.part == "fronts":
            key = (run.search, run.scheduler)
            epochs = record.get("epochs") or [1] * len(record["costs"])
            found[run.problem][key][run.seed] = Found(record["costs"], epochs)
    lines = [
        f"Hypervolume after {NUM_EVALUATIONS} evaluations ({NUM_TRAINED} of recognisers), one at a "
        "time, as a share of that of the true front (ZDT, DTLZ2, NAS-Bench-201) or of all that was "
        "found (COCO's biobj, recognisers). A search sees one seed of a network of NAS-Bench-201 "
        "and is scored by the mean. Means over the same seeds for each search, with 95 % "
        "intervals.",
        "",
    ]
    present = {key for by_search in found.values() for key in by_search}
    keys = [(search, "fifo") for search in SEARCHES if (search, "fifo") in present]
    names = [name for name in (*SYNTHETIC, *COCO, *NETWORKS, *RECOGNISERS) if name in found]
    lines += ["| problem | seeds | " + " | ".join(search for search, _ in keys) + " |"]
    lines += ["|---" * (2 + len(keys)) + "|"]
    for name in names:
        here = [key for key in keys if key in found[name]]
        seeds = sorted(set.intersection(*(set(found[name][key]) for key in here)))
        if not seeds:
            continue
        shares = {key: [_share(name, found[name], key, seed) for seed in seeds] for key in here}
        cells = [_show_mean(shares[key]) if key in shares else "–" for key in keys]
        lines.append(f"| {name} | {len(seeds)} | " + " | ".join(cells) + " |")
    stopped = [name for name in names if any(key[1] != "fifo" for key in found[name])]
    return [*lines, *(_tell_stopped(stopped, found) if stopped else ())]


_Runs = dict[tuple[str, str], dict[int, Found]]
"""Runs of a problem by search and scheduler, and by seed."""


def _tell_stopped(names: Sequence[str], found: Mapping[str, _Runs]) -> list[str]:
    """Return the table of what early stopping saves."""
    lines = [
        "",
        "With early stopping, the same figures after a share of the epochs that all evaluations "
        "take without it. More points are trained in the same epochs.",
        "",
        "| problem | search | scheduler | seeds | a quarter | half | all epochs | points |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        for key in sorted(found[name]):
            search, scheduler = key
            whole = found[name].get((search, "fifo"), {})
            seeds = sorted(set(found[name][key]) & set(whole))
            if (search, "asha") not in found[name] or not seeds:
                continue
            budget = {seed: sum(whole[seed].epochs) for seed in seeds}
            cells = [
                _show_mean(
                    [_share(name, found[name], key, seed, part * budget[seed]) for seed in seeds]
                )
                for part in (0.25, 0.5, 1)
            ]
            points = statistics.fmean(len(found[name][key][seed].costs) for seed in seeds)
            row = [name, search, scheduler, str(len(seeds)), *cells, f"{points:.0f}"]
            lines.append("| " + " | ".join(row) + " |")
    return lines


def _share(
    name: str, found: _Runs, key: tuple[str, str], seed: int, epochs: float = math.inf
) -> float:
    """Return the share of the hypervolume that a run has reached after so many epochs."""
    instance = 1 + seed % INSTANCES
    problem = build_front_problem(name, instance)
    most = problem.most
    if most is None:
        everything = itertools.chain.from_iterable(
            run.costs
            for by_seed in found.values()
            for other, run in by_seed.items()
            if 1 + other % INSTANCES == instance
        )
        most = pareto.hypervolume(list(everything), problem.reference) or 1.0
    run = found[key][seed]
    within = zip(run.costs, itertools.accumulate(run.epochs), strict=True)
    costs = [vector for vector, spent in within if spent <= epochs]
    return pareto.hypervolume(costs, problem.reference) / most


def _show_mean(shares: Sequence[float]) -> str:
    mean = statistics.fmean(shares)
    if len(shares) < 2:
        return f"{mean:.3f}"
    error = statistics.stdev(shares) / math.sqrt(len(shares))
    half = float(student.ppf(0.975, len(shares) - 1)) * error
    return f"{mean:.3f} ± {half:.3f}"
