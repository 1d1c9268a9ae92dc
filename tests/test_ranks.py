"""Where the ranks of a trial meet."""

import socket

import pytest

from raytune_yesno.ranks import open_store


def test_the_store_is_reached_at_the_nodes_address_alone() -> None:
    store = open_store("127.0.0.1", world_size=2)
    with socket.create_connection(("127.0.0.1", store.port), timeout=5):
        pass
    # Any other address of the machine; what listens on all of them would answer here as well.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", store.port), timeout=5)
