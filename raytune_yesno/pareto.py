"""Several costs at once: domination, fronts, hypervolume, and the choice of one compromise.

A vector of costs dominates another one if it is nowhere larger and somewhere smaller. The front is
the set of vectors that no other one dominates. Vectors with a value that is not finite belong to no
front. With a single cost, all functions say what the order of the numbers says.
"""

import math
import operator
from collections.abc import Iterable, Sequence

Costs = Sequence[float]


def weakly_dominates(one: Costs, other: Costs) -> bool:
    """Return whether a vector is nowhere larger than another one."""
    return all(a <= b for a, b in zip(one, other, strict=True))


def find_front(vectors: Sequence[Costs]) -> list[int]:
    """Return the indices of the vectors that no other one dominates; of equal ones, the first.

    Example:
        >>> find_front([(1, 3), (2, 2), (3, 3), (2, 2)])
        [0, 1]
    """
    finite = [i for i, vector in enumerate(vectors) if all(map(math.isfinite, vector))]
    if finite and len(vectors[finite[0]]) > 2:
        ranks = rank([vectors[index] for index in finite])
        return [index for index, number in zip(finite, ranks, strict=True) if not number]
    kept: list[int] = []
    # In lexicographic order, a vector is dominated only by earlier ones; of two costs, the second
    # falls along the front.
    for index in sorted(finite, key=lambda i: (*vectors[i], i)):
        if not kept or not weakly_dominates(vectors[kept[-1]], vectors[index]):
            kept.append(index)
    return sorted(kept)


def rank(vectors: Sequence[Costs]) -> list[int]:
    """Return the rank of each vector: 0 on the front, 1 on the front of the others, and so on.

    Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II". Of equal
    vectors, each is one rank behind the one before it, so that the many copies of one member do
    not crowd out others. Vectors that are not finite have the last rank.

    Example:
        >>> rank([(1, 3), (2, 2), (3, 3), (2, 2)])
        [0, 0, 1, 1]
    """
    import numpy as np

    if not vectors:
        return []
    costs_NM = np.array(vectors, dtype=float)
    is_finite_N = np.isfinite(costs_NM).all(axis=1)
    # In lexicographic order, a vector is dominated only by earlier ones. The sum makes -0.0 0.0.
    row_UM, which = np.unique(costs_NM[is_finite_N] + 0.0, axis=0, return_inverse=True)
    rank_U = np.zeros(len(row_UM), dtype=int)
    for k in range(1, len(row_UM)):
        is_better_U = (row_UM[:k] <= row_UM[k]).all(axis=1)
        rank_U[k] = rank_U[:k].max(where=is_better_U, initial=-1) + 1
    num_seen_U = np.zeros(len(row_UM), dtype=int)
    ranks = []
    for u in which.reshape(-1).tolist():
        ranks.append(int(rank_U[u] + num_seen_U[u]))
        num_seen_U[u] += 1
    finite, last = iter(ranks), max(ranks, default=-1) + 1
    return [next(finite) if is_finite else last for is_finite in is_finite_N]


def order(vectors: Sequence[Costs]) -> list[int]:
    """Return the indices from the best vector to the worst: by rank, and spread within a rank.

    Within a rank the order is an epsilon-net (Salinas et al., 2021; Schmucker et al., 2021): it
    begins with the best vector in the first cost, and the next one is always the vector that is
    farthest from those before it, in costs scaled to the range of the rank. Any number of vectors
    from the beginning of the order is therefore spread over the front. With a single cost this is
    the order of the costs.

    Example:
        >>> order([(4, 0), (2, 2), (0, 4), (5, 5)])
        [2, 0, 1, 3]
    """
    if vectors and len(vectors[0]) == 1:  # many ranks, each of one vector
        infinite = [not math.isfinite(vector[0]) for vector in vectors]
        keys = [(away, 0.0 if away else v[0]) for away, v in zip(infinite, vectors, strict=True)]
        return sorted(range(len(vectors)), key=keys.__getitem__)
    ranks = rank(vectors)
    groups: dict[int, list[int]] = {}
    for index, number in enumerate(ranks):
        groups.setdefault(number, []).append(index)
    return [index for number in sorted(groups) for index in _spread(vectors, groups[number])]


def positions(vectors: Sequence[Costs]) -> list[int]:
    """Return the position of each vector in :func:`order`; 0 is the best."""
    found = [0] * len(vectors)
    for position, index in enumerate(order(vectors)):
        found[index] = position
    return found


def _spread(vectors: Sequence[Costs], group: list[int]) -> list[int]:
    import numpy as np

    group = sorted(group, key=lambda index: (*vectors[index], index))
    if len(group) < 3 or not all(map(math.isfinite, vectors[group[0]])):
        return group
    lows, spans = _find_scale([vectors[index] for index in group])
    scaled = [
        [(c - low) / span for c, low, span in zip(vectors[index], lows, spans, strict=True)]
        for index in group
    ]
    scaled_NM, apart_N = np.array(scaled), np.full(len(group), np.inf)
    chosen = [0]
    while len(chosen) < len(group):
        last = chosen[-1]
        apart_N[last] = -1.0
        # A new member is nearest to few others, and only their distances are computed by
        # math.dist: between equals its rounding decides, which NumPy's would change.
        distance_N = np.linalg.norm(scaled_NM - scaled_NM[last], axis=1)
        for index in np.flatnonzero(distance_N < apart_N * (1 + 1e-9)):
            apart_N[index] = min(apart_N[index], math.dist(scaled[index], scaled[last]))
        chosen.append(int(apart_N.argmax()))
    return [group[index] for index in chosen]


def _find_scale(vectors: Sequence[Costs]) -> tuple[list[float], list[float]]:
    """Return the smallest value and the range of each cost; 1 for a range of 0."""
    columns = list(zip(*vectors, strict=True))
    lows = [min(column) for column in columns]
    return lows, [(max(column) - low) or 1.0 for column, low in zip(columns, lows, strict=True)]


def hypervolume(vectors: Sequence[Costs], reference: Costs) -> float:
    """Return the volume that is dominated by some vector and bounded by a reference point.

    Example:
        >>> hypervolume([(1, 3), (2, 2)], (4, 4))
        5.0

    Args:
        vectors: vectors of costs; those that do not dominate the reference point add nothing.
        reference: the reference point.
    """
    inside = [v for v in vectors if all(c < r for c, r in zip(v, reference, strict=True))]
    front = [tuple(inside[index]) for index in find_front(inside)]
    return float(_measure(front, tuple(reference)))


def exclusive_volume(vector: Costs, others: Sequence[Costs], reference: Costs) -> float:
    """Return the volume that a vector dominates and no other one does.

    Example:
        >>> exclusive_volume((2, 2), [(1, 3)], (4, 4))
        2.0

    Args:
        vector: a vector of costs; it adds nothing if it does not dominate the reference point.
        others: the other vectors.
        reference: the reference point.
    """
    if not all(c < r for c, r in zip(vector, reference, strict=True)):
        return 0.0
    # What others dominate within the vector's box is what their parts inside it dominate.
    clipped = [tuple(map(max, vector, other)) for other in others]
    box = math.prod(r - c for c, r in zip(vector, reference, strict=True))
    return max(0.0, float(box - hypervolume(clipped, reference)))


def _measure(front: Sequence[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """Add the exclusive volumes of the vectors, in the order of the last cost.

    The vectors before one are no worse in the last cost, so that its exclusive volume is a prism:
    its base is the exclusive volume without that cost (While et al. 2012, "A fast way of
    calculating exact hypervolumes").
    """
    if not front:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(front)[0]
    volume = 0.0
    if len(reference) == 2:
        bound = reference[1]
        for first, second in sorted(front):
            volume += (reference[0] - first) * max(bound - second, 0.0)
            bound = min(bound, second)
        return volume
    bases: list[tuple[float, ...]] = []
    for *costs, last in sorted(front, key=operator.itemgetter(-1)):
        base = tuple(costs)
        box = math.prod(r - c for c, r in zip(base, reference[:-1], strict=True))
        clipped = {tuple(map(max, base, other)) for other in bases}
        inside = _measure(_drop_dominated(clipped), reference[:-1])
        volume += max(box - inside, 0.0) * (reference[-1] - last)
        bases.append(base)
    return volume


def _drop_dominated(vectors: Iterable[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return the front of a few finite vectors, faster than :func:`find_front`."""
    kept: list[tuple[float, ...]] = []
    for vector in sorted(vectors):
        if not any(weakly_dominates(other, vector) for other in kept):
            kept.append(vector)
    return kept


def choose_reference(vectors: Sequence[Costs]) -> tuple[float, ...]:
    """Return the usual reference point: the worst finite value of each cost, and 10 % of the range.

    A cost that has no range gets 10 % of its size instead, or 0.1 if its size is below 1.

    Args:
        vectors: all results, not only the front.
    """
    finite = [vector for vector in vectors if all(map(math.isfinite, vector))]
    columns = list(zip(*finite, strict=True))
    return tuple(
        max(column) + 0.1 * ((max(column) - min(column)) or max(1.0, abs(max(column))))
        for column in columns
    )


def find_knee(vectors: Sequence[Costs]) -> int:
    """Return the index of the knee of a front: the vector nearest to the ideal point.

    The ideal point has the smallest value of each cost. Costs are scaled to the range of the front.
    A cost whose values are positive and span more than a factor of 10, such as a number of
    parameters, is scaled by its logarithm.

    Example:
        >>> find_knee([(0.9, 100), (0.2, 1000), (0.19, 100000)])
        1

    Args:
        vectors: the vectors of the front, at least one.
    """
    columns = [
        [math.log(value) for value in column]
        if min(column) > 0 and max(column) > 10 * min(column)
        else list(column)
        for column in zip(*vectors, strict=True)
    ]
    rows = list(zip(*columns, strict=True))
    lows, spans = _find_scale(rows)
    return min(
        range(len(rows)),
        key=lambda index: (
            math.fsum(
                ((value - low) / span) ** 2
                for value, low, span in zip(rows[index], lows, spans, strict=True)
            ),
            tuple(vectors[index]),
        ),
    )
