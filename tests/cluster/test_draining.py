"""Two nodes, one of which Ray takes away: a trial or a run moves in time and loses nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reliability.chaos.cluster import Cluster

from raytune_yesno.study import load
from raytune_yesno.study.store import STORE, read_events

OBJECTIVE = """\
import os, time


def objective(config, checkpoint=None):
    for epoch in range(1 + (checkpoint or 0), config["epochs"] + 1):
        time.sleep(0.05)  # an epoch that uses no CPU
        while epoch == 20 and not os.path.exists({drained!r}):
            time.sleep(0.05)
        yield {{"loss": config.get("x", 1) / epoch, "process": os.getpid()}}, epoch
"""
EPOCHS = 100
HOLD = """\
import sys
import ray
from raytune_yesno.cluster.session import ray_session


@ray.remote(num_cpus=1)
class Holder:
    pass


with ray_session(sys.argv[1]):
    (head,) = (n["NodeID"] for n in ray.nodes() if "node:__internal_head__" in n["Resources"])
    holder = Holder.options(label_selector={"ray.io/node-id": head}).remote()
    ray.get(holder.__ray_ready__.remote())
    print("held", flush=True)
    sys.stdin.read()
"""
DRAIN = """\
import sys, time
from ray._raylet import GcsClient
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

client = GcsClient(address=sys.argv[1])
nodes = client.get_all_node_info(timeout=30).values()
(node,) = (node.node_id.hex() for node in nodes if not node.is_head_node)
reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
accepted, why = client.drain_node(node, reason, "reclaimed", int(1000 * (time.time() + 120)))
assert accepted, why
print(node)
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Start two nodes with one CPU each. The first is the head."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with Cluster(2, 1) as cluster:
        yield cluster


def drain_one(cluster: Cluster) -> str:
    """Announce, as a cloud's agent does, that the node beside the head will be gone; return it."""
    done = subprocess.run(
        [sys.executable, "-c", DRAIN, cluster.address],
        env={**os.environ, **cluster.environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def read_nodes(out: Path) -> dict[int, str]:
    """Return the node of each trial that has trained an epoch."""
    if not (out / STORE).exists():
        return {}
    epochs = load(out).epochs
    return dict(zip(epochs["trial"], epochs["node"], strict=True)) if len(epochs) else {}


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


@pytest.mark.cluster
def test_a_trial_leaves_a_node_that_is_drained(cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "study"
    drained = tmp_path / "drained"
    (tmp_path / "task.py").write_text(OBJECTIVE.format(drained=str(drained)))
    (tmp_path / "space.yaml").write_text("x: {float: [1, 2]}\n")
    task = ["--task", f"{tmp_path}/task.py:objective", "--space", f"{tmp_path}/space.yaml"]
    # A checkpoint is written for the move only.
    plan = ["--metric", "loss", "--mode", "min", "--search", "random", "--scheduler", "fifo"]
    plan += ["--trials", "2", "--epochs", str(EPOCHS), "--checkpoint-every", "600"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "raytune_yesno", "tune", "--address", cluster.address),
            *("--out", str(out), *task, *plan),
        ],
        env={**os.environ, **cluster.environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(process, lambda: len(set(read_nodes(out).values())) == 2)
        lost_node = drain_one(cluster)
        drained.touch()
        (moved,) = (trial for trial, node in read_nodes(out).items() if node == lost_node)
        log, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log
    check(out, moved, lost_node)


def check(out: Path, moved: int, lost_node: str) -> None:
    """All epochs are trained once, and those after the move on the other node."""
    study = load(out)
    assert [trial.status for trial in study.trial_list] == ["done", "done"]
    attempts = {trial.number: trial.attempts for trial in study.trial_list}
    assert attempts == {moved: 2, 1 - moved: 1}
    for trial in study.trial_list:
        assert [epoch["epoch"] for epoch in trial.epochs] == list(range(1, EPOCHS + 1))
    events = [event for event in read_events(out)[0] if event["event"] == "epoch"]
    assert len(events) == 2 * EPOCHS  # none is trained twice
    nodes = [event["node"] for event in events if event["trial"] == moved]
    assert nodes[0] == lost_node
    assert nodes[-1] != lost_node


@pytest.mark.cluster
def test_a_run_leaves_a_node_that_is_drained(cluster: Cluster, tmp_path: Path) -> None:
    """Its worker starts on the node beside the head, whose only CPU is held at first."""
    environment = {**os.environ, **cluster.environment, "OMP_NUM_THREADS": "1"}
    drained = tmp_path / "drained"
    (tmp_path / "task.py").write_text(OBJECTIVE.format(drained=str(drained)))
    out = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, cluster.address],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "raytune_yesno", "train", "--address", cluster.address),
            *("--task", f"{tmp_path}/task.py:objective", "--metric", "loss", "--mode", "min"),
            *("--num-workers", "1", "--epochs", str(EPOCHS), "--out", str(out)),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    history = out / "history.jsonl"
    try:
        wait_until(process, lambda: history.exists() and bool(history.read_text()))
        holder.stdin.close()
        holder.wait()
        drain_one(cluster)
        drained.touch()
        log, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
        holder.kill()
        holder.wait()
    assert process.returncode == 0, log
    epochs = [json.loads(line) for line in history.read_text().splitlines()]
    assert [metrics["epoch"] for metrics in epochs] == list(range(1, EPOCHS + 1))
    assert len({metrics["process"] for metrics in epochs}) == 2  # it has moved, once
