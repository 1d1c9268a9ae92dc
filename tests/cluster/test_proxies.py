"""Requests to a cluster use no proxy of the environment, so none sees the token."""

import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from helpers.recording_proxy import RecordingProxy, record_proxy

from raytune_yesno import cli
from raytune_yesno.cluster.proxies import direct_variables, find_host, reach_directly
from raytune_yesno.cluster.token import auth_headers, ensure_token
from raytune_yesno.errors import InputError
from raytune_yesno.launch.job import HeadUnreachableError, Job
from raytune_yesno.launch.ray_up import is_dashboard_up, list_node_addresses

_GRPC = "no_grpc_proxy"


class Dashboard(BaseHTTPRequestHandler):
    """A Ray dashboard that answers the first requests and records their headers."""

    seen: list[str | None]

    def do_GET(self) -> None:
        type(self).seen.append(self.headers["Authorization"])
        nodes = [{"node_ip": "127.0.0.1", "state": "ALIVE"}]
        body = {"ray_version": "2.60.0", "data": {"result": {"result": nodes}}}
        payload = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    """Run a proxy that all variables name, and make a home with a token."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    ensure_token()
    with record_proxy() as proxy:
        for name, value in proxy.variables.items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def dashboard() -> Iterator[str]:
    """Run a dashboard; yield its address."""
    Dashboard.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_other_requests_use_the_proxy(proxy: RecordingProxy, dashboard: str) -> None:
    assert requests.get(dashboard, timeout=10).status_code == 502
    assert len(proxy.received) == 1


def test_requests_to_a_dashboard_use_no_proxy(proxy: RecordingProxy, dashboard: str) -> None:
    token = (Path.home() / ".ray" / "auth_token").read_text()
    assert is_dashboard_up(dashboard)
    assert list_node_addresses(dashboard) == ["127.0.0.1"]
    Job(dashboard, "none")
    for name in ("localhost", "[::1]"):  # the proxy is not asked if nothing listens, either
        assert not is_dashboard_up(f"http://{name}:9")
    with pytest.raises(HeadUnreachableError):
        Job("http://127.0.0.1:9", "none")
    assert set(Dashboard.seen) == {f"Bearer {token}"}
    assert proxy.received == []


def test_a_launch_reaches_a_dashboard_on_loopback(
    proxy: RecordingProxy, dashboard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["launch", "--address", dashboard, "--shared", "/shared", "--check", "--", "tune"]
    assert cli.main(words) == 0, capsys.readouterr().err
    assert proxy.received == []


def test_the_token_does_not_leave_the_machine_in_clear(
    proxy: RecordingProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither to a proxy nor to the dashboard itself; 192.0.2.1 is reserved for tests."""
    address = "http://192.0.2.1:8265"
    words = ["launch", "--address", address, "--shared", "/shared", "--check", "--", "tune"]
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert address in line
    assert "unencrypted" in line
    for call in (is_dashboard_up, list_node_addresses, lambda url: Job(url, "none"), auth_headers):
        with pytest.raises(InputError, match="unencrypted"):
            call(address)
    assert auth_headers("https://192.0.2.1:8265").keys() == {"Authorization"}
    assert proxy.received == []


def test_without_a_token_no_header_is_sent(proxy: RecordingProxy) -> None:
    (Path.home() / ".ray" / "auth_token").unlink()
    assert auth_headers("http://192.0.2.1:8265") == {}


def test_the_token_may_be_sent_to_this_machines_addresses(proxy: RecordingProxy) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        own = probe.getsockname()[0]
    for host in ("localhost", "127.0.0.1", "[::1]", own):
        assert auth_headers(f"http://{host}:8265").keys() == {"Authorization"}


def test_other_hosts_keep_their_proxy(proxy: RecordingProxy) -> None:
    reach_directly("head")
    # `urlopen` would keep the proxies of the process's first request.
    opener = urllib.request.build_opener()
    with pytest.raises(urllib.error.HTTPError, match="502"):
        opener.open("http://elsewhere.example", timeout=10)
    assert len(proxy.received) == 1


@pytest.mark.ray
def test_a_cluster_without_a_dashboard_sends_no_request(ray_cluster: str) -> None:
    """By default Ray Train's workers would ask port 8265, whoever listens there."""
    import ray
    from ray.util.state import get_actor

    def ask() -> tuple[str, str]:
        try:
            get_actor("0" * 32, timeout=2)
        except Exception as error:
            return os.environ["RAY_API_SERVER_ADDRESS"], str(error)
        return "", "somebody answered"

    address, error = ray.get(ray.remote(ask).remote())
    assert address in error, error
    assert "RAY_API_SERVER_ADDRESS" not in os.environ


@pytest.mark.parametrize("names", [("no_proxy",), ("NO_PROXY",), ("no_proxy", "NO_PROXY")])
def test_the_users_exceptions_are_kept(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, f"10.0.0.0/8, {name}.example")
    monkeypatch.setenv(_GRPC, "one.example")
    for _ in range(2):
        reach_directly("head")
    for name in ("no_proxy", "NO_PROXY"):
        entries = os.environ[name].split(",")
        assert len(entries) == len(set(entries))
        assert {"10.0.0.0/8", "head", "127.0.0.1", "localhost"} <= set(entries)
        assert {f"{name}.example" for name in names} <= set(entries)
    assert {"one.example", "head", "127.0.0.1"} <= set(os.environ[_GRPC].split(","))


def test_the_nodes_of_a_job_keep_their_own_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.utils import update_envs

    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "bucket.example")
    variables = direct_variables(["10.0.0.1"])
    for name in variables:
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("no_proxy")
    update_envs(variables)  # as on a node
    for name in ("no_proxy", "NO_PROXY"):
        assert {"bucket.example", "10.0.0.1", "127.0.0.1"} <= set(os.environ[name].split(","))


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://Head:8265/x", "head"),
        ("https://[::1]:8265", "::1"),
        ("10.0.0.1:6379", "10.0.0.1"),
        ("ray://head:10001", "head"),
        ("auto", "auto"),
        ("[::1]:6379", "::1"),
        ("http://[x", ""),
        ("", ""),
    ],
)
def test_find_host(address: str, host: str) -> None:
    assert find_host(address) == host
