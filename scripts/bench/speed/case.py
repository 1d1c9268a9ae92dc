"""What is measured: a case, which runs in an empty folder and comes to figures."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SLOTS = 2
"""Trials at a time, each on one thread."""


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


def run_program(
    words: list[str], *, environment: Mapping[str, str] | None = None, limit_s: float = 3600.0
) -> tuple[float, float]:
    """Run a program to its end, and return when it began and ended, in seconds since the epoch.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    began = time.time()
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **THREADS, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:4])} failed:\n{done.stdout[-3000:]}")
    return began, time.time()


THREADS = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def ours(*arguments: str) -> list[str]:
    """Return the words of a command of this project."""
    return [sys.executable, "-m", "raytune_yesno.cli", *arguments]


def describe_machine() -> dict[str, Any]:
    """Return what figures depend on."""
    names = ("torch", "ray", "optuna")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": _name_processor(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def _name_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
