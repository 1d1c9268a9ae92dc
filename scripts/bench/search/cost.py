"""The CPU time of one suggestion, by the number of results."""

import time
from collections.abc import Sequence
from statistics import median

from bench.search.functions import FUNCTIONS
from bench.search.results import write_table
from bench.search.searches import OURS, build_search
from raytune_yesno.search import History, Observation, build_algorithm

NUM_RESULTS = (10, 100, 1_000, 10_000)
NUM_SUGGESTIONS = 5
PROBLEM = "training"


def measure_cost(search: str, num_results: int) -> float:
    """Return the CPU seconds of one suggestion, the median of a few, all but the first one.

    The results are random search's on the function of this name: what they are worth makes next to
    no difference to what a suggestion costs. Each suggestion has one result more than the last.
    """
    function = FUNCTIONS[PROBLEM]
    searching = build_search(search, function.space, seed=0)
    random = build_algorithm("random", function.space, seed=0)
    history, seconds = History(), []
    for number in range(num_results + NUM_SUGGESTIONS + 1):
        if number >= num_results:
            began = time.process_time()
            searching.ask(number, history)
            seconds.append(time.process_time() - began)
        point = random.suggest(number, history)
        assert point is not None
        loss = function.evaluate(point)
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
