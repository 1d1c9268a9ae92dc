"""The limit: one warm process per core, which runs one trial after another."""

import multiprocessing
from typing import Any

from bench.speed.peers.work import load, read_task, train

_CORPUS: Any = None


def run(job: tuple[dict[str, Any], float]) -> None:
    for _ in train(*job, _CORPUS):
        pass


if __name__ == "__main__":
    task = read_task()
    _CORPUS = load(task)
    with multiprocessing.get_context("fork").Pool(task["slots"]) as pool:
        pool.map(run, [(task, rate) for rate in task["rates"]], chunksize=1)
