"""The disturbed work: a command of the project on a cluster."""

import abc
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from reliability.chaos.cluster import Cluster
from reliability.chaos.runs import Command

PATIENCE_S = 300.0  # for a step of it, with a fault in its way
_RESUME_HINT = "progress is saved"

Recovered = Callable[[], bool]


class Work(abc.ABC):
    """A command that is started, disturbed and resumed until it has finished.

    Attributes:
        name: names the work; work of the same name has the same result when undisturbed.
        records: the file that holds what is finished, a line each.
    """

    verb: str
    name: str
    records: Path
    command: Command

    def __init__(self, cluster: Cluster, out: Path, *, terminal: bool = False) -> None:
        self.cluster, self.out, self.terminal = cluster, out, terminal
        # Not beside its folder: a disk that is written to cannot be made read-only.
        self.log = cluster.folder / f"{out.parent.name}-{out.name}.log"

    @abc.abstractmethod
    def begin(self) -> None:
        """Start the command."""

    @abc.abstractmethod
    def resume(self) -> None:
        """Resume it, or start it if nothing of it was written."""

    @abc.abstractmethod
    def build_alone(self, out: Path) -> "Work":
        """Return the undisturbed work to compare with, in another folder."""

    @abc.abstractmethod
    def find_losses(self, undisturbed: Path) -> tuple[int, list[str]]:
        """Return how much was lost or differs, and a line on each difference."""

    @abc.abstractmethod
    def count_progress(self) -> int:
        """Count what it has recorded."""

    @abc.abstractmethod
    def next_epoch(self) -> Recovered:
        """Return a function that tells whether an epoch has ended since now."""

    def run(self, *arguments: str) -> None:
        """Start the command with arguments."""
        self.command = Command(
            [self.verb, *arguments, "--address", self.cluster.address],
            self.log,
            self.cluster.environment,
            terminal=self.terminal,
        )

    def finish(self) -> list[str]:
        """Wait for its end; return the problems."""
        try:
            code = self.command.wait(PATIENCE_S)
        except TimeoutError as error:
            return [f"{self.verb} {error}"]
        return [f"exit code {code}: {self.last_line()}"] if code else []

    def is_finished(self) -> bool:
        """Return whether the command succeeded."""
        return not self.command.is_running and self.command.process.exitcode == 0

    def last_line(self) -> str:
        """Return the last line that was printed."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def wait_for(self, moment: int) -> bool:
        """Wait until it has recorded that many events; return whether it still runs."""
        self.command.wait_until(lambda: self.count_progress() >= moment, PATIENCE_S)
        return self.command.is_running

    def await_recovery(self, recovered: Recovered) -> None:
        """Wait until it has recovered; if it ends with a command to resume, run that.

        Raises:
            TimeoutError: it does not.
        """
        if self.command.wait_until(recovered, PATIENCE_S):
            return
        if _RESUME_HINT not in self.last_line():
            raise TimeoutError(f"{self.verb} has ended: {self.last_line()}")
        self.resume()
        self.command.wait_until(recovered, PATIENCE_S)

    def end(self) -> None:
        """Kill it."""
        self.command.signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            self.command.wait(10)
