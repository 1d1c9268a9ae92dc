"""What tests ask the operating system about processes."""

import os
from pathlib import Path


def find_processes(name: str) -> list[int]:
    """Return the ids of this process's descendants whose command line begins with a name."""
    import psutil

    found = []
    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(name):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def outlive(name: str, timeout_s: float = 60.0) -> list[int]:
    """Wait for the end of such processes; return those that do not end."""
    import psutil

    left = []
    for pid in find_processes(name):
        try:
            psutil.Process(pid).wait(timeout_s)
        except psutil.NoSuchProcess:
            continue
        except psutil.TimeoutExpired:
            left.append(pid)
    return left


def find_with_environment(*texts: str) -> list[str]:
    """Return the command lines of all processes in whose environment, as begun, texts stand."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            if all(text.encode() in environment for text in texts):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
