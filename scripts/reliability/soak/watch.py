"""What a cluster and the command that runs on it take: processes, memory, open files, disk."""

import contextlib
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from reliability.chaos.cluster import TRIAL, Cluster

ROLES = {
    "trials": TRIAL,
    "head": "gcs/gcs_server",
    "raylets": "raylet/raylet ",
    "dashboard": "dashboard/dashboard.py",
    "agents": "Agent",
}
"""What a process is, by what its command line holds; others are `others`."""
FIGURES = ("processes", "most MB", "most files")


def measure(cluster: Cluster, driver: int) -> dict[str, dict[str, float]]:
    """Return for each role how many processes it has, and the most that one of them takes.

    Args:
        driver: process id of the command.

    Returns:
        A role's ``processes``, ``most MB`` of resident memory, ``most files`` that are open.
    """
    taken: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(FIGURES, 0.0))
    for process in [*cluster.find(""), *_find_process(driver)]:
        with contextlib.suppress(Exception):  # it has ended
            found = {
                "processes": 1.0,
                "most MB": process.memory_info().rss / 1e6,
                "most files": float(process.num_fds()),
            }
            command = " ".join(process.cmdline())
            role = next((role for role, word in ROLES.items() if word in command), "others")
            _add(taken["driver" if process.pid == driver else role], found)
    return dict(taken)


def measure_disk(**folders: Path) -> dict[str, float]:
    """Return the MB that lie in each folder."""
    return {f"{name} MB": round(_count_bytes(path) / 1e6, 3) for name, path in folders.items()}


def _find_process(pid: int) -> list[Any]:
    import psutil

    return [psutil.Process(pid)] if psutil.pid_exists(pid) else []


def _add(total: dict[str, float], found: dict[str, float]) -> None:
    total["processes"] += found["processes"]
    for figure in FIGURES[1:]:
        total[figure] = round(max(total[figure], found[figure]), 1)


def _count_bytes(folder: Path) -> int:
    total = 0
    for above, _, names in os.walk(folder):  # what is deleted meanwhile counts for nothing
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(above, name)).st_blocks * 512
    return total


def summarize(samples: list[dict[str, Any]], role: str, figure: str) -> tuple[float, ...]:
    """Return the median of a figure in the second, third and last quarter of the trials."""
    end = samples[-1]["ended"]
    quarters = []
    for quarter in (1, 2, 3):
        low, high = quarter * end / 4, (quarter + 1) * end / 4
        found = sorted(
            sample["taken"][role][figure]
            for sample in samples
            if low <= sample["ended"] <= high and figure in sample["taken"].get(role, {})
        )
        quarters.append(found[len(found) // 2] if found else float("nan"))
    return tuple(quarters)
