"""By which network interface the ranks of a process group reach each other, between CPUs."""

import importlib
import os
from typing import Any

import ray.util
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

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


class InterfaceConfig(TorchConfig):  # type: ignore[misc]
    """Ray Train's way to set a process group up, whose workers choose their interface first."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _Backend


class _Backend(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(choose_interface)
        super().on_start(worker_group, backend_config)
