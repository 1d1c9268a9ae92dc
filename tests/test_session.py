import os
import socket

import pytest
import ray

from raytune_yesno.errors import InputError
from raytune_yesno.session import ray_session


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a session sets in the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.parametrize("flag", ["num_cpus", "num_gpus"])
def test_a_negative_count_is_refused(flag: str) -> None:
    session = ray_session("local", **{flag: -1})
    with pytest.raises(InputError, match=f"--{flag.replace('_', '-')}: -1 is out of range"):
        session.__enter__()


def test_an_address_where_nothing_listens_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=f"--address {address}: no Ray cluster answers"):
            ray_session(address).__enter__()


@pytest.mark.parametrize("address", ["nonsense", "host:", "127.0.0.1:99999", "[::1]:x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="no Ray cluster answers there"):
        ray_session(address).__enter__()


def test_the_environment_names_the_cluster_where_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")
    with pytest.raises(InputError, match="--address elsewhere"):
        ray_session().__enter__()


@pytest.mark.ray
def test_a_session_has_the_resources_that_were_asked_for(ray_cluster: str) -> None:
    resources = ray.cluster_resources()
    assert (resources["CPU"], resources["GPU"]) == (4, 2)
