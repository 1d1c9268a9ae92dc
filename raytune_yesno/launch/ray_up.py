"""Ray's own cluster launcher, run as child processes, and the tunnel to the dashboard."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from raytune_yesno.cluster.proxies import reach_directly
from raytune_yesno.cluster.token import auth_headers
from raytune_yesno.errors import WorkError
from raytune_yesno.import_path import module_command

DASHBOARD = 8265
POLL_S = 0.5


class HeadUnreachableError(WorkError):
    """The dashboard does not answer: the connection broke, or the head is gone."""


class RayLauncher:
    """Ray's commands ``up``, ``down``, ``exec`` and so on, for one definition.

    Args:
        definition: the YAML file.
        log: the file for the output of the commands.
        provider: the type of the definition's provider.
    """

    def __init__(self, definition: Path, log: Path, *, provider: str) -> None:
        self.definition, self.log = definition, log
        # Version 2 of the autoscaler never starts a worker of the provider ``local``.
        version = "0" if provider == "local" else "1"
        reach_directly()
        self.environment: Mapping[str, str] = {
            **os.environ,
            "RAY_UP_enable_autoscaler_v2": version,
            "RAY_enable_autoscaler_v2": version,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
        }

    def up(self) -> None:
        """Start the head, which starts the workers; update nodes that already run."""
        # The cache may list nodes and groups that no longer exist.
        self._run("up", "--yes", "--no-config-cache", str(self.definition))

    def down(self) -> None:
        """End the nodes; with provider ``local``, end Ray on the head."""
        self._run("down", "--yes", str(self.definition))

    def exec(self, command: str) -> str:
        """Run a shell command on the head; return its output."""
        return self._run("exec", str(self.definition), command)

    def fetch(self, remote: str, local: Path) -> None:
        """Copy the content of a folder on the head into a folder on this machine."""
        local.mkdir(parents=True, exist_ok=True)
        self._run("rsync-down", str(self.definition), f"{remote}/", f"{local}/")

    def _run(self, command: str, *arguments: str) -> str:
        with self.log.open("a+", encoding="utf-8", errors="replace") as log:
            log.write(f"$ ray {command} {' '.join(arguments)}\n")
            log.flush()
            began = log.tell()
            # A file, not a pipe: SSH's shared connection outlives the command and would keep the
            # pipe open, so reading it would not end.
            done = subprocess.run(
                [*_RAY, command, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
            log.seek(began)
            output = log.read()
        if done.returncode:
            raise WorkError(f"`ray {command}` failed: {_cause(output)} (log: {self.log})")
        return output

    @contextlib.contextmanager
    def tunnel(self, timeout_s: float = 60) -> Iterator[str]:
        """Open a tunnel to the dashboard on the head.

        Args:
            timeout_s: seconds to wait for an answer.

        Yields:
            The dashboard's URL on this machine.

        Raises:
            HeadUnreachableError: the dashboard did not answer in time.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [*_RAY, "dashboard", "--no-config-cache", "--port", str(port)]
        words += ["--remote-port", str(DASHBOARD), str(self.definition)]
        with self.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                words,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # only this process handles Ctrl-C
            )
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + timeout_s
            while not is_dashboard_up(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise HeadUnreachableError(
                        f"the head's dashboard does not answer; see {self.log}"
                    )
                time.sleep(POLL_S)
            yield address
        finally:
            # End the whole group: SSH, which holds the tunnel, would outlive Ray's command.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_RAY = tuple(module_command("ray.scripts.scripts"))


def is_dashboard_up(address: str) -> bool:
    """Return whether a dashboard answers at a URL."""
    import requests

    headers = auth_headers(address)
    try:
        reply = requests.get(f"{address}/api/version", headers=headers, timeout=5)
    except requests.RequestException:
        return False
    return bool(reply.ok)


def list_node_addresses(address: str) -> list[str]:
    """Return the addresses of the nodes that are alive, according to the dashboard."""
    import requests

    headers = auth_headers(address)
    try:
        reply = requests.get(f"{address}/api/v0/nodes?limit=1000", headers=headers, timeout=20)
        nodes = reply.json()["data"]["result"]["result"]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return []
    return sorted(node["node_ip"] for node in nodes if node["state"] == "ALIVE")


def _cause(output: str) -> str:
    """Return the most informative line of the launcher's output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line or "!!!" in line or "denied" in line]
    return (telling or lines or ["no reason given"])[-1].strip("! ")[:200]
