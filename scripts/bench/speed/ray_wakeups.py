"""Idle processes of Ray wake a hundred times a second. What that costs processes that compute.

    python scripts/bench/speed/ray_wakeups.py --actors 16 --repeats 5

It needs Ray and psutil, and no other file of this repository. It starts idle actors and prints how
often each wakes. Then it times processes, one for each core, that compute for some milliseconds and
wait for each other, as data-parallel training does. In every second run the actors are suspended,
so that nothing else differs.
"""

import argparse
import hashlib
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import ray

STEPS, ITERATIONS = 1000, 10_000
SECONDS = 10.0


class Idle:
    """An actor that waits for calls."""

    def find_pid(self) -> int:
        return os.getpid()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=16, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    start = ray.remote(num_cpus=0)(Idle).remote
    actors = [start() for _ in range(options.actors)]
    pids = ray.get([actor.find_pid.remote() for actor in actors])
    time_lock_step(cores)  # files and memory are warm
    wakeups, used = count_wakeups(pids), measure_use(pids)
    print(f"Ray {ray.__version__}, {len(pids)} idle actors, {cores} cores")
    print(f"wakeups of an idle actor: {wakeups:.0f} a second; of a core: {100 * used:.2f} %")
    ratios = []
    for _ in range(options.repeats):
        send(pids, signal.SIGSTOP)
        suspended = time_lock_step(cores)
        send(pids, signal.SIGCONT)
        idle = time_lock_step(cores)
        ratios.append(idle / suspended)
        print(f"{STEPS} steps: {suspended:.2f} s, actors suspended; {idle:.2f} s, actors idle")
    least, median, most = min(ratios), statistics.median(ratios), max(ratios)
    print(f"idle ÷ suspended: {median:.3f} ({least:.3f} to {most:.3f})")


def count_wakeups(pids: Sequence[int]) -> float:
    """Return how often a process waits for something to happen, per second, of all its threads."""
    before = _count_waits(pids)
    time.sleep(SECONDS)
    return (_count_waits(pids) - before) / SECONDS / len(pids)


def measure_use(pids: Sequence[int]) -> float:
    """Return the share of one core that a process uses."""
    processes = [psutil.Process(pid) for pid in pids]
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    time.sleep(SECONDS)
    after = sum(sum(process.cpu_times()[:2]) for process in processes)
    return float(after - before) / SECONDS / len(pids)


def time_lock_step(count: int) -> float:
    """Return the seconds that a number of processes take for all steps."""
    spawn = multiprocessing.get_context("spawn")
    barrier, seconds = spawn.Barrier(count), spawn.Value("d")
    workers = [spawn.Process(target=compute, args=(barrier, seconds)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return float(seconds.value)


def compute(barrier: Any, seconds: Any) -> None:
    """Compute, wait for the others, and so on."""
    barrier.wait()
    began = time.perf_counter()
    for _ in range(STEPS):
        hashlib.pbkdf2_hmac("sha256", b"", b"", ITERATIONS)
        barrier.wait()
    seconds.value = time.perf_counter() - began


def send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def _count_waits(pids: Sequence[int]) -> int:
    statuses = [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/status")]
    lines = (line for path in statuses for line in path.read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


if __name__ == "__main__":
    main()
