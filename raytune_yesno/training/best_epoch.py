"""Which epoch of a run is the best: the rule of training, of trials and of the refit."""

import math
from collections.abc import Sequence

SMOOTH_EPOCHS = 3


def find_best(values: Sequence[float | None], mode: str = "min") -> int | None:
    """Return the index of the best epoch, or None where none has a finite value.

    Compared are means over an epoch and the two before it, so that luck on a small validation part
    decides less, and of equal epochs the later one wins. An epoch with fewer before it counts only
    where there is no other: an early, half-trained epoch is never preferred for want of smoothing.
    Epochs without a finite value are passed over.

    The choice moves forward only: a further epoch becomes the best, or the best one stays. So it is
    enough to keep the checkpoint of an epoch that is the best when it ends.

    Args:
        values: the metric of each epoch, in order.
        mode: ``min`` or ``max``.
    """
    sign = -1.0 if mode == "max" else 1.0
    found = [
        (index, sign * value)
        for index, value in enumerate(values)
        if value is not None and math.isfinite(value)
    ]
    best, least = None, math.inf
    for place in range(max(0, min(SMOOTH_EPOCHS, len(found)) - 1), len(found)):
        recent = [cost for _, cost in found[max(0, place + 1 - SMOOTH_EPOCHS) : place + 1]]
        if (mean := math.fsum(recent) / len(recent)) <= least:
            best, least = found[place][0], mean
    return best
