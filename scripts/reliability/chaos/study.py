"""The study that is disturbed: a small real one with results known beforehand."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raytune_yesno.study.store import STORE
from reliability.chaos.cluster import Cluster
from reliability.chaos.compare import HISTORY, find_losses
from reliability.chaos.runs import Lines, count_lines
from reliability.chaos.work import Recovered, Work

TRIALS, EPOCHS = 8, 4
MAX_TRIAL_RESTARTS = 3  # as in `tune`, which would import Ray: see Cluster
SMALL = ("--set", "channels=[4,8]", "--set", "hidden_units=16")
# Ordered: results do not depend on timing, so the whole study can be compared.
SETTINGS = ("--data", "synthetic:40", "--ordered", "--search", "tpe", "--scheduler", "asha", *SMALL)


class Study(Work):
    """A study on a cluster."""

    verb = "tune"

    def __init__(
        self,
        cluster: Cluster,
        out: Path,
        seed: int,
        *,
        workers: int = 1,
        trials: int = TRIALS,
        epochs: int = EPOCHS,
        settings: Sequence[str] = SETTINGS,
        terminal: bool = False,
    ) -> None:
        super().__init__(cluster, out, terminal=terminal)
        self.seed, self.workers, self.trials = seed, workers, trials
        self.epochs, self.settings = epochs, settings
        self.records = out / STORE
        self.lines = Lines(self.records)
        self.name = f"study-{seed}-{workers}"

    def begin(self) -> None:
        self.run(
            *("--out", str(self.out), "--trials", str(self.trials), "--epochs", str(self.epochs)),
            *("--seed", str(self.seed), "--workers-per-trial", str(self.workers)),
            *("--checkpoint-every", "0", *self.settings),
        )

    def resume(self) -> None:
        if self.events():
            self.run("--resume", str(self.out), "--checkpoint-every", "0")
        else:
            self.begin()

    def build_alone(self, out: Path) -> "Study":
        return Study(self.cluster, out, self.seed, workers=self.workers)

    def find_losses(self, undisturbed: Path) -> tuple[int, list[str]]:
        return find_losses(self.out, undisturbed, self.trials)

    def count_progress(self) -> int:
        return len(self.events()) + count_lines(self.out / "refit" / HISTORY)

    def events(self) -> list[dict[str, Any]]:
        """Return its recorded events."""
        return self.lines.read()

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
        """Return a trial in flight that has restarts left, and its process."""
        tired = self.find_tired()
        found = [(n, pid) for n, pid in self.list_running().items() if n not in tired]
        return draw.choice(found) if found else None

    def find_tired(self) -> set[int]:
        """Return the trials in flight that would fail for good if they were hit again.

        One failure may be unseen: a process that is killed as its trial ends, and is already the
        next one's, counts against that one before it has started.
        """
        attempts = {e["trial"]: e["attempt"] for e in self.events() if e["event"] == "started"}
        return {n for n in self.list_running() if attempts.get(n, 1) >= MAX_TRIAL_RESTARTS}

    def next_epoch(self, trial: int | None = None) -> Recovered:
        """Return a function that tells whether an epoch of one or any trial has ended since now."""
        before = len(self.events())
        progress = self.count_progress()

        def recovered() -> bool:
            if self.is_finished():
                return True
            events = self.events()
            if any(event["event"] == "epoch" for event in events[before:] if is_meant(event)):
                return True
            if trial is None:
                return self.count_progress() > progress + 3
            # Of all events: a short trial may have ended between its being picked and `before`.
            return any(event["event"] == "ended" for event in events if is_meant(event))

        def is_meant(event: dict[str, Any]) -> bool:
            return trial is None or event.get("trial") == trial

        return recovered


def wait_a_moment(draw: random.Random, most_s: float) -> None:
    """Wait for a random time: the duration of a fault is random too."""
    time.sleep(draw.uniform(0, most_s))
