import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.training.best_epoch import find_best

VALUES = st.lists(
    st.none() | st.sampled_from([math.nan, math.inf, 0.0, 0.1, 0.25, 0.5]), max_size=9
)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([], None),
        ([None, math.nan], None),
        ([0.3], 0),
        ([0.1, 0.3], 1),
        ([0.0, 0.5, 0.5, 0.25, 0.25], 4),  # the first was lucky
        ([0.5, 0.25, 0.0, 0.25, 0.25, 0.25, 0.0], 6),  # equal means: the later
        ([0.9, 0.25, 0.25, 0.25, 0.5, 0.5], 3),  # grown worse
        ([0.9, 0.5, 0.2, math.nan], 2),
        ([0.9, None, 0.2, 0.1, None], 3),
    ],
)
def test_finds_the_best_epoch(values: list[float | None], best: int | None) -> None:
    assert find_best(values) == best
    assert find_best([None if v is None else -v for v in values], mode="max") == best


@given(VALUES, VALUES)
def test_more_epochs_keep_the_best_or_make_a_new_one_the_best(
    values: list[float | None], more: list[float | None]
) -> None:
    before = find_best(values)
    kept = before
    for count in range(len(values) + 1, len(values) + len(more) + 1):
        best = find_best([*values, *more][:count])
        assert best in (kept, count - 1)
        kept = best
