"""List the nodes of the connected cluster, and run functions on each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from raytune_yesno.cluster import probe

ANSWER_TIMEOUT_S = 60.0
"""Seconds for a node to start a process and answer; the process imports nothing heavy."""


@dataclass(frozen=True)
class Node:
    """A node that is alive.

    Attributes:
        id: Ray's id of the node.
        host: its host name.
        address: its IP address in the cluster.
        total: all resources of the node.
        free: the resources that are free.
        is_head: whether it is the head.
    """

    id: str
    host: str
    address: str
    total: dict[str, float]
    free: dict[str, float]
    is_head: bool

    @property
    def name(self) -> str:
        """A name that differs between nodes on the same host."""
        return f"{self.host} ({self.id[:8]})"


def list_nodes() -> list[Node]:
    """Return the nodes that are alive, the head first."""
    import ray

    from raytune_yesno.cluster.ray_private import available_resources_per_node

    free = available_resources_per_node()
    nodes = [
        Node(
            id=entry["NodeID"],
            host=entry["NodeManagerHostname"],
            address=entry["NodeManagerAddress"],
            total=entry["Resources"],
            free=free.get(entry["NodeID"], {}),
            is_head="node:__internal_head__" in entry["Resources"],
        )
        for entry in ray.nodes()
        if entry["Alive"]
    ]
    return sorted(nodes, key=lambda node: (not node.is_head, node.host, node.id))


def find_draining() -> frozenset[str]:
    """Return the ids of the nodes that Ray will take away, such as a spot instance.

    It is empty while no other node is alive: work on the last node has nowhere to move to.
    """
    import ray

    from raytune_yesno.cluster.ray_private import state

    draining = frozenset(state.get_draining_nodes())
    if not draining:
        return draining
    alive = {entry["NodeID"] for entry in ray.nodes() if entry["Alive"]}
    return draining & alive if alive - draining else frozenset()


def ask_nodes(
    nodes: list[Node], function: Any, *arguments: tuple[Any, ...]
) -> Iterator[tuple[Node, Any]]:
    """Run a function of :mod:`probe` on each node at the same time.

    The call needs no CPU, so it also runs on a cluster without free CPUs.

    Args:
        nodes: where to run it.
        function: a function of :mod:`probe`.
        *arguments: the arguments of the call, one tuple per node; none if it takes none.

    Yields:
        Each node and the value that the function returned there, or the exception if the node did
        not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(probe)  # the project may be missing on a node
    remote = ray.remote(num_cpus=0, max_retries=0)(function)
    calls = []
    for index, node in enumerate(nodes):
        pinned = remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, False))
        calls.append(pinned.remote(*(arguments[index] if arguments else ())))
    ray.wait(calls, num_returns=len(calls), timeout=ANSWER_TIMEOUT_S)
    for node, call in zip(nodes, calls, strict=True):
        try:
            yield node, ray.get(call, timeout=0.1)
        except Exception as error:
            ray.cancel(call, force=True)
            yield node, error
