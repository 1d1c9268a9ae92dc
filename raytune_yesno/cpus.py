"""The CPUs of this machine."""

import os


def count_cpus() -> int:
    """Return how many CPUs this process may use; macOS cannot restrict them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
