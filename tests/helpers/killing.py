"""Run a search in a process of its own, which a test may kill at any moment."""

import multiprocessing
import random
from multiprocessing.forkserver import _forkserver as server
from pathlib import Path
from typing import Any

from raytune_yesno.study.store import STORE
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.tuning.plan import Plan

# One that has imported all before it is forked: a search begins in a second, not in ten.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["raytune_yesno.tuning.run", "raytune_yesno.tasks.speech.synthetic"]
)


def search(plan: Plan, out: Path, address: str, resume: bool) -> None:
    """Run or resume a search on 10 synthetic recordings."""
    import torch

    from raytune_yesno.cluster.session import ray_session
    from raytune_yesno.tuning.run import run_search

    torch.set_num_threads(1)
    with ray_session(address):
        run_search(plan, synthesize(10), out, resume=resume)


def search_and_kill(plan: Plan, out: Path, address: str, kills: int, seed: int) -> int:
    """Run a search and kill it (SIGKILL) time and again; return how often it was killed.

    Moments are counted in events of the store, which a search that stands still does not write.
    """
    # One that other tests started may be older than the cluster, and not know its token.
    server._stop()
    generator = random.Random(seed)
    killed = 0
    while True:
        resume = count_lines(out) > 0
        moment = count_lines(out) + generator.randint(1, 14)
        process: Any = _CONTEXT.Process(target=search, args=(plan, out, address, resume))
        process.start()
        while process.is_alive() and (killed == kills or count_lines(out) < moment):
            process.join(generator.uniform(0.001, 0.02))
        if not process.is_alive():
            assert process.exitcode == 0
            return killed
        process.kill()
        process.join()
        killed += 1


def run_and_kill(target: Any, arguments: tuple[Any, ...], out: Path, moment: int) -> bool:
    """Run a function and kill it (SIGKILL) when its study has so many events.

    Returns:
        Whether it was killed before it had ended.
    """
    server._stop()
    process: Any = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    while process.is_alive() and count_lines(out) < moment:
        process.join(0.002)
    was_alive = bool(process.is_alive())
    process.kill()
    process.join()
    return was_alive


def count_lines(out: Path) -> int:
    """Count the events of a study."""
    store = out / STORE
    return store.read_bytes().count(b"\n") if store.exists() else 0
