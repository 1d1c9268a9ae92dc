"""Problems of several objectives: ZDT, DTLZ, COCO's pairs of functions, networks, the recogniser.

The score is the hypervolume of all evaluations, divided by that of the true front (ZDT, DTLZ2,
NAS-Bench-201) or of everything that any run has found (COCO, recogniser).
"""

import itertools
import math
import os
import statistics
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import t as student

from bench.search.searches import define_trial
from bench.search.suites import INSTANCES, load_networks
from raytune_yesno import pareto
from raytune_yesno.search import History, Observation, build_algorithm
from raytune_yesno.space import Choice, Float, Int, Point, Space, as_tree

NUM_EVALUATIONS = 100
DIMENSION = 10
COCO_DIMENSION = 5
OURS = ("random", "auto", "tpe", "genetic", "pso")
PEERS = ("optuna-nsgaii", "optuna-tpe")
SEARCHES = (*OURS, *PEERS)
SYNTHETIC = ("zdt1", "zdt2", "zdt3", "dtlz2")
NETWORKS = tuple(f"nas201-{name}" for name in ("cifar10", "cifar100", "imagenet"))
RECOGNISER = "yesno"
"""Networks that are trained: errors of validation against parameters."""
CORPUS = os.environ.get("YESNO_ROOT", "")
COCO = tuple(f"biobj{number}" for number in (1, 11, 21, 31, 41, 51))

Costs = tuple[float, ...]


@dataclass(frozen=True)
class FrontProblem:
    """A function with several values, all to be minimised.

    Attributes:
        space: its space.
        evaluate: its values at a point.
        reference: the reference point of the hypervolume.
        most: the hypervolume of the true front; None if it is not known.
        score: the values that count, if a search sees others: those of one seed.
    """

    space: Space
    evaluate: Callable[[Point], Costs]
    reference: Costs
    most: float | None = None
    score: Callable[[Point], Costs] | None = None


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
    if name == RECOGNISER:
        return _build_recogniser(instance)
    if name in NETWORKS:
        return _build_networks(name.partition("-")[2], instance)
    if name.startswith("biobj"):
        return _build_coco(int(name.removeprefix("biobj")), instance)
    num = 7 if name == "dtlz2" else DIMENSION
    space: Space = {f"x{index}": Float(0, 1) for index in range(num)}
    if name == "dtlz2":
        most = 1.1**3 - math.pi / 6
        return FrontProblem(space, dtlz2, (1.1, 1.1, 1.1), most)
    number = int(name[-1])
    front = [(x, zdt(number, {"x": x, "y": 0.0})[1]) for x in np.linspace(0, 1, 20_001).tolist()]
    most = pareto.hypervolume(front, (11, 11))
    return FrontProblem(space, lambda point: zdt(number, point), (11, 11), most)


def _build_recogniser(seed: int) -> FrontProblem:
    """Return the problem of small recognisers: a training takes about a second of a core."""
    from raytune_yesno.config import build_config
    from raytune_yesno.tasks.speech.load import load_corpus
    from raytune_yesno.training.costs import find_costs
    from raytune_yesno.training.loop import fit

    corpus = load_corpus(CORPUS)
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
    fixed = {"task": "yesno", "epochs": 6, "max_examples": 32, "num_workers": 0, "seed": seed}
    fixed["objectives"] = ["valid_wer", "num_parameters"]

    def evaluate(point: Point) -> Costs:
        config = build_config(fixed, point)
        size = find_costs(config, corpus)["num_parameters"]
        best = min(record.metrics["valid_wer"] for record in fit(config, corpus))
        return best, float(size)

    return FrontProblem(space, evaluate, (1.0, 60_000.0))


def _build_networks(name: str, instance: int) -> FrontProblem:
    """Return the problem of small and accurate networks: validation error in %, latency in s."""
    networks = load_networks(name)
    space = networks.space

    def observe(point: Point) -> Costs:
        errors, latency = networks.results[tuple(point[key] for key in space)]
        return errors[instance % len(errors)], latency

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

    def evaluate(point: Point) -> Costs:
        return tuple(map(float, problem(np.array(list(point.values())))))

    nadir = tuple(map(float, problem.largest_fvalues_of_interest))
    return FrontProblem(space, evaluate, nadir)


def run_front(name: str, search: str, seed: int) -> list[Costs]:
    """Return the values of all evaluations of a search, one at a time."""
    problem = build_front_problem(name, 1 + seed % INSTANCES)
    if search.startswith("optuna-"):
        return _run_optuna(problem, search, seed)
    algorithm = build_algorithm(search, problem.space, seed=seed, several=True)
    history = History()
    for number in range(NUM_EVALUATIONS):
        point = algorithm.suggest(number, history)
        assert point is not None
        costs = problem.evaluate(point)
        history.observe(Observation(number, point, costs[0], 1, "done", costs=costs))
    return [problem.score(seen.point) if problem.score else seen.costs for seen in history]


def _run_optuna(problem: FrontProblem, search: str, seed: int) -> list[Costs]:
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
    space, values = as_tree(problem.space), []
    for _ in range(NUM_EVALUATIONS):
        trial = study.ask()
        point = define_trial(trial, space)
        costs = problem.evaluate(point)
        values.append(problem.score(point) if problem.score else costs)
        study.tell(trial, costs)
    return values


def tell_fronts(records: Mapping[Any, Mapping[str, Any]]) -> list[str]:
    """Return the section on fronts: the share of the hypervolume that each search reached."""
    found: dict[str, dict[str, dict[int, list[Costs]]]] = defaultdict(lambda: defaultdict(dict))
    for run, record in records.items():
        if run.part == "fronts":
            found[run.problem][run.search][run.seed] = record["costs"]
    lines = [
        f"Hypervolume after {NUM_EVALUATIONS} evaluations, one at a time, as a share of that of "
        "the true front (ZDT, DTLZ2, NAS-Bench-201) or of all that was found (COCO's biobj). A "
        "search sees one seed of a network and is scored by the mean. Means over the same "
        "seeds for each search, with 95 % intervals.",
        "",
    ]
    searches = [name for name in SEARCHES if any(name in by for by in found.values())]
    lines += ["| problem | seeds | " + " | ".join(searches) + " |"]
    lines += ["|---" * (2 + len(searches)) + "|"]
    for name in (*SYNTHETIC, *COCO, *NETWORKS, RECOGNISER):
        if name not in found:
            continue
        seeds = sorted(set.intersection(*(set(found[name].get(s, {})) for s in searches)))
        if not seeds:
            continue
        cells = []
        for search in searches:
            shares = [_share(name, found[name], search, seed) for seed in seeds]
            cells.append(_show_mean(shares))
        lines.append(f"| {name} | {len(seeds)} | " + " | ".join(cells) + " |")
    return lines


def _share(
    name: str, found: Mapping[str, Mapping[int, list[Costs]]], search: str, seed: int
) -> float:
    instance = 1 + seed % INSTANCES
    problem = build_front_problem(name, instance)
    most = problem.most
    if most is None:
        everything = itertools.chain.from_iterable(
            costs
            for by_seed in found.values()
            for other, costs in by_seed.items()
            if 1 + other % INSTANCES == instance
        )
        most = pareto.hypervolume(list(everything), problem.reference) or 1.0
    return pareto.hypervolume(found[search][seed], problem.reference) / most


def _show_mean(shares: Sequence[float]) -> str:
    mean = statistics.fmean(shares)
    if len(shares) < 2:
        return f"{mean:.3f}"
    error = statistics.stdev(shares) / math.sqrt(len(shares))
    half = float(student.ppf(0.975, len(shares) - 1)) * error
    return f"{mean:.3f} ± {half:.3f}"
