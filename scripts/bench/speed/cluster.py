"""A cluster on this machine, for the duration of a measurement."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.speed.case import SLOTS
from raytune_yesno.import_path import module_command

TOKEN = {"RAY_AUTH_MODE": "token"}
"""The environment variables of a program that connects to the cluster."""


@contextmanager
def running_cluster(nodes: int = 1) -> Iterator[str]:
    """Start a cluster of nodes with as many slots each, yield its address, and end it."""
    command = [*module_command("raytune_yesno"), "cluster"]
    up = [*command, "up", str(nodes), "--num-cpus", str(SLOTS)]
    done = subprocess.run(up, capture_output=True, text=True, check=False)
    try:
        found = re.search(r"address (\S+);", done.stdout)
        if not found:
            raise RuntimeError(f"{' '.join(up)} failed:\n{done.stdout}{done.stderr}")
        yield found[1]
    finally:
        subprocess.run([*command, "down"], check=True, capture_output=True)
