"""One study through all steps of its life."""

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raytune_yesno.study import Study, load
from raytune_yesno.study.requests import ENQUEUE, REQUESTS, STOP, Request, name_request, send
from raytune_yesno.study.store import STORE, read_events
from reliability.chaos.cluster import Cluster
from reliability.chaos.runs import Command

STEPS = ("begin", "retry", "change the space", "extend")
STEERED = ("begin", "change the space")  # during which requests are sent
TRIALS, ADDED, EPOCHS, LONGER, TOP = 12, 4, 6, 9, 3
_PATIENCE_S = 300.0
_TASK = """\
import os
import time


def objective(config, checkpoint=None):
    if config["x"] > 0.8 and not os.path.exists({marker!r}):
        raise ValueError("x is too large today")
    for epoch in range(1 + (checkpoint or 0), config["epochs"] + 1):
        time.sleep(0.03)
        yield {{"loss": config["x"] + 1 / epoch}}, epoch
"""


class Session:
    """A study in an empty folder.

    Args:
        seed: of the moments of the kills.
        cluster: where its trials run.
        folder: what it writes to.
        max_concurrent: the most trials at a time.
    """

    def __init__(self, seed: str, cluster: Cluster, folder: Path, max_concurrent: int) -> None:
        self.cluster, self.folder, self.max_concurrent = cluster, folder, max_concurrent
        self.out = folder / "study"
        self.kills: Counter[str] = Counter()
        self.problems: list[str] = []
        self.steered: set[str] = set()
        self.draw = random.Random(seed)

    def run(self, kills: int) -> dict[str, Any]:
        """Run all steps, killed ``kills`` times in all, and return what was found."""
        marker = self.folder / "mended"
        (self.folder / "task.py").write_text(_TASK.format(marker=str(marker)))
        (self.folder / "space.yaml").write_text("x: {float: [0, 1]}\n")
        (self.folder / "wider.yaml").write_text("x: {float: [0, 2]}\n")
        for index, step in enumerate(STEPS):
            of_step = kills * (index + 1) // len(STEPS) - kills * index // len(STEPS)
            self.take(step, of_step)
            marker.touch()  # the user has mended what made trials fail
        self.problems += list(self.check())
        return {"kills": dict(self.kills), "repeated": self.repeated, "problems": self.problems}

    def take(self, step: str, kills: int) -> None:
        """Run a step until it has ended well; first kill its command that many times."""
        while True:
            kept = self.read_record()
            command = self.start(self.list_words(step))
            if self.kills[step] < kills and self.kill(command, len(kept.splitlines())):
                self.kills[step] += 1
                events = len(self.read_record().splitlines())
                print(f"{step}: killed after {events} events", file=sys.stderr, flush=True)
            elif code := command.wait(_PATIENCE_S):
                self.problems.append(f"{step}: exit code {code}: {self.read_last_line()}")
                return
            if not self.read_record().startswith(kept):
                self.problems.append(f"{step}: the record does not continue the earlier one")
            if command.wait(_PATIENCE_S) == 0:
                return
            if step in STEERED:
                self.steer(step)

    def start(self, words: list[str]) -> Command:
        more = ["--quiet", "--no-report", "--checkpoint-every", "0"]
        arguments = ["tune", *words, *more, "--address", self.cluster.address]
        return Command(arguments, self.folder / "log", self.cluster.environment)

    def kill(self, command: Command, before: int) -> bool:
        """Kill a command after a random number of new events; return False if it ended first."""
        events, seconds = self.draw.randrange(25), self.draw.uniform(0, 0.3)

        def has_happened() -> bool:
            return len(self.read_record().splitlines()) >= before + events

        if not command.wait_until(has_happened, _PATIENCE_S):
            return False
        time.sleep(seconds)
        command.signal(signal.SIGKILL)
        return command.wait(_PATIENCE_S) < 0

    def list_words(self, step: str) -> list[str]:
        """Return the words of a step's command: the same again, but `--add-trials` only once."""
        task = ["--task", f"{self.folder}/task.py:objective"]
        if step == "begin":
            goal = ["--metric", "loss", "--mode", "min", "--space", f"{self.folder}/space.yaml"]
            plan = ["--trials", str(TRIALS), "--epochs", str(EPOCHS), "--search", "random"]
            plan += ["--scheduler", "fifo", "--keep-checkpoints", str(TOP)]
            plan += ["--max-concurrent", str(self.max_concurrent)]
            return [*task, *goal, *plan, "--out", str(self.out)]
        resume = ["--resume", str(self.out), *task]
        study = load(self.out)
        if step == "retry" and not (study.refit and self.list_resumed("retry")):
            return [*resume, "--retry", "failed"]
        if step == "change the space" and not self.list_resumed("space"):
            more = ["--space", f"{self.folder}/wider.yaml", "--add-trials", str(ADDED)]
            return [*resume, *more]
        if step == "extend" and not (study.refit and self.list_resumed("extend")):
            return [*resume, "--epochs", str(LONGER), "--top", str(TOP)]
        # A finished study has nothing to resume; the same `tune --out` prints its result.
        return resume if not study.refit else self.list_words("begin")

    def steer(self, step: str) -> None:
        """Once in a step, ask from outside for another trial, and for the end of one that runs."""
        if not self.read_record() or step in self.steered:
            return
        running = [trial for trial in load(self.out).trial_list if trial.status == "running"]
        if running:
            send(str(self.out), Request(name_request(), STOP, trial=running[0].number))
            send(str(self.out), Request(name_request(), ENQUEUE, point={"x": 0.5}))
            self.steered.add(step)

    def list_resumed(self, change: str) -> list[dict[str, Any]]:
        """Return the resumptions that recorded a change."""
        events, _ = read_events(self.out)
        return [event for event in events if event["event"] == "resumed" and event.get(change)]

    def read_record(self) -> str:
        """Return the complete lines of the record."""
        file = self.out / STORE
        text = file.read_text() if file.exists() else ""
        return text[: text.rfind("\n") + 1]

    def read_last_line(self) -> str:
        return (self.folder / "log").read_text().splitlines()[-1]

    @property
    def repeated(self) -> int:
        """How many epochs were trained again after a kill."""
        events, _ = read_events(self.out)
        seen: Counter[tuple[int, int]] = Counter()
        repeated = 0
        for event in events:
            for number in event.get("retry", ()):
                for key in [key for key in seen if key[0] == number]:
                    del seen[key]
            if event["event"] == "epoch":
                repeated += seen[event["trial"], event["epoch"]] > 0
                seen[event["trial"], event["epoch"]] += 1
        return repeated

    def check(self) -> Iterator[str]:
        """Yield what was lost, came twice, or has another value."""
        study = load(self.out)
        events, problems = read_events(self.out)
        yield from problems
        asked = Counter(event["trial"] for event in events if event["event"] == "asked")
        requests = [event for event in events if event["event"] == "requested"]
        enqueued = sum(event["action"] == ENQUEUE for event in requests)
        if sorted(asked) != list(range(TRIALS + ADDED + enqueued)) or set(asked.values()) != {1}:
            yield f"trials asked for: {dict(asked)}"
        if [event["action"] for event in requests] != [STOP, ENQUEUE] * len(self.steered):
            yield f"requests: {[event['action'] for event in requests]}"
        if sum(trial.request is not None for trial in study.trial_list) != enqueued:
            yield "an enqueued point was not tried once"
        if any((self.out / REQUESTS).glob("*.json")):
            yield "files of requests are left"
        if study.refit is None:
            yield "no end of the study"
        for change in ("retry", "extend", "space"):
            if len(found := self.list_resumed(change)) != 1:
                yield f"recorded {len(found)} times: {change}"
        yield from self.check_trials(study)

    def check_trials(self, study: Study) -> Iterator[str]:
        stopped = {trial.number for trial in study.trial_list if trial.status == "stopped"}
        for trial in study.trial_list:
            epochs = [epoch["epoch"] for epoch in trial.epochs]
            if trial.number not in stopped and trial.status != "done":
                yield f"trial {trial.number} is {trial.status}"
            wanted = len(epochs) if trial.number in stopped else max(EPOCHS, len(epochs))
            if epochs != list(range(1, wanted + 1)) or len(epochs) not in (EPOCHS, LONGER, wanted):
                yield f"trial {trial.number} has the epochs {epochs}"
            for epoch in trial.epochs:
                if epoch["loss"] != trial.point["x"] + 1 / epoch["epoch"]:
                    yield f"trial {trial.number}: another loss in epoch {epoch['epoch']}"
        longer = sum(len(trial.epochs) == LONGER for trial in study.trial_list)
        if longer != TOP:
            yield f"{longer} trials were extended"
        if len(stopped) > len(self.steered):
            yield f"trials {sorted(stopped)} were stopped"
