"""Run things where they can neither see nor hurt anything else: in namespaces of their own.

Processes, network and mounts are apart. When the first process there ends, the kernel ends all the
others, so nothing outlives a test, whatever becomes of it.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.processes import find_with_environment

TIMEOUT_S = 400
MARK = "RAYTUNE_YESNO_TEST"  # in the environment of all that is started there
LOOPBACK_UP = """\
import fcntl, socket, struct
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
"""
# The shell stays as process 1: it reaps the others, which `ray stop` waits for.
PROLOGUE = f"set -eu\n{sys.executable} -c '{LOOPBACK_UP}'\n"


@functools.cache
def namespaces() -> tuple[str, ...]:
    """Return the command that runs another in new namespaces; skip the test where none does."""
    base = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--net")
    complaint = "there is no unshare"
    for command in (base, (*base, "--map-root-user")) if shutil.which("unshare") else ():
        trial = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if trial.returncode == 0:
            return command
        complaint = trial.stderr.strip()
    pytest.skip(f"no namespaces can be made here: {complaint}")


def run_apart(
    script: str, environment: dict[str, str], timeout_s: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a script in namespaces of its own; nothing of it is left when this returns or raises."""
    process = subprocess.Popen(
        [*namespaces(), "bash", "-c", PROLOGUE + script],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        log, _ = process.communicate(timeout=timeout_s)
    except BaseException:
        # With the first process there all others end, and unshare ends after them.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for number in children.split() or [process.pid]:
            os.kill(int(number), signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, log)


def find_marked(mark: str) -> list[str]:
    """Return the command lines of the processes that have a mark in their environment."""
    return find_with_environment(f"{MARK}={mark}")


@contextmanager
def own_home() -> Iterator[dict[str, str]]:
    """Give Ray a home of its own, for its token, and a folder whose name is short, for sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        yield {
            "HOME": folder,
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            MARK: folder,
        }
