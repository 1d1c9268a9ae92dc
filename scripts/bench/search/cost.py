"""The CPU time of one suggestion, by the number of results."""

import time
from collections.abc import Sequence
from statistics import median

from bench.search.measures import write_table
from bench.search.searches import OURS, build_search
from raytune_yesno.search import History, Observation, build_algorithm
from raytune_yesno.space import Choice, Float, Int, Space, encode_point

NUM_RESULTS = (10, 100, 1_000, 10_000)
NUM_SUGGESTIONS = 5
SPACE: Space = {
    "learning_rate": Float(1e-5, 1, log=True),
    "batch_size": Int(1, 256, log=True),
    "optimizer": Choice("sgd", "adam", "rmsprop"),
    "channels": Choice((8,), (8, 16), (16, 32), (32, 64)),
    "weight_decay": Float(1e-6, 1e-1, log=True),
    "dropout": Float(0, 0.8),
}


def measure_cost(search: str, num_results: int) -> float:
    """Return the CPU seconds of one suggestion, the median of a few, all but the first one.

    The points are random search's, the losses a bowl: they make next to no difference to what a
    suggestion costs. Each suggestion has one result more than the last.
    """
    searching = build_search(search, SPACE, seed=0)
    random = build_algorithm("random", SPACE, seed=0)
    history, seconds = History(), []
    for number in range(num_results + NUM_SUGGESTIONS + 1):
        if number >= num_results:
            began = time.process_time()
            searching.ask(number, history)
            seconds.append(time.process_time() - began)
        point = random.suggest(number, history)
        assert point is not None
        loss = sum((u - 0.3) ** 2 for u in encode_point(SPACE, point))
        history.observe(Observation(number, point, loss, 1, "done", (loss,)))
    return median(seconds[1:])


def tell_cost(searches: Sequence[str] = OURS) -> list[str]:
    """Measure, and return the section."""
    heads = ["search", *(f"{num:,}" for num in NUM_RESULTS)]
    rows = [[s, *(f"{1000 * measure_cost(s, num):.3g}" for num in NUM_RESULTS)] for s in searches]
    text = (
        "CPU milliseconds of one suggestion after so many results, on one thread. `bayesian` and "
        "`tpe` see a subset of more than their `max_results`."
    )
    return [text, "", *write_table(heads, rows)]
