"""What tests ask the operating system about processes."""

import os


def find_processes(name: str) -> list[int]:
    """Return the ids of this process's descendants whose command line begins with a name."""
    import psutil  # Ray brings it, and makes it importable

    found = []
    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(name):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found
