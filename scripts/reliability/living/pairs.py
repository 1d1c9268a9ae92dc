"""Two commands on one study at a random offset: one is refused, the other undisturbed."""

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raytune_yesno.files.remote import LOCK
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE
from reliability.chaos.cluster import Cluster
from reliability.chaos.runs import Command

_PATIENCE_S = 300.0
_TASK = """\
import time


def objective(config, checkpoint=None):
    for epoch in range(1 + (checkpoint or 0), config["epochs"] + 1):
        time.sleep(0.1)
        yield {"loss": config["x"] + 1 / epoch}, epoch
"""


class Pairs:
    """Pairs of commands, compared with a study that nobody disturbs.

    Args:
        draw: draws the offsets.
        cluster: where the trials run.
    """

    def __init__(self, draw: random.Random, cluster: Cluster) -> None:
        self.draw, self.cluster = draw, cluster
        self.temporary = tempfile.TemporaryDirectory(prefix="pairs-")
        self.folder = Path(self.temporary.name)

    def __enter__(self) -> "Pairs":
        (self.folder / "task.py").write_text(_TASK)
        (self.folder / "space.yaml").write_text("x: {float: [0, 1]}\n")
        alone = self.start("alone", "alone.log")
        if alone.wait(_PATIENCE_S):
            raise RuntimeError((self.folder / "alone.log").read_text())
        self.wanted = self.describe("alone")
        return self

    def __exit__(self, *exception: object) -> None:
        self.temporary.cleanup()

    def run(self, number: int) -> dict[str, Any]:
        """Start two commands, the second one to begin the study too or to resume it."""
        name = str(number)
        is_resumed = self.draw.random() < 0.5
        offset = self.draw.uniform(0, 4)
        first = self.start(name, f"{name}-first.log")
        if is_resumed:
            first.wait_until((self.folder / name / STORE).exists, _PATIENCE_S)
        time.sleep(offset)
        second = self.start(name, f"{name}-second.log", is_resumed=is_resumed)
        codes = [command.wait(_PATIENCE_S) for command in (first, second)]
        problems = [f"{name}: {problem}" for problem in self.check(name, codes)]
        return {"resumed": is_resumed, "offset": offset, "codes": codes, "problems": problems}

    def start(self, name: str, log: str, *, is_resumed: bool = False) -> Command:
        task, out = f"{self.folder}/task.py:objective", str(self.folder / name)
        plan = ["--trials", "8", "--epochs", "6", "--search", "random", "--scheduler", "fifo"]
        goal = ["--metric", "loss", "--space", f"{self.folder}/space.yaml", "--out", out]
        words = ["--resume", out] if is_resumed else [*plan, *goal]
        more = ["--task", task, "--no-report", "--address", self.cluster.address]
        return Command(["tune", *words, *more], self.folder / log, self.cluster.environment)

    def describe(self, name: str) -> tuple[Any, Counter[str]]:
        """Return what two equal studies have in common: their results and counts of events."""
        results = [
            (trial.number, trial.status, trial.attempts, [epoch["loss"] for epoch in trial.epochs])
            for trial in load(self.folder / name).trial_list
        ]
        lines = (self.folder / name / STORE).read_text().splitlines()
        return results, Counter(json.loads(line)["event"] for line in lines)

    def check(self, name: str, codes: list[int]) -> Iterator[str]:
        """Yield what is wrong after both commands have ended."""
        if sorted(codes) != [0, 2]:
            yield f"exit codes {codes}"
            return
        refused = self.folder / f"{name}-{('first', 'second')[codes.index(2)]}.log"
        *_, line = refused.read_text().splitlines()
        if f"{self.folder}/{name}" not in line or "Traceback" in refused.read_text():
            yield f"refused with: {line}"
        if self.describe(name) != self.wanted:
            yield "another study than an undisturbed one"
        if (self.folder / name / LOCK).exists():
            yield "a lock is left"
