"""Sessions: which cluster is used, with which resources, token and signal handlers."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from raytune_yesno.cluster import session
from raytune_yesno.cluster.autoscaling import DEFINITION_VARIABLE
from raytune_yesno.cluster.session import ray_session
from raytune_yesno.cluster.temp_folder import MAX_PATH_BYTES, short_temp_folder
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a session sets in the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.parametrize("flag", ["num_cpus", "num_gpus"])
def test_a_negative_count_is_refused(flag: str) -> None:
    session = ray_session("local", **{flag: -1})
    with pytest.raises(InputError, match=f"{flag}: -1 is out of range"):
        session.__enter__()


@pytest.mark.parametrize("flag", ["num_cpus", "num_gpus"])
def test_counts_of_a_running_cluster_are_refused(flag: str) -> None:
    with pytest.raises(InputError, match="running cluster"):
        ray_session("127.0.0.1:1", **{flag: 2}).__enter__()


def test_an_address_where_nothing_listens_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=f"address {address}: "):
            ray_session(address).__enter__()


@pytest.mark.parametrize("address", ["nonsense", "host:", "127.0.0.1:99999", "[::1]:x"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"address {address}: ")):
        ray_session(address).__enter__()


def test_the_default_address_is_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")
    with pytest.raises(InputError, match="RAY_ADDRESS=elsewhere"):
        ray_session().__enter__()


def test_a_long_temporary_folder_gets_a_short_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    with short_temp_folder() as folder:
        assert folder is None  # Ray's own choice is short enough
    wanted = tmp_path / ("x" * 100)
    wanted.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(wanted))
    with short_temp_folder() as folder:
        assert folder is not None
        assert len(folder) <= MAX_PATH_BYTES
        assert Path(folder).parent.resolve() == wanted.resolve()
    assert not Path(folder).parent.parent.exists()


def test_a_cluster_without_gpus_is_told_without_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}])
    monkeypatch.delenv(DEFINITION_VARIABLE, raising=False)
    with pytest.raises(InputError, match="there is no GPU in this cluster; omit it"):
        session.count_fitting(build_config({"use_gpu": True}))


@pytest.mark.ray
def test_a_session_has_the_requested_resources(ray_cluster: str) -> None:
    resources = ray.cluster_resources()
    assert (resources["CPU"], resources["GPU"]) == (4, 2)


@pytest.mark.ray
def test_a_local_cluster_has_no_preemption_watcher(ray_cluster: str) -> None:
    name = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
    assert ray.get(ray.remote(lambda: os.environ.get(name)).remote()) == "0"
    assert name not in os.environ


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "nonsense"])
def test_a_stale_address_in_the_environment_is_named(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=re.escape(f"RAY_ADDRESS={address} in the environment")):
        ray_session().__enter__()


@pytest.mark.long
def test_a_missing_token_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        command = ["tune", "--address", address, "--data", "synthetic:10"]
        done = subprocess.run(
            [sys.executable, "-m", "raytune_yesno", *command, "--out", tmp_path / "none"],
            env={**os.environ, "RAY_AUTH_MODE": "token", "HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"raytune-yesno: address {address}: ")
    assert "RAY_AUTH_MODE=token" in line
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
def test_sigterm_is_handled_instead_of_by_ray(ray_cluster: str, tmp_path: Path) -> None:
    command = ["train", "--address", ray_cluster, "--data", "synthetic:10", "--epochs", "5000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "raytune_yesno", *command, "--out", tmp_path / "run"],
        stderr=subprocess.PIPE,
        text=True,
    )
    history, deadline = tmp_path / "run/history.jsonl", time.monotonic() + 120
    try:
        while not (history.exists() and history.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        told = process.communicate()[1]
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert told.splitlines()[-1].endswith(f"train --resume {tmp_path / 'run'}")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_only_the_user_can_read_the_token() -> None:
    token = Path.home() / ".ray" / "auth_token"
    if not token.exists():
        pytest.skip("this Ray made no token")
    assert token.stat().st_mode & 0o077 == 0
