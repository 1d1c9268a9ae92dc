"""Standard test functions over mixed domains, whose least values are known."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raytune_yesno.space import Choice, Float, Int, Point, Space


@dataclass(frozen=True)
class Function:
    """A function to minimise: its space, its value at a point, and its least value."""

    space: Space
    evaluate: Callable[[Point], float]
    least: float


def branin(point: Point) -> float:
    """Branin's function (Dixon & Szegoe, 1978): two floats, three minima of 0.397887."""
    x, y = point["x"], point["y"]
    valley = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


_HARTMANN_WIDTHS = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_HARTMANN_CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(point: Point) -> float:
    """Hartmann's function in six dimensions (Dixon & Szegoe, 1978), least at -3.32237."""
    x_D = np.array([point[f"x{i}"] for i in range(6)])
    exponents = (_HARTMANN_WIDTHS * (x_D - _HARTMANN_CENTRES) ** 2).sum(axis=1)
    return -float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-exponents))


def levy(point: Point) -> float:
    """Levy's function in six dimensions, three of them whole: 0 where all are 1."""
    w = [1 + (point[f"x{i}"] - 1) / 4 for i in range(6)]
    inner = sum((v - 1) ** 2 * (1 + 10 * math.sin(math.pi * v + 1) ** 2) for v in w[:-1])
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return math.sin(math.pi * w[0]) ** 2 + inner + last


def rastrigin(point: Point) -> float:
    """Rastrigin's function in four dimensions, two of them whole, moved off the centre."""
    moved = [point["x0"] - 2, point["x1"] + 1, point["x2"] - 1.3, point["x3"] + 2.1]
    return sum(10 + z**2 - 10 * math.cos(2 * math.pi * z) for z in moved)


# By optimiser: the log10 of its best learning rate, and the loss there.
_OPTIMISERS = {"sgd": (-1.2, 0.15), "adam": (-2.8, 0.0), "rmsprop": (-3.2, 0.1)}
_WIDTHS = {(8,): 0.4, (8, 16): 0.1, (16, 32): 0.0, (32, 64): 0.2}


def training(point: Point) -> float:
    """A network's loss as it tends to look: a valley in the logarithms of learning rate and batch
    size that lies elsewhere for each optimiser, and weak hyperparameters beside; 0 at best."""
    best, loss = _OPTIMISERS[point["optimizer"]]
    rate = math.log10(point["learning_rate"]) - best - 0.5 * math.log10(point["batch_size"] / 16)
    decay = math.log10(point["weight_decay"]) + 3
    valley = min(rate**2, 2.0) + 0.3 * abs(math.log2(point["batch_size"] / 16)) / 4
    weak = 0.05 * min(decay**2, 1) + (point["dropout"] - 0.3) ** 2
    return loss + _WIDTHS[point["channels"]] + valley + weak


def choices(point: Point) -> float:
    """Six choices of four options, each with a cost, and a cost of neighbours that differ in
    parity; one float. 0 at best."""
    order = (2, 0, 3, 1)
    chosen = [order.index("abcd".index(point[f"c{i}"])) for i in range(6)]
    cost = sum((1 + i % 3) * index**1.5 for i, index in enumerate(chosen))
    cost += sum((a - b) % 2 for a, b in itertools.pairwise(chosen))
    return cost + 4 * (point["x"] - 0.7) ** 2


FUNCTIONS = {
    "branin": Function({"x": Float(-5, 10), "y": Float(0, 15)}, branin, 0.39788736),
    "hartmann6": Function({f"x{i}": Float(0, 1) for i in range(6)}, hartmann6, -3.3223681),
    "levy": Function(
        {f"x{i}": Int(-10, 10) if i < 3 else Float(-10, 10) for i in range(6)}, levy, 0.0
    ),
    "rastrigin": Function(
        {f"x{i}": Int(-5, 5) if i < 2 else Float(-5.12, 5.12) for i in range(4)}, rastrigin, 0.0
    ),
    "training": Function(
        {
            "learning_rate": Float(1e-5, 1, log=True),
            "batch_size": Int(1, 256, log=True),
            "optimizer": Choice(*_OPTIMISERS),
            "channels": Choice(*_WIDTHS),
            "weight_decay": Float(1e-6, 1e-1, log=True),
            "dropout": Float(0, 0.8),
        },
        training,
        0.0,
    ),
    "choices": Function(
        {**{f"c{i}": Choice(*"abcd") for i in range(6)}, "x": Float(0, 1)}, choices, 0.0
    ),
}
