"""A cluster of several nodes on this machine, to try there what is meant for many machines.

``scripts/local_cluster up N`` and ``down`` run this. It never touches another Ray: its files lie
in a folder of its own, and what it ends are the processes that it started, which it knows by a
mark in their environment that no other process has. It listens on the loopback interface alone.
"""

import contextlib
import importlib
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
"""The variable in the environment of every process of the cluster; its value is the cluster's."""

OBJECT_STORE_BYTES = 200_000_000
START_TIMEOUT_S, STOP_TIMEOUT_S, POLL_S = 180.0, 5.0, 0.1


def cluster_folder() -> Path:
    """Return the folder of this user's cluster. Its name is short: sockets lie in it."""
    return Path(tempfile.gettempdir()) / f"raytune-{os.getuid()}"


def up(
    num_nodes: int, num_cpus: int | None = None, object_store_bytes: int = OBJECT_STORE_BYTES
) -> str:
    """Start a cluster and return its address.

    Args:
        num_nodes: how many, the head among them.
        num_cpus: logical CPUs of each; None for this machine's, shared out.

    Raises:
        InputError: one runs already, or a number makes no sense.
        WorkError: the nodes did not come up; what had started is ended again.
    """
    cpus = max(1, (os.cpu_count() or 1) // max(num_nodes, 1)) if num_cpus is None else num_cpus
    if num_nodes < 1 or cpus < 1:
        raise InputError(f"{num_nodes} nodes of {cpus} CPUs: there must be 1 of each at least")
    folder = _own_folder()
    state = folder / "cluster.json"
    if state.exists():
        if find_processes(_read_state(state)["mark"]):
            raise InputError("a cluster runs already; end it with `raytune-yesno cluster down`")
        down()
        folder = _own_folder()
    ensure_token()
    mark = uuid.uuid4().hex
    address = f"127.0.0.1:{free_port()}"
    state.write_text(json.dumps({"mark": mark, "address": address}))
    try:
        # One after another: nodes of one machine that start at once may choose the same socket.
        for index in range(num_nodes):
            node = start_node(folder, index, mark, address, cpus, object_store_bytes)
            wait_for_node(node, folder / f"node-{index}.log", address)
    except BaseException:
        down(keep_logs=True)
        raise
    return address


def down(*, keep_logs: bool = False) -> int:
    """End the cluster and return how many processes that were; 0 if there was none."""
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
    """Return the folder, made if need be; refuse one that another user has put there."""
    folder = cluster_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if about.st_uid != os.getuid() or folder.is_symlink() or about.st_mode & 0o077:
        raise InputError(
            f"{folder}: it is not this user's alone; remove it or chmod 700 {quote(str(folder))}"
        )
    return folder


def _read_state(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise WorkError(
            f"{path}: unreadable; look for processes with {MARK} in their environment, end them "
            "and remove the folder"
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
    """Start a node, which logs to ``node-INDEX.log`` in the folder.

    Args:
        folder: for Ray's files, too.
        index: 0 for the head.
        mark: by which its processes are known.
        address: the head's.
        cpus: logical ones.
        settings: more for its environment.
        ip: where it listens.
        within: the command that runs it there, as ``ip netns exec NAME``.
    """
    port = address.rpartition(":")[2]
    role = [f"--address={address}"]
    if index == 0:
        role = ["--head", f"--port={port}", "--include-dashboard=false"]
        role += [f"--ray-client-server-port={free_port()}"]
    options = [
        "--block",  # as long as it lives the node does, and with it the node ends
        f"--node-ip-address={ip}",
        f"--num-cpus={cpus}",
        f"--object-store-memory={object_store_bytes}",
        f"--temp-dir={folder / 'ray'}",  # which Ray opens to everybody, but not what it lies in
        f"--dashboard-agent-listen-port={free_port()}",
        "--disable-usage-stats",
    ]
    reach_directly(ip)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {MARK: mark, "RAY_AUTH_MODE": "token", "PYTHONUNBUFFERED": "1", **NO_DASHBOARD}
    environment["RAY_USAGE_STATS_REPORT_URL"] = NOWHERE  # Ray reports even that it shall not
    environment |= settings or {}
    with (folder / f"node-{index}.log").open("wb") as log:
        return subprocess.Popen(
            [*within, *module_command(_RAY), "start", *role, *options],
            cwd=folder,  # Ray starts the server of its client with `python -m`
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C here is not for it
        )


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_node(node: subprocess.Popen[bytes], log: Path, address: str) -> None:
    """Wait until a node has joined.

    Raises:
        WorkError: it ends, or it takes too long.
    """
    said = "Ray runtime started"  # by `ray start`, once the node has joined
    deadline = time.monotonic() + START_TIMEOUT_S
    while said not in (text := log.read_text(errors="replace")):
        if node.poll() is not None:
            last = "".join(text.strip().splitlines()[-1:])
            raise WorkError(f"a node has ended: {last} ({log} says more)")
        if time.monotonic() > deadline:
            raise WorkError(f"{address}: a node has not come up; see {log}")
        time.sleep(POLL_S)


def find_processes(mark: str) -> list[Any]:
    """Return the processes with the cluster's mark in their environment, as psutil has them."""
    import ray  # noqa: F401 (it brings psutil along, and makes it importable)

    psutil: Any = importlib.import_module("psutil")
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
            continue  # it has ended, or is another user's
    return found


def _is_marked(process: Any, mark: str) -> bool:
    raw = Path(f"/proc/{process.pid}/environ")
    if raw.exists():
        # Ray's processes write their titles over the beginning of it, where psutil stops reading.
        return f"{MARK}={mark}".encode() in raw.read_bytes()
    return bool(process.environ().get(MARK) == mark)


def end_processes(mark: str) -> int:
    """End the processes with a mark: asked first, then made to."""
    ended = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_TIMEOUT_S
        asked = set()
        while found := find_processes(mark):
            for process in found:
                ended.add(process.pid)
                if process.pid not in asked:
                    asked.add(process.pid)
                    with contextlib.suppress(Exception):  # it has ended by itself
                        process.send_signal(number)
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
    left = find_processes(mark)
    if left:
        raise WorkError(f"processes {', '.join(str(p.pid) for p in left)} do not end")
    return len(ended)
