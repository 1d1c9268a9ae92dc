"""Ask every node of the cluster that Ray is connected to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from raytune_yesno.cluster import probe

ANSWER_TIMEOUT_S = 60.0
"""How long a node may take to start a process and answer: it imports nothing heavy."""


@dataclass(frozen=True)
class Node:
    """A living node: its id, host name and address, and what it has and what of that is free."""

    id: str
    host: str
    address: str
    total: dict[str, float]
    free: dict[str, float]
    is_head: bool

    @property
    def name(self) -> str:
        """What tells it apart from nodes on the same host."""
        return f"{self.host} ({self.id[:8]})"


def list_nodes() -> list[Node]:
    """Return the living nodes, the head first."""
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


def ask_nodes(
    nodes: list[Node], function: Any, *arguments: tuple[Any, ...]
) -> Iterator[tuple[Node, Any]]:
    """Run a function of :mod:`probe` on each node, at the same time; yield what it returned.

    It takes no CPU, so it comes through on a cluster that is full. A node that does not answer
    yields the exception.

    Args:
        arguments: those of the function, one tuple a node; none for a function that takes none.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(probe)  # a node may lack the project
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
