"""The network interface of gloo."""

import importlib
import os
from typing import Any

import pytest
import ray
import ray.util

from raytune_yesno.cluster.network import INTERFACE_VARIABLE, choose_interface

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def test_the_interface_has_the_nodes_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERFACE_VARIABLE, "")  # so that monkeypatch restores it
    monkeypatch.delenv(INTERFACE_VARIABLE)
    psutil: Any = importlib.import_module("psutil")
    choose_interface()
    chosen = os.environ[INTERFACE_VARIABLE]
    held = {entry.address for entry in psutil.net_if_addrs()[chosen]}
    assert ray.util.get_node_ip_address() in held


def test_an_interface_in_the_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERFACE_VARIABLE, "eth7")
    choose_interface()
    assert os.environ[INTERFACE_VARIABLE] == "eth7"
