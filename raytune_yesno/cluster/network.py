"""Choose the network interface that gloo uses between nodes."""

import os

import psutil
import ray.util

INTERFACE_VARIABLE = "GLOO_SOCKET_IFNAME"


def choose_interface() -> None:
    """Set gloo's interface to the one with this node's address in the cluster.

    By default gloo resolves the host name: on Debian that gives the loopback interface, which no
    other node reaches. A value that is already in the environment is kept.
    """
    address = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            os.environ.setdefault(INTERFACE_VARIABLE, name)
