"""The machine on which ``raytune-yesno launch`` is typed, and the study it runs."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from helpers.hosts import ROOT, Hosts
from raytune_yesno.study import load

STUDY = """\
data: synthetic:10
seed: 0
trials: {trials}
search: random
scheduler: fifo
config: {{epochs: {epochs}, model: cnn, max_examples: 10, augment_scenes: 0, valid_noise: false}}
space:
  learning_rate: {{float: [1.0e-3, 1.0e-2], log: true}}
  channels: {{choice: [[4, 8]]}}
  hidden_units: {{choice: [16]}}
"""


FIGURES = ("learning_rate", "train_loss", "valid_loss", "valid_wer")


class Laptop:
    """The machine on which ``raytune-yesno launch`` is typed."""

    def __init__(
        self, hosts: Hosts, definition: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.hosts, self.definition = hosts, definition
        self.environment = hosts.environment(**(environment or {}))

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        words = [sys.executable, "-m", "raytune_yesno", "launch", str(self.definition), *arguments]
        return subprocess.Popen(
            self.hosts.command("laptop", *words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def launch(self, *arguments: str) -> tuple[int, str]:
        process = self.begin(*arguments)
        output, _ = process.communicate(timeout=900)
        print(output)  # for -s, and for the report of a failure
        return process.returncode, output

    def tune_here(self, out: Path, *arguments: str) -> None:
        """Run a study on the laptop only, on two slots."""
        words = [sys.executable, "-m", "raytune_yesno", "tune", *arguments, "--out", str(out)]
        self.hosts.check("laptop", *words, "--num-cpus", "2", PYTHONPATH=str(ROOT))


def assert_same_outcome(one: Path, other: Path) -> None:
    """Assert that two studies have the same trials with the same metrics in every epoch."""
    studies = [load(one), load(other)]
    first, second = (
        study.epochs[["trial", "epoch", *FIGURES]].sort_values(["trial", "epoch"])
        for study in studies
    )
    assert first.to_dict("records") == second.to_dict("records")
    points = [[trial.point for trial in study.trial_list] for study in studies]
    assert points[0] == points[1]
    assert studies[0].best
    assert studies[1].best
    assert studies[0].best.number == studies[1].best.number
