"""A study of trials that only sleep, so that all CPU time is that of the driver and Ray.

Everything but the training is real: an epoch has a given length, and its loss is invented.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.speed.case import peak_mb
from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.cluster.session import ray_session
from raytune_yesno.config import build_config
from raytune_yesno.space import Float
from raytune_yesno.training.loop import Record
from raytune_yesno.tuning import run as tune
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.ranks import StudyPayload, TrialSpec


@dataclass(frozen=True)
class Sleeping(StudyPayload):
    """What all trials share: how long they sleep."""

    seconds: float = 0.0

    def records(self, spec: TrialSpec, resume: Checkpoint | None) -> Iterator[Record]:
        began = time.perf_counter()
        time.sleep(self.seconds)
        loss = spec["point"]["learning_rate"]
        took = time.perf_counter() - began
        yield Record(
            {"epoch": 1, "train_loss": loss, "valid_loss": loss, "seconds": took}, False, _refuse
        )


def _refuse() -> Checkpoint:
    raise NotImplementedError("a trial that sleeps has nothing to save")


def main() -> None:
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    # run_search builds its payload by this name.
    tune.StudyPayload = partial(Sleeping, seconds=task["seconds"])  # type: ignore[attr-defined, assignment]
    config = build_config({"task": "sine", "model": "mlp", "epochs": 1})
    plan = Plan(
        config,
        {"learning_rate": Float(1e-4, 1e-2)},
        search="random",
        scheduler="fifo",
        trials=task["trials"],
    )
    ends: list[tuple[float, float]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "ended":
            ends.append((time.time(), time.process_time()))

    out = Path(task["out"])
    with ray_session(task.get("address"), num_cpus=task.get("num_cpus")):
        study = tune.run_search(plan, None, out, checkpoint_every_s=1e9, listen=listen)
    slots, between = study.settings["slots"], len(ends) - 1
    half, quarter = between // 2, between // 4
    figures = {
        "s ÷ ideal": (ends[-1][0] - ends[0][0]) * slots / between / task["seconds"],
        # Processes of all nodes start on the cores of this machine, while the first trials run.
        "s ÷ ideal, last half": (ends[-1][0] - ends[-1 - half][0]) * slots / half / task["seconds"],
        "driver: CPU ms a trial": 1000 * (ends[-1][1] - ends[0][1]) / between,
        "of the last quarter": 1000 * (ends[-1][1] - ends[-1 - quarter][1]) / quarter,
        "driver: MB": peak_mb(),
        "slots": slots,
    }
    (out / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
