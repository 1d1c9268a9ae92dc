"""Rounds of a fault: a study or a run, disturbed at random moments, then looked at."""

import contextlib
import importlib.metadata
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reliability.chaos import disk, network
from reliability.chaos.cluster import TRIAL, Cluster
from reliability.chaos.compare import find_rewritten
from reliability.chaos.disk import Disk
from reliability.chaos.kinds import FAULTS
from reliability.chaos.runs import Command
from reliability.chaos.study import Study
from reliability.chaos.training import Training
from reliability.chaos.work import Work

NODES, CPUS = 2, 2
INJECTIONS = 8  # in a round, at most
SLOW = {"head killed", "network cut", "node of an elastic run killed"}  # of these one
STUDY_SEEDS = 3
WORKERS_PER_TRIAL = {"worker in a trial killed": 2}
NUM_WORKERS = {"worker of a run killed": "2", "node of an elastic run killed": "1:4"}
"""Faults of training runs, with the number of workers; the others hit a study."""
MEMORY_MARGIN = 8e9  # bytes that may be taken before Ray kills for it


class Campaign:
    """Runs rounds on a cluster, and keeps the undisturbed work to compare with.

    Its nodes lie behind a network of their own where it can be made.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.closing = contextlib.ExitStack()

    def __enter__(self) -> "Campaign":
        # The process that commands fork from imports it, and must know of the cluster's token.
        if "ray" in sys.modules:
            raise RuntimeError("Ray was imported before it could know of the token")
        self.cluster = self.closing.enter_context(
            Cluster(
                NODES,
                CPUS,
                None if network.why_not() else network.Network(),
                RAY_memory_usage_threshold=str(_memory_threshold()),
                RAY_memory_monitor_refresh_ms="100",
            )
        )
        self.work = self.cluster.folder / "work"
        self.work.mkdir()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.close()

    def why_not(self, fault: str) -> str | None:
        """Return why a fault cannot be injected here, or None."""
        if fault == "network cut":
            return network.why_not()
        return disk.why_not() if fault.startswith("disk") else None

    def run(self, fault: str, number: int) -> list[dict[str, Any]]:
        """Run a round, and return a result for each injection."""
        draw = random.Random(f"{self.seed} {fault} {number}")
        study_seed = draw.randrange(STUDY_SEEDS)
        results: list[dict[str, Any]] = []
        with self._place(fault, number) as place:
            work = self.build_work(fault, place / "work", study_seed)
            undisturbed = self.undisturbed(work)
            before = self.cluster.list_temporary()
            work.begin()
            try:
                rewritten = []
                for result, recorded in self._inject(fault, work, draw):
                    results.append({**result, "round": number, "study_seed": study_seed})
                    rewritten.append(recorded)
                problems = work.finish() if all(r["recovered"] for r in results) else []
            finally:
                work.end()
            lost, differences = work.find_losses(undisturbed)
            problems += differences
            problems += [
                line for recorded in rewritten for line in find_rewritten(work.records, recorded)
            ]
            problems += self.find_left(before)
            if results:
                results[-1]["lost"] = lost
                results[-1]["problems"] += problems
            if problems:
                name = f"{self.cluster.folder.name}-{place.name}"
                kept = self.cluster.folder.with_name(name)
                shutil.copytree(place, kept)
                shutil.copy(work.log, kept)
        if problems and not results:
            raise RuntimeError(f"{fault}: before it was injected: {'; '.join(problems)}")
        return results

    def build_work(self, fault: str, out: Path, seed: int) -> Work:
        """Return the study or run that a fault hits."""
        if num_workers := NUM_WORKERS.get(fault):
            return Training(self.cluster, out, seed, num_workers)
        workers = WORKERS_PER_TRIAL.get(fault, 1)
        return Study(self.cluster, out, seed, workers=workers, terminal=fault == "terminal closed")

    def undisturbed(self, work: Work) -> Path:
        """Return the folder of the undisturbed work."""
        out = self.work / f"undisturbed-{work.name}"
        if not out.exists():
            alone = work.build_alone(out)
            alone.begin()
            try:
                if problems := alone.finish():
                    raise RuntimeError("; ".join(problems))
            finally:
                alone.end()
        return out

    def _inject(
        self, fault: str, work: Work, draw: random.Random
    ) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Inject at random moments; yield the result of each, and the record before it."""
        most = 1 if fault in SLOW else INJECTIONS
        moment = 0
        for _ in range(most):
            moment = max(moment, work.count_progress()) + draw.randint(1, 15)
            recovered, began = None, 0.0
            result = {
                "fault": fault,
                "seed": self.seed,
                "moment": moment,
                "recovered": True,
                "seconds": 0.0,
                "lost": 0,
                "problems": [],
                "versions": {name: importlib.metadata.version(name) for name in ("ray", "torch")},
            }
            try:
                if not work.wait_for(moment):
                    return
                time.sleep(draw.uniform(0, 0.1))
                recorded = work.records.read_bytes() if work.records.exists() else b""
                while recovered is None:
                    if not work.command.is_running:
                        return
                    began = time.monotonic()
                    recovered = FAULTS[fault](work, draw)
                work.await_recovery(recovered)
            except TimeoutError as error:
                yield {**result, "recovered": False, "problems": [str(error)]}, recorded
                return
            yield {**result, "seconds": round(time.monotonic() - began, 2)}, recorded

    @contextlib.contextmanager
    def _place(self, fault: str, number: int) -> Iterator[Path]:
        place = self.work / f"{fault.replace(' ', '-')}-{number}"
        if fault.startswith("disk"):
            with Disk(place).mounted():
                yield place
        else:
            place.mkdir()
            yield place

    def find_left(self, before: set[str]) -> list[str]:
        """Return the processes, Ray resources and temporary files that are left after a round."""
        problems = []
        deadline = time.monotonic() + 30
        names = (TRIAL, "ray::RankActor", "ray::RayTrainWorker", "ray::TrainWorker")
        while found := self.cluster.find(*names):
            if time.monotonic() > deadline:
                problems.append(f"left running: {len(found)} processes")
                break
            time.sleep(0.1)
        if left := self.cluster.list_temporary() - before:
            problems.append(f"temporary files left: {', '.join(sorted(left))}")
        return problems + self._ask_doctor()

    def _ask_doctor(self) -> list[str]:
        log = self.work / "doctor.log"
        log.unlink(missing_ok=True)
        arguments = ["doctor", "--json", "--data", "synthetic:10"]
        address = ["--address", self.cluster.address]
        command = Command([*arguments, *address], log, self.cluster.environment)
        command.wait(120)
        answer = json.loads(log.read_text().splitlines()[-1])
        return [
            f"doctor: {check['name']}: {check['said']}"
            for check in answer["checks"]
            if check["name"] in ("placement groups", "actors", "resources", "nodes")
            and check["status"] != "ok"
        ]


def _memory_threshold() -> float:
    """Return the share of used memory beyond which Ray kills a process."""
    sizes = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        sizes[name] = float(rest.split()[0]) * 1024
    used = sizes["MemTotal"] - sizes["MemAvailable"]
    return round(min(0.95, (used + 2 * NODES * 1e9 + MEMORY_MARGIN) / sizes["MemTotal"]), 3)
