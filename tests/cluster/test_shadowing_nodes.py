"""Nodes that were started in a stranger's folder, and a job: no module of it is imported.

Every variable names a proxy meanwhile, which nobody asks.
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
from hosts import wait_until
from recording_proxy import RecordingProxy, record_proxy
from shadow import ROOT, Shadows, clean_environment, write_program

from raytune_yesno.cluster.local import MARK, end_processes, free_port
from raytune_yesno.import_path import module_command
from raytune_yesno.study import load
from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

pytestmark = pytest.mark.cluster

SMALL = ("--epochs", "1", "--set", "channels=2,3", "--set", "hidden_units=4")
LOCAL = module_command("raytune_yesno.cluster.local")


class Stranger(Shadows):
    """The folder, which is a corpus, too, and the environment of every command in it."""

    def __init__(self, base: Path, proxy: RecordingProxy) -> None:
        super().__init__(base / "it", base / "trace")
        write_corpus(synthesize(10), self.folder)
        self.program, self.proxy = write_program(base), proxy
        # Sockets lie below: the name is short.
        self.home = tempfile.mkdtemp(prefix="sn-", dir="/tmp")
        self.environment = {"HOME": self.home, "TMPDIR": self.home, **proxy.variables}

    def tell(self, *words: str | Path) -> str:
        """Run a command in the folder; return what it printed."""
        told = self.run(words, **self.environment).stdout
        assert self.proxy.received == []
        return told


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    with record_proxy() as proxy:
        stranger = Stranger(tmp_path, proxy)
        yield stranger
        assert stranger.traces == []  # of what has only now come to its end
        assert proxy.received == []
    shutil.rmtree(stranger.home)


def test_two_nodes(stranger: Stranger, tmp_path: Path) -> None:
    """Trials of two ranks, a refit on two workers, data-parallel training, a report, `doctor`."""
    told = stranger.tell(*LOCAL, "up", "2", "--num-cpus", "1")
    try:
        (exports,) = (line for line in told.splitlines() if "export" in line)
        stranger.environment |= dict(word.split("=") for word in exports.split()[1:])
        out = tmp_path / "study"
        tune = ("tune", "--data", stranger.folder, "--trials", "2", "--workers-per-trial", "2")
        stranger.tell(stranger.program, "doctor", "--data", ".", "--out", tmp_path / "none")
        stranger.tell(stranger.program, *tune, *SMALL, "--out", out)
        assert {trial.status for trial in load(out).trial_list} <= {"done", "stopped"}
        train = ("train", "--data", ".", "--num-workers", "2", *SMALL)
        stranger.tell(stranger.program, *train, "--out", tmp_path / "run")
    finally:
        stranger.tell(*LOCAL, "down")


@contextmanager
def run_head(stranger: Stranger) -> Iterator[str]:
    """Run a head with a dashboard, started in the folder; give the dashboard's address."""
    mark, dashboard = uuid.uuid4().hex, free_port()
    options = [f"--port={free_port()}", f"--dashboard-port={dashboard}", "--num-cpus=3"]
    options += ["--node-ip-address=127.0.0.1", f"--temp-dir={stranger.home}/ray", "--block"]
    options += ["--object-store-memory=200000000", f"--ray-client-server-port={free_port()}"]
    words = [*module_command("raytune_yesno.cluster.loopback"), "start", "--head", *options]
    # On the nodes that others start, their own environment has to name these exceptions.
    direct = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,169.254.169.254,.internal")
    own = {MARK: mark, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the job says `python`
    try:
        with (Path(stranger.home) / "head.log").open("wb") as log:
            subprocess.Popen(
                words,
                cwd=stranger.folder,
                env=clean_environment() | stranger.environment | direct | own | {"PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: _is_listening(dashboard), "the dashboard listens")
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        end_processes(mark)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_job(stranger: Stranger, tmp_path: Path) -> None:
    """Launched in the folder, with it as a corpus that travels, onto a head started in it."""
    token = Path(stranger.home) / ".ray" / "auth_token"
    token.parent.mkdir(mode=0o700)
    token.touch(mode=0o600)
    token.write_text("5" * 64)
    out = tmp_path / "home"
    with run_head(stranger) as address:
        launch = (sys.executable, ROOT / "scripts/launch", "--address", address)
        shared = ("--shared", tmp_path / "shared", "--out", out)
        tune = ("tune", "--data", stranger.folder, "--trials", "2", "--workers-per-trial", "2")
        told = stranger.tell(*launch, *shared, "--", *tune, *SMALL, "--json")
        assert json.loads(told.strip().splitlines()[-1])["trials"] == 2
    assert len(load(out).trial_list) == 2
