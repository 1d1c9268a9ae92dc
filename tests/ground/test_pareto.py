"""Domination, fronts and hypervolume, against their definitions."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno import pareto


def dominates(one, other):
    return pareto.weakly_dominates(one, other) and tuple(one) != tuple(other)


VECTORS = st.integers(1, 4).flatmap(
    lambda m: st.lists(st.tuples(*[st.integers(0, 6)] * m), min_size=1, max_size=12)
)


@given(VECTORS)
def test_front_holds_what_nothing_dominates(vectors):
    front = pareto.find_front(vectors)
    for index, vector in enumerate(vectors):
        is_beaten = any(dominates(other, vector) for other in vectors)
        is_repeated = vector in vectors[:index]
        assert (index in front) == (not is_beaten and not is_repeated)


@given(VECTORS)
def test_order_follows_ranks_and_each_rank_is_beaten_by_the_one_before(vectors):
    ranks = pareto.rank(vectors)
    first = {vector: ranks[vectors.index(vector)] for vector in vectors}
    for index, (number, vector) in enumerate(zip(ranks, vectors, strict=True)):
        beaten_by = [other_rank for v, other_rank in first.items() if dominates(v, vector)]
        assert number == max(beaten_by, default=-1) + 1 + vectors[:index].count(vector)
    ordered = pareto.order(vectors)
    assert sorted(ordered) == list(range(len(vectors)))
    if len(vectors[0]) > 1:  # a single cost is ordered as a number, with its copies
        assert [ranks[index] for index in ordered] == sorted(ranks)


@given(VECTORS, st.sampled_from([1, 0.1, 1e-200, 1e200]))
def test_the_next_of_a_rank_is_farthest_from_those_before_and_ties_are_lexicographic(vectors, unit):
    vectors = [tuple(cost * unit for cost in vector) for vector in vectors]
    group = [index for index, number in enumerate(pareto.rank(vectors)) if number == 0]
    lows, highs = (
        [f(v[m] for v in map(vectors.__getitem__, group)) for m in range(len(vectors[0]))]
        for f in (min, max)
    )
    scaled = {
        i: [
            (c - low) / ((high - low) or 1)
            for c, low, high in zip(vectors[i], lows, highs, strict=True)
        ]
        for i in group
    }
    rest = sorted(group, key=lambda i: (vectors[i], i))
    expected = [rest.pop(0)]
    while rest:
        apart = [min(math.dist(scaled[i], scaled[k]) for k in expected) for i in rest]
        expected.append(rest.pop(apart.index(max(apart))))
    assert pareto.order(vectors)[: len(group)] == expected


def test_costs_whose_range_is_no_float_are_ordered_too():
    vectors = [(1e308, -1e308), (-1e308, 1e308), (0.0, 0.0), (-0.0, 0.0)]
    assert sorted(pareto.order(vectors)) == [0, 1, 2, 3]
    assert pareto.rank([(0.0, 0.0, 0.0), (-0.0, 0.0, -0.0)]) == [0, 1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_one_cost_is_ordered_as_a_number(costs):
    assert pareto.order([(c,) for c in costs]) == sorted(range(len(costs)), key=lambda i: costs[i])


@given(VECTORS)
def test_hypervolume_counts_the_dominated_cells_of_a_grid(vectors):
    num = len(vectors[0])
    cells = itertools.product(range(8), repeat=num)
    covered = sum(
        any(map(pareto.weakly_dominates, vectors, [cell] * len(vectors))) for cell in cells
    )
    assert pareto.hypervolume(vectors, (8,) * num) == covered


@given(VECTORS)
def test_the_exclusive_volume_is_what_a_vector_adds(vectors):
    vector, *others = vectors
    for reference in ((8,) * len(vector), (3,) * len(vector)):
        added = pareto.hypervolume(vectors, reference) - pareto.hypervolume(others, reference)
        assert pareto.exclusive_volume(vector, others, reference) == added


def test_vectors_that_are_not_finite_are_last_and_on_no_front():
    vectors = [(math.inf, 0.0), (1.0, 1.0), (math.nan, -1.0), (2.0, 2.0)]
    assert pareto.find_front(vectors) == [1]
    assert pareto.order(vectors)[:2] == [1, 3]
    assert pareto.choose_reference(vectors) == pytest.approx((2.1, 2.1))


@pytest.mark.parametrize("cost", [0.0, 0.5, -3.0, 1e17, -1e17, 1e200])
def test_a_cost_that_is_equal_in_all_results_leaves_a_volume(cost):
    vectors = [(1.0, cost), (2.0, cost)]
    volume = pareto.hypervolume(vectors, pareto.choose_reference(vectors))
    assert 0 < volume < math.inf
    assert pareto.hypervolume(vectors[1:], pareto.choose_reference(vectors)) < volume


def test_the_beginning_of_an_order_is_spread_over_the_front():
    draw = random.Random(0)
    angles = [draw.random() * math.pi / 2 for _ in range(40)]
    front = [(1 - math.cos(a), 1 - math.sin(a)) for a in angles]
    first = sorted(angles[index] for index in pareto.order(front)[:5])
    assert max(b - a for a, b in itertools.pairwise(first)) < 0.6  # of pi/2
