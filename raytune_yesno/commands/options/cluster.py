"""The options of ``cluster``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command, add_group, integer


def add_cluster(commands: Any) -> None:
    """Add the command ``cluster``."""
    cluster = add_group(
        commands, "cluster", "start or end a cluster of several nodes on this machine"
    )
    actions = cluster.add_subparsers(metavar="ACTION", required=True)
    up = add_command(actions, "up", "cluster.up", "start the cluster")
    up.add_argument("nodes", type=integer, metavar="N", help="number of nodes, head included")
    up.add_argument("--num-cpus", type=integer, metavar="N", help="logical CPUs of each node")
    up.add_argument(
        "--object-store-memory",
        type=integer,
        metavar="BYTES",
        help="object store of each node [200000000]",
    )
    add_command(actions, "down", "cluster.down", "end this cluster, and no other Ray")
