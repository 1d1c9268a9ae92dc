"""A command of the project in a separate process, to be disturbed."""

import contextlib
import ctypes
import fcntl
import json
import multiprocessing
import os
import pty
import signal
import sys
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# One that has imported all before it is forked: a command begins in a second, not in ten.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["raytune_yesno.tuning.run", "raytune_yesno.training.run", "raytune_yesno.cli"]
)

_POLL_S = 0.005
_PR_SET_PDEATHSIG = 1


class Command:
    """``raytune-yesno`` with some arguments; what it prints is in a file.

    Args:
        environment: what is added to this process's.
        terminal: it runs in a terminal of its own, which :meth:`close_terminal` closes.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        terminal: bool = False,
    ) -> None:
        self.log = log
        self.master: int | None = None
        slave: int | None = None
        if terminal:
            self.master, slave = pty.openpty()
        name = os.ttyname(slave) if slave is not None else None
        self.process: Any = _CONTEXT.Process(
            target=_run, args=(list(arguments), log, name, dict(environment))
        )
        self.process.start()
        if slave is not None:
            self.slave = slave

    @property
    def is_running(self) -> bool:
        return bool(self.process.is_alive())

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def close_terminal(self) -> None:
        """Close its terminal, which sends it SIGHUP."""
        assert self.master is not None
        os.close(self.slave)
        os.close(self.master)
        self.master = None

    def wait(self, timeout_s: float) -> int:
        """Wait for its end, and return the exit code.

        Raises:
            TimeoutError: it does not end; it is killed.
        """
        deadline = time.monotonic() + timeout_s
        while self.is_running:
            self._drain()
            self.process.join(0.05)
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.join()
                raise TimeoutError(f"did not end within {timeout_s:.0f} s")
        return int(self.process.exitcode)

    def wait_until(self, happened: Any, timeout_s: float) -> bool:
        """Wait until a condition holds or the command has ended; return whether it holds."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            self._drain()
            if not self.is_running:
                return bool(happened())
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing happened for {timeout_s:.0f} s")
            time.sleep(_POLL_S)
        return True

    def _drain(self) -> None:
        """Read the terminal: a full terminal would block the command."""
        if self.master is not None:
            os.set_blocking(self.master, False)
            with contextlib.suppress(OSError), self.log.open("ab") as log:
                log.write(os.read(self.master, 65536))


def _run(
    arguments: list[str], log: Path, terminal: str | None, environment: dict[str, str]
) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(environment)
    tempfile.tempdir = None
    os.setsid()
    if terminal:
        descriptor = os.open(terminal, os.O_RDWR)
        fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
        out = descriptor
    else:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(out, number)
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    import torch

    from raytune_yesno.cli import main

    torch.set_num_threads(1)
    sys.exit(main(arguments))


class Lines:
    """The complete JSON lines of a growing file, each read once.

    A file that was truncated meanwhile, and has other lines, is read again from its beginning.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._forget()

    def _forget(self) -> None:
        self.values: list[dict[str, Any]] = []
        self.end, self.last = 0, b""

    def read(self) -> list[dict[str, Any]]:
        """Return them all."""
        try:
            with self.file.open("rb") as file:
                file.seek(self.end - len(self.last))
                data = file.read()
        except OSError:
            data = b""
        if not data.startswith(self.last):
            self._forget()
            return self.read() if data else []
        fresh = data[len(self.last) : data.rfind(b"\n") + 1]
        for line in fresh.splitlines(keepends=True):
            self.last = line
            with contextlib.suppress(ValueError):
                self.values.append(json.loads(line))
        self.end += len(fresh)
        return self.values


def count_lines(*files: Path) -> int:
    """Count the lines of files; some may be missing."""
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.read_bytes().count(b"\n")
    return total
