"""The interface that gloo is told to take."""

import importlib
import os
from typing import Any

import pytest
import ray
import ray.util

from raytune_yesno.cluster.network import VARIABLE, choose_interface

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def test_is_the_one_of_the_nodes_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that what is set here goes with the test
    monkeypatch.delenv(VARIABLE)
    psutil: Any = importlib.import_module("psutil")
    choose_interface()
    chosen = os.environ[VARIABLE]
    held = {one.address for one in psutil.net_if_addrs()[chosen]}
    assert ray.util.get_node_ip_address() in held


def test_stays_where_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "eth7")
    choose_interface()
    assert os.environ[VARIABLE] == "eth7"
