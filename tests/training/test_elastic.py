"""An elastic run on a cluster that loses a node and gains another."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reliability.chaos.cluster import Cluster

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.resume import HISTORY
from raytune_yesno.training.run import run_training

# In double precision, rounding errors are far smaller than any jump in the curve. Not all
# epochs are trained: the run is interrupted once both changes have been seen.
CONFIG = {
    "channels": [4, 8],
    "hidden_units": 16,
    "batch_size": 2,
    "dropout": 0.2,
    "dtype": "float64",
    "epochs": 5000,
}
METRICS = ("train_loss", "valid_loss", "valid_wer", "learning_rate")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Start two nodes with one CPU each. The first is the head."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with Cluster(2, 1) as cluster:
        yield cluster


class Training:
    """The command ``train`` in a separate process."""

    def __init__(self, cluster: Cluster, out: Path, *arguments: str) -> None:
        self.history = out / HISTORY
        self.log = out.with_suffix(".log")
        command = [sys.executable, "-m", "raytune_yesno", "train", *arguments]
        environment = {**os.environ, **cluster.environment, "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--address", cluster.address], env=environment, stdout=log, stderr=log
            )

    def read_history(self) -> list[dict[str, Any]]:
        """Return the epochs so far. The last line may be incomplete."""
        text = self.history.read_text() if self.history.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def await_epochs(self, enough: Callable[[list[int]], bool]) -> None:
        """Wait until the worker counts of the epochs so far equal the expected ones."""
        while not enough([metrics["world_size"] for metrics in self.read_history()]):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait()
        assert code == 130, f"exit code {code}: {self.log.read_text()}"


@pytest.mark.cluster
@pytest.mark.slow
def test_the_curve_shows_no_seam_where_a_node_is_lost_and_another_joins(
    cluster: Cluster, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assignments = [f"--set={key}={value}" for key, value in CONFIG.items()]
    arguments = ("--data", "synthetic:10", "--num-workers", "1:2", *assignments)
    training = Training(cluster, out, "--out", str(out), *arguments)
    try:
        training.await_epochs(lambda counts: counts[-2:] == [2, 2])
        os.kill(cluster.find_raylets()[1].pid, signal.SIGKILL)
        training.await_epochs(lambda counts: counts[-2:] == [1, 1])
        cluster.join()
        training.await_epochs(lambda counts: counts[-2:] == [2, 2])
        training.interrupt()
        finished = len(training.read_history())
        training = Training(cluster, out, "--resume", str(out))
        training.await_epochs(lambda counts: len(counts) > finished)
        training.interrupt()
    finally:
        training.process.kill()
        training.process.wait()

    last = load_checkpoint(out / "last")
    assert [metrics["epoch"] for metrics in last.history] == list(range(1, last.epoch + 1))
    # The run may be interrupted between writing the checkpoint and its line.
    assert training.read_history() in (last.history, last.history[:-1])
    counts = [metrics["world_size"] for metrics in last.history]
    changes = [now for before, now in zip([0, *counts], counts, strict=False) if now != before]
    assert changes == [2, 1, 2]

    alone = run_training(
        build_config(CONFIG, {"num_workers": 0}),
        synthesize(10),
        tmp_path / "one",
        epochs=last.epoch,
    )
    for ours, theirs in zip(last.history, alone.history, strict=True):
        for key in METRICS:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-9), (ours["epoch"], key)
