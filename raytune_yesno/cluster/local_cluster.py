"""A cluster of several nodes on this machine, to test what is meant for many machines.

``raytune-yesno cluster up N`` and ``cluster down`` use it. It never touches another Ray: its files
are in a folder of their own, and it ends only processes that carry its mark in their environment.
It listens on the loopback interface only.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_yesno.cluster.proxies import reach_directly
from raytune_yesno.cluster.token import NO_DASHBOARD, NOWHERE, ensure_token
from raytune_yesno.errors import InputError, WorkError, quote
from raytune_yesno.import_path import module_command

_RAY = "raytune_yesno.cluster.loopback"
MARK = "RAYTUNE_YESNO_LOCAL_CLUSTER"
"""Environment variable of every process of a cluster; its value identifies the cluster."""

OBJECT_STORE_BYTES = 200_000_000
START_TIMEOUT_S, STOP_TIMEOUT_S, POLL_S = 180.0, 5.0, 0.1


def cluster_folder() -> Path:
    """Return the folder of this user's cluster. Its name is short because it holds sockets."""
    return Path(tempfile.gettempdir()) / f"raytune-{os.getuid()}"


def up(
    num_nodes: int, num_cpus: int | None = None, object_store_bytes: int = OBJECT_STORE_BYTES
) -> str:
    """Start a cluster and return its address.

    Args:
        num_nodes: number of nodes, head included.
        num_cpus: logical CPUs of each node; None divides this machine's CPUs among the nodes.
        object_store_bytes: size of each node's object store.

    Raises:
        InputError: a cluster already runs, or a number is below 1.
        WorkError: a node did not start; the nodes that did are ended.
    """
    cpus = max(1, (os.cpu_count() or 1) // max(num_nodes, 1)) if num_cpus is None else num_cpus
    if num_nodes < 1 or cpus < 1:
        raise InputError(f"{num_nodes} nodes of {cpus} CPUs: give at least 1 node and 1 CPU")
    folder = _own_folder()
    state = folder / "cluster.json"
    if state.exists():
        if find_processes(_read_state(state)["mark"]):
            raise InputError(
                "a cluster is already running; end it with `raytune-yesno cluster down`"
            )
        down()
        folder = _own_folder()
    ensure_token()
    mark = uuid.uuid4().hex
    address = f"127.0.0.1:{free_port()}"
    state.write_text(json.dumps({"mark": mark, "address": address}))
    try:
        # Sequentially: nodes that start at the same time may choose the same socket.
        for index in range(num_nodes):
            node = start_node(folder, index, mark, address, cpus, object_store_bytes)
            wait_for_node(node, folder / f"node-{index}.log", address)
    except BaseException:
        down(keep_logs=True)
        raise
    return address


def down(*, keep_logs: bool = False) -> int:
    """End the cluster.

    Args:
        keep_logs: keep the folder with the logs of the nodes.

    Returns:
        The number of processes that were ended; 0 if no cluster was running.
    """
    folder = cluster_folder()
    if not folder.exists():
        return 0
    _own_folder()
    state = folder / "cluster.json"
    ended = end_processes(_read_state(state)["mark"]) if state.exists() else 0
    state.unlink(missing_ok=True)
    if not keep_logs:
        shutil.rmtree(folder, ignore_errors=True)
    return ended


def _own_folder() -> Path:
    """Make the folder if it does not exist; refuse one that another user could have made."""
    folder = cluster_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if about.st_uid != os.getuid() or folder.is_symlink() or about.st_mode & 0o077:
        raise InputError(
            f"{folder}: others can access it; remove it or run chmod 700 {quote(str(folder))}"
        )
    return folder


def _read_state(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise WorkError(
            f"{path}: damaged; end the processes with {MARK} in their environment, then "
            "remove the folder"
        ) from error


def start_node(
    folder: Path,
    index: int,
    mark: str,
    address: str,
    cpus: int,
    object_store_bytes: int,
    settings: Mapping[str, str] | None = None,
    ip: str = "127.0.0.1",
    within: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a node that logs to ``node-INDEX.log`` in the folder.

    Args:
        folder: holds the log and Ray's files.
        index: 0 for the head.
        mark: the value of ``MARK`` in the environment of its processes.
        address: ``HOST:PORT`` of the head.
        cpus: logical CPUs.
        object_store_bytes: size of its object store.
        settings: further variables of its environment.
        ip: the address that it listens on.
        within: a command that runs it elsewhere, such as ``ip netns exec NAME``.
    """
    port = address.rpartition(":")[2]
    role = [f"--address={address}"]
    if index == 0:
        role = ["--head", f"--port={port}", "--include-dashboard=false"]
        role += [f"--ray-client-server-port={free_port()}"]
    options = [
        "--block",  # the node ends with this process
        f"--node-ip-address={ip}",
        f"--num-cpus={cpus}",
        f"--object-store-memory={object_store_bytes}",
        f"--temp-dir={folder / 'ray'}",  # Ray lets everybody read it; its parent is private
        f"--dashboard-agent-listen-port={free_port()}",
        "--disable-usage-stats",
    ]
    reach_directly(ip)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {MARK: mark, "RAY_AUTH_MODE": "token", "PYTHONUNBUFFERED": "1", **NO_DASHBOARD}
    environment["RAY_USAGE_STATS_REPORT_URL"] = NOWHERE  # Ray reports even that reports are off
    environment |= settings or {}
    with (folder / f"node-{index}.log").open("wb") as log:
        return subprocess.Popen(
            [*within, *module_command(_RAY), "start", *role, *options],
            cwd=folder,  # Ray starts its client server with `python -m`
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C does not reach the node
        )


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_node(node: subprocess.Popen[bytes], log: Path, address: str) -> None:
    """Wait until a node has joined the cluster.

    Raises:
        WorkError: the node ended, or did not join in time.
    """
    joined = "Ray runtime started"  # printed by `ray start` once the node has joined
    deadline = time.monotonic() + START_TIMEOUT_S
    while joined not in (text := log.read_text(errors="replace")):
        if node.poll() is not None:
            last = "".join(text.strip().splitlines()[-1:])
            raise WorkError(f"a node ended while it started: {last} (log: {log})")
        if time.monotonic() > deadline:
            raise WorkError(
                f"{address}: a node did not join within {START_TIMEOUT_S:.0f} s; see {log}"
            )
        time.sleep(POLL_S)


def find_processes(mark: str) -> list[Any]:
    """Return the ``psutil.Process`` objects of the processes with a cluster's mark."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if (
                _is_marked(process, mark)
                and process.pid != os.getpid()
                and process.status() != "zombie"
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # ended, or another user's
    return found


def _is_marked(process: Any, mark: str) -> bool:
    raw = Path(f"/proc/{process.pid}/environ")
    if raw.exists():
        # Ray's processes overwrite its beginning with their titles; psutil stops reading there.
        return f"{MARK}={mark}".encode() in raw.read_bytes()
    return bool(process.environ().get(MARK) == mark)


def end_processes(mark: str) -> int:
    """End the processes with a mark, first with SIGTERM, then with SIGKILL.

    Returns:
        The number of processes.

    Raises:
        WorkError: some processes still run.
    """
    ended = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_TIMEOUT_S
        asked = set()
        while found := find_processes(mark):
            for process in found:
                ended.add(process.pid)
                if process.pid not in asked:
                    asked.add(process.pid)
                    with contextlib.suppress(Exception):  # ended in the meantime
                        process.send_signal(number)
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
    left = find_processes(mark)
    if left:
        raise WorkError(
            f"processes {', '.join(str(p.pid) for p in left)} do not end; end them by hand"
        )
    return len(ended)
