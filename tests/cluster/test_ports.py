"""What another machine on the network gets from Ray's ports without the token.

Each cluster runs on hosts of its own; another host asks all 65535 TCP ports of each
(helpers/port_scan.py).
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from helpers.hosts import ROOT, Hosts, run_hosts

from raytune_yesno.cluster.token import ensure_token

pytestmark = pytest.mark.cluster

ADDRESSES = {"head": "10.77.0.1", "worker": "10.77.0.2", "stranger": "10.77.0.9"}
SSH = 22
HEALTH = {"GET /api/local_raylet_healthz": "200 OK"}
# A session with two actors. It ends when its standard input is closed.
ACTORS = """
import sys
import ray
from raytune_yesno.cluster.session import ray_session

class Stays:
    pass

with ray_session({address!r}, num_cpus={num_cpus}):
    spread = ray.remote(Stays).options(num_cpus=1, scheduling_strategy="SPREAD")
    actors = [spread.remote() for _ in range(2)]
    ray.get([actor.__ray_ready__.remote() for actor in actors])
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with run_hosts(tmp_path_factory.mktemp("lab"), ADDRESSES) as hosts:
        yield hosts


@contextmanager
def run_actors(
    hosts: Hosts, address: str | None, num_cpus: int | None = None, **more: str
) -> Iterator[None]:
    """Keep two actors on the cluster at an address, or on a new local cluster."""
    script = ACTORS.format(address=address, num_cpus=num_cpus)
    process = subprocess.Popen(
        hosts.command("head", sys.executable, "-c", script),
        env=hosts.environment(PYTHONPATH=str(ROOT), **more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.communicate("")
    assert process.returncode == 0


def scan(hosts: Hosts, name: str, token: str = "") -> list[dict[str, Any]]:
    """Return what the stranger's host gets from the ports of another host."""
    words = [
        sys.executable,
        str(ROOT / "tests/helpers/port_scan.py"),
        ADDRESSES[name],
        *([token] if token else []),
    ]
    found: list[dict[str, Any]] = json.loads(hosts.check("stranger", *words).splitlines()[-1])
    for port in found:  # for -s, and for the report of a failure
        print(name, port)
    assert found[0]["port"] == SSH  # the stranger reaches the machine
    return found[1:]


def count_listening(hosts: Hosts, name: str) -> int:
    """Count the listening sockets, loopback included, except those of sshd."""
    return len([line for line in list_sockets(hosts, name) if "sshd" not in line])


def list_sockets(hosts: Hosts, name: str) -> list[str]:
    return [line for line in hosts.check(name, "ss", "-Htlnp").splitlines() if line.strip()]


def test_a_study_on_one_machine_opens_no_port(hosts: Hosts) -> None:
    with run_actors(hosts, None, num_cpus=2):
        assert count_listening(hosts, "head") > 5
        assert scan(hosts, "head") == []
        check_token_is_hidden(hosts, "head")
    assert find_reports(hosts, "head") == []


def test_a_local_cluster_opens_no_port(hosts: Hosts) -> None:
    local = (sys.executable, "-m", "raytune_yesno", "cluster")
    hosts.check("head", *local, "up", "2", "--num-cpus", "1", PYTHONPATH=str(ROOT))
    try:
        assert count_listening(hosts, "head") > 10
        assert scan(hosts, "head") == []
        check_token_is_hidden(hosts, "head")
        assert find_reports(hosts, "head") == []
    finally:
        hosts.check("head", *local, "down", PYTHONPATH=str(ROOT))


def test_an_onprem_cluster_asks_for_the_token(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = hosts.work / "auth_token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(shared))
    token = ensure_token().read_text()
    try:
        for name in ("head", "worker"):
            copy = f"umask 077; mkdir -p ~/.ray; cat {shared} >~/.ray/auth_token"
            hosts.check(name, "bash", "-c", copy)
            hosts.check(name, "bash", "-c", start_command(name), RAY_HEAD_IP=ADDRESSES["head"])
        address = f"{ADDRESSES['head']}:6379"
        with run_actors(hosts, address, RAY_AUTH_MODE="token"):
            for name in ("head", "worker"):
                for given in ("", "0" * len(token)):
                    check_ports(scan(hosts, name, given))
                check_token_is_hidden(hosts, name)
                assert find_reports(hosts, name) == []
            # The scan ended nothing, and callers with the token get answers.
            status = (sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address)
            told = hosts.check("head", *status, RAY_AUTH_MODE="token")
            assert "2 node_" in told or told.count("node_") == 2, told
    finally:
        for name in ("head", "worker"):
            hosts.check(name, sys.executable, "-m", "ray.scripts.scripts", "stop", "--force")


def start_command(name: str) -> str:
    """Return the command of cluster/onprem.yaml that starts Ray, without the autoscaler."""
    definition = yaml.safe_load((ROOT / "cluster/onprem.yaml").read_text())
    command = str(definition[f"{name}_start_ray_commands"][-1])
    command = command.replace("--autoscaling-config=~/ray_bootstrap_config.yaml", "")
    return f"{command} --num-cpus=1 --object-store-memory=100000000"


def check_ports(found: list[dict[str, Any]]) -> None:
    """Assert that all ports are Ray's and refuse every request except for health."""
    assert {port["speaks"] for port in found} == {"gRPC", "HTTP"}
    for port in found:
        assert port["open"] in ({}, HEALTH), port
        assert port["refused"], port
    assert sum(port["open"] == HEALTH for port in found) == 1
    # raylet, object manager, worker, agent
    assert len([port for port in found if port["speaks"] == "gRPC"]) >= 4


def check_token_is_hidden(hosts: Hosts, name: str) -> None:
    """Assert that only the user can read the token, and no log or process list has it."""
    assert hosts.check(name, "stat", "-c", "%a", "/root/.ray/auth_token").strip() == "600"
    token = hosts.check(name, "cat", "/root/.ray/auth_token").strip()
    assert len(token) == 64
    assert token not in hosts.check(name, "ps", "-eo", "args")
    logs = ["bash", "-c", f"grep -rlF {token} /tmp/ray* || true"]
    assert hosts.check(name, *logs) == ""


def find_reports(hosts: Hosts, name: str) -> list[str]:
    """Return the files of Ray's usage reports."""
    return hosts.check(name, "bash", "-c", "find /tmp/ray* -name usage_stats.json").splitlines()
