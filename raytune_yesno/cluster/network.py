"""By which network interface the ranks of a process group reach each other, between CPUs."""

import importlib
import os
from typing import Any

import ray.util

VARIABLE = "GLOO_SOCKET_IFNAME"


def choose_interface() -> None:
    """Have gloo take the interface of the address that this node has in the cluster.

    Left alone it takes the one that the host's name leads to: on Debian the loopback interface,
    which no other node reaches. What the environment names already, stays.
    """
    psutil: Any = importlib.import_module("psutil")  # Ray brings it along
    address = ray.util.get_node_ip_address()
    for name, held in psutil.net_if_addrs().items():
        if any(one.address == address for one in held):
            os.environ.setdefault(VARIABLE, name)
