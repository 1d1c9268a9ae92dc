"""Clusters that this machine plays."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers.launched import URL, Head
from helpers.readme import ROOT

from raytune_yesno.commands import launch as command
from raytune_yesno.errors import WorkError
from raytune_yesno.launch import existing_cluster, job
from raytune_yesno.launch.new_cluster import LaunchedCluster
from raytune_yesno.launch.ray_up import RayLauncher


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    head = Head()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    @contextlib.contextmanager
    def tunnel(launcher: RayLauncher) -> Iterator[str]:
        yield URL

    def run(launcher: RayLauncher, command: str) -> str:
        words = ["bash", "-c", command]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise WorkError("`ray exec` failed")
        return done.stdout

    def fetch(launcher: RayLauncher, remote: str, local: Path) -> None:
        shutil.copytree(remote, local, dirs_exist_ok=True)

    monkeypatch.setattr(job.Job, "__init__", lambda self, address, submission: None)
    monkeypatch.setattr(job.Job, "shown", 0, raising=False)
    monkeypatch.setattr(job.Job, "is_known", lambda self: head.knows)
    monkeypatch.setattr(job.Job, "submit", lambda *given: head.submit(*given))
    monkeypatch.setattr(job.Job, "follow", lambda *given: head.follow(*given))
    monkeypatch.setattr(existing_cluster, "is_dashboard_up", lambda address: True)
    monkeypatch.setattr(command, "unpack_wheel", lambda folder: None)
    for name, fake in {"tunnel": tunnel, "exec": run, "fetch": fetch}.items():
        monkeypatch.setattr(RayLauncher, name, fake)
    monkeypatch.setattr(LaunchedCluster, "check", lambda self: None)
    monkeypatch.setattr(LaunchedCluster, "up", lambda self: self.launch.save(phase="ready"))
    monkeypatch.setattr(LaunchedCluster, "end_all", lambda self: [])
    return head


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """Return the words that name a cluster which the launch starts."""
    definition = yaml.safe_load((ROOT / "cluster/onprem.yaml").read_text())
    definition["metadata"]["studies"] = str(tmp_path / "shared")
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(definition))
    return [str(path)]


@pytest.fixture
def existing(tmp_path: Path) -> list[str]:
    """Return the words that name a cluster which exists."""
    return ["--address", URL, "--shared", str(tmp_path / "shared")]


@pytest.fixture(params=["own", "existing"])
def cluster(request: pytest.FixtureRequest) -> list[str]:
    """Return the words that name either of them."""
    words: list[str] = request.getfixturevalue(request.param)
    return words
