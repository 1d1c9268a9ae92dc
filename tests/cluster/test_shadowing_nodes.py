"""Nodes and jobs that start in a folder of shadowing modules import none of them.

All proxy variables name a proxy, which must receive no request.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.hosts import wait_until
from helpers.recording_proxy import RecordingProxy, record_proxy
from helpers.shadow import Shadows, clean_environment, write_program

from raytune_yesno.cluster.local_cluster import MARK, end_processes, free_port
from raytune_yesno.cluster.token import NOWHERE
from raytune_yesno.import_path import module_command
from raytune_yesno.study import load
from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

pytestmark = pytest.mark.cluster

SMALL = ("--epochs", "1", "--set", "channels=2,3", "--set", "hidden_units=4")
LOCAL = [*module_command("raytune_yesno"), "cluster"]


class Stranger(Shadows):
    """The folder, which is also a corpus, and the environment of every command in it."""

    def __init__(self, base: Path, proxy: RecordingProxy) -> None:
        super().__init__(base / "it", base / "trace")
        write_corpus(synthesize(10), self.folder)
        self.program, self.proxy = write_program(base), proxy
        # Short, because it holds sockets.
        self.home = tempfile.mkdtemp(prefix="sn-", dir="/tmp")
        self.environment = {"HOME": self.home, "TMPDIR": self.home, **proxy.variables}

    def tell(self, *words: str | Path) -> str:
        """Run a command in the folder; return its output."""
        told = self.run(words, **self.environment).stdout
        assert self.proxy.received == []
        return told


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    with record_proxy() as proxy:
        stranger = Stranger(tmp_path, proxy)
        try:
            yield stranger
            assert stranger.traces == []  # also of processes that ended only now
            assert proxy.received == []
        finally:
            shutil.rmtree(stranger.home)


def test_two_nodes(stranger: Stranger, tmp_path: Path) -> None:
    """A trial of two ranks, a refit on two workers, a report, `doctor`."""
    try:
        told = stranger.tell(*LOCAL, "up", "2", "--num-cpus", "1")
        (exports,) = (line for line in told.splitlines() if "export" in line)
        stranger.environment |= dict(word.split("=") for word in exports.split()[1:])
        out = tmp_path / "study"
        tune = ("tune", "--data", stranger.folder, "--trials", "1", "--workers-per-trial", "2")
        stranger.tell(stranger.program, "doctor", "--data", ".", "--out", tmp_path / "none")
        stranger.tell(stranger.program, *tune, *SMALL, "--out", out)
        assert [trial.status for trial in load(out).trial_list] == ["done"]
        assert load(out).refit
    finally:
        subprocess.run([*LOCAL, "down"], env=clean_environment() | stranger.environment, check=True)


@contextmanager
def run_cluster(stranger: Stranger) -> Iterator[str]:
    """Run a head with a dashboard, and a node in the folder; yield the dashboard's address.

    The head runs elsewhere: Ray itself runs a module there with ``python -m``.
    """
    mark, dashboard, head = uuid.uuid4().hex, free_port(), f"127.0.0.1:{free_port()}"
    ports = [f"--dashboard-port={dashboard}", f"--ray-client-server-port={free_port()}"]
    first = ["--head", f"--port={head.rpartition(':')[2]}", "--num-cpus=0", *ports]
    second = [f"--address={head}", "--num-cpus=3"]
    try:
        for role, folder in ((first, Path(stranger.home)), (second, stranger.folder)):
            _start_node(stranger, role, folder, mark)
            name = "head" if role is first else "node"
            log = Path(stranger.home) / f"{name}.log"
            wait_until(lambda log=log: "Ray runtime started" in log.read_text(), f"the {name} runs")
        wait_until(lambda: _is_listening(dashboard), "the dashboard listens")
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        end_processes(mark)


def _start_node(stranger: Stranger, role: list[str], folder: Path, mark: str) -> None:
    options = ["--node-ip-address=127.0.0.1", f"--temp-dir={stranger.home}/ray", "--block"]
    options += ["--object-store-memory=200000000", f"--dashboard-agent-listen-port={free_port()}"]
    words = [*module_command("raytune_yesno.cluster.loopback"), "start", *role, *options]
    # Nodes that others start need these exceptions in their own environment.
    direct = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,169.254.169.254,.internal")
    own = {MARK: mark, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    own["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a job runs ``python``
    own |= {"PYTHONUNBUFFERED": "1", "RAY_USAGE_STATS_REPORT_URL": NOWHERE}
    with (Path(stranger.home) / ("head.log" if "--head" in role else "node.log")).open("wb") as log:
        subprocess.Popen(
            words,
            cwd=folder,
            env=clean_environment() | stranger.environment | direct | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow  # minutes; test_two_nodes covers the same imports without a job
def test_a_job(stranger: Stranger, tmp_path: Path) -> None:
    """A job launched from the folder with the folder as corpus, on a node started in it."""
    token = Path(stranger.home) / ".ray" / "auth_token"
    token.parent.mkdir(mode=0o700)
    token.touch(mode=0o600)
    token.write_text("5" * 64)
    out = tmp_path / "home"
    with run_cluster(stranger) as address:
        launch = (stranger.program, "launch", "--address", address)
        shared = ("--shared", tmp_path / "shared", "--out", out)
        tune = ("tune", "--data", stranger.folder, "--trials", "2", "--workers-per-trial", "2")
        told = stranger.tell(*launch, *shared, "--", *tune, *SMALL, "--json")
        assert json.loads(told.strip().splitlines()[-1])["trials"] == 2
    assert len(load(out).trial_list) == 2
