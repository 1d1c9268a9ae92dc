"""Measure several things at a time."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch

from raytune_yesno.cpus import count_cpus

if TYPE_CHECKING:
    pass


def on_all_cores(measure: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    """Yield the result of ``measure`` for each item, in order, with one core per item."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(
            count_cpus(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            yield from pool.map(measure, items)
    finally:
        torch.set_num_threads(threads)
