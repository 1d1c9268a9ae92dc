"""Run Ray on the loopback interface alone, where no other machine reaches it.

Ray replaces 127.0.0.1 by the machine's own address wherever it is given, and then listens on all
interfaces. The only way out is meant for other systems: the variable in ``LOOPBACK`` makes the
loopback address the machine's own.

    python -m raytune_yesno.cluster.loopback start ARGUMENT…

is ``ray start`` on 127.0.0.1. With the variable, ``ray start`` refuses a second node.
"""

import contextlib
import os
import socket
from collections.abc import Iterator

from raytune_yesno.cluster.environment import environment

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Environment of a driver that connects to a cluster on the loopback interface."""


@contextlib.contextmanager
def on_loopback(wanted: bool = True) -> Iterator[None]:
    """Put what Ray starts or connects to in this context on the loopback interface.

    Args:
        wanted: False makes the context do nothing.
    """
    if not wanted:
        yield
        return
    from raytune_yesno.cluster.ray_private import ray_constants

    enabled = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # for this process, which has already read it
    try:
        with environment(LOOPBACK):  # for child processes
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled


def is_on_loopback(address: str) -> bool:
    """Return whether a server listens on the loopback interface only.

    Args:
        address: ``HOST:PORT`` of the server.
    """
    from raytune_yesno.cluster.ray_private import services

    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        socket.create_connection((services.get_node_ip_address(), int(port)), timeout=10).close()
    except OSError:
        return True
    return False


def main() -> None:
    """Run Ray's command line, with 127.0.0.1 taken literally."""
    from ray.scripts import scripts

    from raytune_yesno.cluster.ray_private import services

    services.resolve_ip_for_localhost = lambda host: host
    # For what Ray starts: the agent that runs jobs resolves the address again. This process has
    # read the variable already, and accepts a second node.
    os.environ |= LOOPBACK
    scripts.main()


if __name__ == "__main__":
    main()
