"""A cluster on this machine, node by node, in a folder of its own."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

from raytune_yesno.cluster.local_cluster import (
    OBJECT_STORE_BYTES,
    end_processes,
    find_processes,
    free_port,
    start_node,
    wait_for_node,
)
from raytune_yesno.cluster.token import ensure_token
from reliability.chaos.network import HEAD, Network

TRIAL = "ray::ResourceTrainable"
"""How Ray names a process of trials."""
_RAYLET, _HEAD = "raylet/raylet", "gcs/gcs_server"


class Cluster:
    """Nodes that a fault may hit.

    Temporary files of its processes, and of this one's children, go to one folder, where those that
    are left over are seen.

    Args:
        num_nodes: the head among them.
        cpus: logical ones of each.
        network: all nodes but the head lie behind it; None where they share the loopback interface.
        settings: more for the environment of its processes.
    """

    def __init__(
        self, num_nodes: int, cpus: int, network: Network | None = None, **settings: str
    ) -> None:
        self.num_nodes, self.cpus, self.network = num_nodes, cpus, network
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))  # short: sockets
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.mark = uuid.uuid4().hex
        self.environment = {"TMPDIR": str(self.temporary)}
        # Ray reads these when it is imported: see Campaign for processes that it forks.
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        ensure_token()
        self.settings = dict(settings)
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.started = 1
        self.address = ""

    def __enter__(self) -> "Cluster":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        end_processes(self.mark)
        for node in self.nodes:
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start a head and its nodes, at a new address."""
        head = HEAD if self.network else "127.0.0.1"
        self.address, self.nodes = f"{head}:{free_port()}", []
        for is_head in [True] + [False] * (self.num_nodes - 1):
            self.join(is_head=is_head)

    def join(self, *, is_head: bool = False) -> None:
        """Start a node and wait until it has joined."""
        index = 0 if is_head else self.started
        ip, within = self.address.rpartition(":")[0], list[str]()
        if self.network and not is_head:
            ip, within = self.network.add(index)
        node = start_node(
            self.folder,
            index,
            self.mark,
            self.address,
            self.cpus,
            OBJECT_STORE_BYTES,
            {**self.environment, **self.settings},
            ip,
            within,
        )
        self.started += 1
        self.nodes.append(node)
        wait_for_node(node, self.folder / f"node-{index}.log", self.address)

    def replace_lost(self) -> None:
        """Start a node for each one that the head has declared dead."""
        for _ in range(self.num_nodes - self.count_alive()):
            self.join()

    def count_alive(self) -> int:
        """Return how many nodes are alive according to the head."""
        # Not before the token is set: see __init__.
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.core.generated.gcs_pb2 import GcsNodeInfo

        client = GcsClient(address=self.address)
        nodes = client.get_all_node_info(timeout=30).values()
        return sum(node.state == GcsNodeInfo.ALIVE for node in nodes)

    def stop(self) -> None:
        """End the cluster; :meth:`start` begins another one."""
        end_processes(self.mark)
        for node in self.nodes:
            node.wait()

    def find(self, *words: str) -> list[Any]:
        """Return the cluster's processes whose command line begins with or holds a word."""
        return [
            process
            for process in find_processes(self.mark)
            if any(word in " ".join(self._command(process)) for word in words)
        ]

    def find_raylets(self) -> list[Any]:
        """Return the nodes' own processes, the head's first."""
        return sorted(
            (p for p in self.find(_RAYLET) if "--worker-command" not in self._command(p)[0]),
            key=lambda process: process.create_time(),
        )

    def find_head(self) -> Any:
        """Return the process that keeps the cluster's state."""
        (head,) = self.find(_HEAD)
        return head

    def list_temporary(self) -> set[str]:
        """Return what lies in the temporary folder."""
        return {path.name for path in self.temporary.iterdir()}

    @staticmethod
    def _command(process: Any) -> list[str]:
        with contextlib.suppress(Exception):  # it has ended
            return list(process.cmdline())
        return [""]
