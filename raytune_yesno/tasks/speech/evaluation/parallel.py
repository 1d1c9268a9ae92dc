"""Measure several things at a time."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from raytune_yesno.cpus import count_cpus, one_thread


def on_all_cores(measure: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    """Yield the result of ``measure`` for each item, in order, with one core per item."""
    threads = count_cpus()
    with (
        one_thread(),
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        yield from pool.map(measure, items)
