"""Which epoch of a run is the best: the rule of training, of trials and of the refit."""

import math
from collections.abc import Sequence

SMOOTH_EPOCHS = 3


def find_best(values: Sequence[float | None], mode: str = "min") -> int | None:
    """Return the index of the best epoch, or None where no epoch has a value.

    Compared are means over an epoch and the two before it, so that luck on a small validation part
    decides less, and of equal epochs the later one wins. An epoch with fewer before it counts only
    where there is no other: an early, half-trained epoch is never preferred for want of smoothing.
    Values that are missing or not finite are the worst there are.

    The choice moves forward only: adding epochs to ``values`` either keeps the best epoch or makes
    a new one the best. So it is enough to keep the checkpoint of an epoch that is the best so far.

    Args:
        values: the metric of each epoch, in order.
        mode: ``min`` or ``max``.
    """
    if all(value is None for value in values):
        return None
    sign = -1.0 if mode == "max" else 1.0
    cost = [
        sign * value if value is not None and math.isfinite(value) else math.inf for value in values
    ]
    first = min(SMOOTH_EPOCHS, len(cost)) - 1
    best, least = first, math.inf
    for index in range(first, len(cost)):
        recent = cost[max(0, index + 1 - SMOOTH_EPOCHS) : index + 1]
        mean = math.fsum(recent) / len(recent) if all(map(math.isfinite, recent)) else math.inf
        if mean <= least and not (math.isinf(mean) and math.isinf(cost[index])):
            best, least = index, mean
    return best
