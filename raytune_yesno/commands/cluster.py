"""The commands ``cluster up`` and ``cluster down``: a cluster of several nodes on this machine."""

from argparse import Namespace
from typing import Any

from raytune_yesno.cluster import local_cluster
from raytune_yesno.cluster.loopback import LOOPBACK
from raytune_yesno.commands.display import Printer
from raytune_yesno.text import plural


def up(options: Namespace, say: Printer) -> dict[str, Any]:
    """Start the cluster and print the environment variables that its users need."""
    store_bytes = options.object_store_memory
    if store_bytes is None:
        store_bytes = local_cluster.OBJECT_STORE_BYTES
    address = local_cluster.up(options.nodes, options.num_cpus, store_bytes)
    environment = {"RAY_AUTH_MODE": "token", "RAY_ADDRESS": address, **LOOPBACK}
    say(
        f"{plural(options.nodes, 'node')}, address {address}; set these variables to use them:",
    )
    exports = " ".join(f"{name}={value}" for name, value in environment.items())
    say(f"  export {exports}")
    return {"nodes": options.nodes, "address": address, "environment": environment}


def down(options: Namespace, say: Printer) -> dict[str, Any]:
    """End the cluster that ``cluster up`` started; leave other Ray processes running."""
    ended = local_cluster.down()
    say(f"ended {ended} processes" if ended else "no cluster was running")
    return {"ended_processes": ended}
