"""The study that is disturbed: a real one, small, whose every figure is known beforehand."""

import contextlib
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.cluster import Cluster
from faults.runs import Command, count_lines, count_progress, read_lines
from raytune_yesno.store import STORE

TRIALS, EPOCHS = 8, 4
# Ordered: a trial's place in the search depends on no timing, so the whole study can be compared.
SETTINGS = ("--data", "synthetic:40", "--ordered", "--search", "tpe", "--scheduler", "asha")
SMALL = ("--set", "channels=[4,8]", "--set", "hidden_units=16")
PATIENCE_S = 300.0  # for a step of a study, with a fault in its way

Recovered = Callable[[], bool]


class Study:
    """A study on a cluster, begun, disturbed and resumed until it is finished."""

    def __init__(
        self, cluster: Cluster, out: Path, seed: int, *, workers: int = 1, terminal: bool = False
    ) -> None:
        self.cluster, self.out, self.terminal = cluster, out, terminal
        self.arguments = ["--trials", str(TRIALS), "--epochs", str(EPOCHS), "--seed", str(seed)]
        self.arguments += ["--workers-per-trial", str(workers), *SETTINGS, *SMALL]
        self.log = out.with_suffix(".log")
        self.command = self._run("--out", str(out), *self.arguments)

    def resume(self) -> None:
        """Go on with it, or begin it where nothing of it was written."""
        if (self.out / STORE).is_file() and count_lines(self.out / STORE):
            self.command = self._run("--resume", str(self.out))
        else:
            self.command = self._run("--out", str(self.out), *self.arguments)

    def _run(self, *arguments: str) -> Command:
        address = ("--address", self.cluster.address, "--checkpoint-every", "0")
        environment = self.cluster.environment
        return Command(
            ["tune", *arguments, *address], self.log, environment, terminal=self.terminal
        )

    def finish(self) -> list[str]:
        """Wait for its end; return what went wrong."""
        try:
            code = self.command.wait(PATIENCE_S)
        except TimeoutError as error:
            return [f"the study {error}"]
        return [f"exit code {code}: {self.last_line()}"] if code else []

    def is_finished(self) -> bool:
        """Say whether the command ended well."""
        return not self.command.is_running and self.command.process.exitcode == 0

    def last_line(self) -> str:
        """Return the last line that was printed."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def events(self) -> list[dict[str, Any]]:
        return read_lines(self.out / STORE)

    def wait_for(self, moment: int) -> bool:
        """Wait until it has come so far; say whether it still runs."""
        self.command.wait_until(lambda: count_progress(self.out) >= moment, PATIENCE_S)
        return self.command.is_running

    def list_running(self) -> dict[int, int]:
        """Return the process of each trial in flight whose process is known."""
        found: dict[int, int] = {}
        for event in self.events():
            if event["event"] == "epoch":
                found[event["trial"]] = event["pid"]
            elif event["event"] in ("started", "ended", "paused"):
                found.pop(event.get("trial", -1), None)
        return found

    def pick_trial(self, draw: random.Random) -> tuple[int, int] | None:
        """Return a trial in flight that was not hit too often already, and its process."""
        attempts = {e["trial"]: e["attempt"] for e in self.events() if e["event"] == "started"}
        found = [(n, pid) for n, pid in self.list_running().items() if attempts.get(n, 1) <= 3]
        return draw.choice(found) if found else None

    def next_epoch(self, trial: int | None = None) -> Recovered:
        """Return what says whether since now an epoch ended: of a trial, or of any or the refit."""
        before = len(self.events())
        progress = count_progress(self.out)

        def recovered() -> bool:
            if self.is_finished():
                return True
            for event in self.events()[before:]:
                if event["event"] == "epoch" and trial in (None, event["trial"]):
                    return True
                if event["event"] == "ended" and trial == event["trial"]:
                    return True
            return trial is None and count_progress(self.out) > progress + 3

        return recovered

    def await_recovery(self, recovered: Recovered) -> None:
        """Wait until it has recovered.

        Raises:
            TimeoutError: it does not.
        """
        if not self.command.wait_until(recovered, PATIENCE_S):
            raise TimeoutError(f"the study has ended: {self.last_line()}")

    def end(self) -> None:
        """End it, whatever it does."""
        self.command.signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            self.command.wait(10)


def wait_a_moment(draw: random.Random, most_s: float) -> None:
    """Let a random time pass: a fault's length is part of the fault."""
    time.sleep(draw.uniform(0, most_s))
