"""A space whose parameters depend on choices, and the same parameters in a flat space.

The only good region lies in one branch of a branch. A search knows which parameters are active, or
sees all of them always.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from bench.search.measures import evaluations_to, take_median
from bench.search.searches import build_search
from raytune_yesno.search import History, Observation
from raytune_yesno.space import Choice, Float, Int, Point, Space, build_space, walk

NUM_EVALUATED = 120
TARGET = 0.02
FIRST_SEED = 100  # lower ones are for development
SEARCHES = ("random", "auto", "tpe", "tpe:model=joint", "optuna-tpe")
FORMS = ("tree", "flat")

TREE = build_space(
    {
        "model": Choice(
            {
                "forest": {"depth": Int(1, 20), "features": Float(0.05, 1)},
                "boosting": {
                    "rate": Float(1e-3, 1, log=True),
                    "leaves": Int(2, 64, log=True),
                    "subsample": Float(0.2, 1),
                },
                "network": {
                    "learning_rate": Float(1e-5, 1, log=True),
                    "layers": Int(1, 6),
                    "dropout": Float(0, 0.8),
                },
                "svm": {
                    "c": Float(1e-3, 1e3, log=True),
                    "kernel": Choice(
                        {
                            "linear": {},
                            "rbf": {"gamma": Float(1e-5, 10, log=True)},
                            "poly": {"degree": Int(2, 6), "coef": Float(0, 1)},
                        }
                    ),
                },
            }
        )
    }
)
"""Of each model the best loss is 0.3, 0.1, 0.15 and, by kernel, 0.25, 0 and 0.2."""


def measure(point: Mapping[str, Any]) -> float:
    """Return the loss of a point; parameters that are not active have no influence."""
    if point["model"] == "forest":
        return 0.3 + _square(point["depth"], 12, 20) + 0.3 * _square(point["features"], 0.4, 1)
    if point["model"] == "boosting":
        rate, leaves = math.log10(point["rate"]), math.log2(point["leaves"])
        valley = _square(rate, -1.2, 3) + 0.5 * _square(leaves, 4, 5)
        return 0.1 + valley + 0.2 * _square(point["subsample"], 0.8, 0.8)
    if point["model"] == "network":
        rate = math.log10(point["learning_rate"])
        return 0.15 + 2 * _square(rate, -2.5, 5) + 0.3 * _square(point["dropout"], 0.2, 0.8)
    c = math.log10(point["c"])
    if point["kernel"] == "rbf":
        return 2 * (_square(c, 1.5, 6) + _square(math.log10(point["gamma"]), -2.7, 6))
    if point["kernel"] == "poly":
        return 0.2 + _square(c, 0, 6) + _square(point["degree"], 3, 4)
    return 0.25 + _square(c, -1, 6)


def flatten() -> Space:
    """Return the space with all parameters, independent of each other."""
    return {
        name: Choice(*node.options) if isinstance(node, Choice) else node
        for name, node, _ in walk(TREE)
    }


def search_branches(form: str, search: str, seed: int) -> dict[str, Any]:
    """Return the losses of a run; it ends once the target is reached."""
    searching = build_search(search, TREE if form == "tree" else flatten(), seed)
    history, ended = History(), list[float]()
    while len(ended) < NUM_EVALUATED and (not ended or min(ended) > TARGET):
        point: Point | None = searching.ask(len(ended), history)
        assert point
        loss = measure(point)
        seen = Observation(len(ended), point, loss, 1, "done", (loss,))
        history.observe(seen)
        searching.tell(seen)
        ended.append(round(loss, 7))
    return {"ended": ended, "spent": [], "bests": [], "epochs": len(ended)}


def tell_branches(records: Mapping[Any, Mapping[str, Any]]) -> Iterable[str]:
    """Yield the table of the part, as Markdown."""
    found: dict[tuple[str, str], list[float]] = {}
    for run, record in records.items():
        if run.part == "branches":
            reached = evaluations_to(record["ended"], TARGET)
            found.setdefault((run.search, run.problem), []).append(reached)
    yield (
        f"Evaluations until the loss is at most {TARGET}, of {NUM_EVALUATED} at most, one at a "
        "time. *Tree*: parameters belong to options; for Optuna, define-by-run. *Flat*: all "
        "parameters always."
    )
    yield ""
    yield "| search | seeds | tree | reached | flat | reached |"
    yield "|---|---|---|---|---|---|"
    for search in dict.fromkeys(search for search, _ in found):
        cells = [search, str(max(len(found.get((search, form), [])) for form in FORMS))]
        for form in FORMS:
            values = found.get((search, form), [])
            share = f"{sum(map(math.isfinite, values))} of {len(values)}"
            cells += [str(take_median(values)), share] if values else ["–", "–"]
        yield f"| {' | '.join(cells)} |"


def _square(value: float, best: float, width: float) -> float:
    return ((value - best) / width) ** 2
