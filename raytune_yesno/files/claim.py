"""The claim of a command that writes: which process it is, and whether it still lives."""

import contextlib
import json
import os
import shlex
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.errors import one_line
from raytune_yesno.files.remote import hide_secrets


@dataclass(frozen=True)
class Claim:
    """The content of a claim: the process that wrote it.

    Attributes:
        host: the host's name.
        pid: the process, in its own namespace.
        since: when it asked for the lock, in seconds since 1970 on its clock.
        command: its command line, without passwords.
        kernel: the running kernel; equal for all containers of a machine.
        device: the kernel's number of the file system that contains the folder.
        namespace: the namespace of ``pid``.
        started: when the process started; distinguishes it from a later one of the same ``pid``.
        is_holding: whether it holds the lock; otherwise it is waiting for it.
    """

    host: str
    pid: int
    since: float
    command: str
    kernel: str
    device: str
    namespace: str
    started: str
    is_holding: bool

    def __str__(self) -> str:
        since = "an unknown time"
        with contextlib.suppress(ValueError, OverflowError, OSError):
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return one_line(
            f"process {self.pid} on host {self.host}, since {since}, `{self.command[:200]}`"
        )

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; False if unknown."""
        if (self.kernel, self.namespace) != (read_kernel(), _namespace()):
            return False
        return _started(self.pid) != self.started


def parse_claim(content: bytes) -> Claim | None:
    """Parse a claim; None if it is damaged."""
    try:
        found = json.loads(content)
        texts = ("host", "command", "kernel", "device", "namespace", "started", "is_holding")
        if all(isinstance(found[key], str) for key in texts):
            return Claim(
                **{key: found[key] for key in texts[:-1]},
                is_holding=found["is_holding"].strip() == "True",
                pid=int(found["pid"]),
                since=float(found["since"]),
            )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    return None


def describe_process() -> dict[str, Any]:
    """Return the claim of this process."""
    command = shlex.join(["raytune-yesno", *sys.argv[1:]])
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.time(),
        # Others may read the claim: no passwords and keys of URIs.
        "command": hide_secrets(command)[:400],
        "kernel": read_kernel(),
        "namespace": _namespace(),
        "started": _started(os.getpid()),
    }


def read_kernel() -> str:
    """Return what identifies the running kernel."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return str(os.readlink("/proc/self/ns/pid"))
    return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks of the kernel; empty if it has ended."""
    try:
        # The name of the command, in parentheses, may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        # A zombie has ended; in a container, nobody may ever ask for its exit code.
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running"
