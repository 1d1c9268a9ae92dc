"""A case of the benchmark: it runs in an empty folder and returns figures."""

import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.versions import library_versions

ROOT = Path(__file__).parents[3]
THREADS = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
_LIMIT_S = 3600.0
SLOTS = 2
"""Trials at a time, each on one thread."""
PLAIN = {"model": "cnn", "augment_scenes": 0.0, "valid_noise": False}
"""The tutorial's network on the recordings as they are: an epoch on 60 takes a quarter second."""


@dataclass(frozen=True)
class Case:
    """One row of a part's table.

    Attributes:
        name: of the row.
        run: measures it once, in an empty folder.
        group: cases of one group are compared.
    """

    name: str
    run: Callable[[Path], dict[str, float]]
    group: str = ""


def run_program(words: list[str], folder: Path, **environment: str) -> None:
    """Run a program to its end in a folder, with additional environment variables.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **THREADS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:4])} failed:\n{done.stdout[-3000:]}")


def run_apart(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Call a function in a process of its own, and return its figures."""
    alone = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=alone) as pool:
        return pool.submit(function, *arguments).result()


def peak_mb() -> float:
    """Return the peak memory of this process."""
    # Not getrusage's figure, which a process inherits from the one that it was forked from.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return float(line.split()[1]) / 1e3


def ours(*arguments: str) -> list[str]:
    """Return the words of a command of this project."""
    return [sys.executable, "-m", "raytune_yesno", *arguments]


def describe_machine() -> dict[str, Any]:
    """Return the properties of the machine that results depend on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": _name_processor(),
        "versions": library_versions(),
    }


def _name_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
