import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.metrics import Metric, Objective, find_best_epoch

COSTS = st.lists(st.sampled_from([math.nan, math.inf, 0.0, 0.125, 0.25, 0.5]), max_size=9)


@pytest.mark.parametrize(
    ("costs", "best"),
    [
        ([], None),
        ([math.inf, math.nan], None),
        ([0.3], 0),
        ([0.1, 0.3], 1),
        ([0.0, 0.5, 0.5, 0.25, 0.25], 4),  # epoch 0 is an outlier
        ([0.5, 0.25, 0.0, 0.25, 0.25, 0.25, 0.0], 6),  # equal means: the later epoch wins
        ([0.9, 0.25, 0.25, 0.25, 0.5, 0.5], 3),  # gets worse at the end
        ([0.9, 0.5, 0.2, math.nan], 2),
        ([0.9, math.inf, 0.2, 0.1, math.inf], 3),
    ],
)
def test_finds_the_best_epoch(costs: list[float], best: int | None) -> None:
    assert find_best_epoch(costs) == best
    accuracy = Objective(Metric("accuracy", mode="max"))
    assert accuracy.find_best([{"accuracy": -cost} for cost in costs]) == best


@given(COSTS, COSTS)
def test_more_epochs_keep_the_best_or_add_a_better_one(
    costs: list[float], more: list[float]
) -> None:
    kept = find_best_epoch(costs)
    for count in range(len(costs) + 1, len(costs) + len(more) + 1):
        best = find_best_epoch([*costs, *more][:count])
        assert best in (kept, count - 1)
        kept = best
