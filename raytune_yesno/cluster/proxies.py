"""Reach the cluster directly, regardless of proxies in the environment.

Variables such as ``http_proxy`` are meant for the internet. A proxy cannot reach a loopback
address, and it can read what passes through it, such as the cluster's token. Ray's own clients obey
these variables too: its state API (``requests``), and the metrics exporter of every process (gRPC).
So the exceptions are set in the environment, which this process and all its children share:
``no_proxy``.
"""

import os
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from raytune_yesno.errors import InputError

# The last two are a cloud's metadata service, which Ray asks about the machine.
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "metadata.google.internal")
_VARIABLES = ("no_proxy", "NO_PROXY")  # some programs prefer the one, some the other
_FOR_GRPC = "no_grpc_proxy"  # if set, gRPC ignores the others


def reach_directly(*hosts: str) -> None:
    """Exempt this machine and further hosts from proxies, for this process and its children."""
    known = [entry for name in _VARIABLES for entry in os.environ.get(name, "").split(",")]
    for name in _VARIABLES:
        os.environ[name] = _join([*known, *_THIS_MACHINE, *hosts])
    if entries := os.environ.get(_FOR_GRPC):
        os.environ[_FOR_GRPC] = _join([*entries.split(","), *_THIS_MACHINE, *hosts])


def direct_variables(hosts: Iterable[str]) -> dict[str, str]:
    """Return variables that exempt hosts from proxies for a job's processes on all nodes.

    Ray replaces ``${NAME}`` by the node's own value.
    """
    value = _join([*(f"${{{name}}}" for name in _VARIABLES), *_THIS_MACHINE, *hosts])
    return dict.fromkeys(_VARIABLES, value)


def find_host(address: str) -> str:
    """Return the host of a URL or of ``HOST:PORT``; empty if there is none."""
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:  # brackets without an IPv6 address
        return ""


def check_private(address: str) -> None:
    """Check that nobody on the network path to a URL can read what is sent.

    Raises:
        InputError: the connection is not encrypted and the host is another machine.
    """
    host = find_host(address)
    if host and not address.lower().startswith("https://") and not _is_this_machine(host):
        raise InputError(
            f"{address}: the cluster's token would travel there unencrypted; open an SSH tunnel "
            f"(ssh -L 8265:127.0.0.1:8265 {host}) and give http://127.0.0.1:8265"
        )


def _is_this_machine(host: str) -> bool:
    """Return whether all addresses of a host belong to this machine."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(address)
    except OSError:
        return False
    return True


def _join(entries: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(entry.strip() for entry in entries if entry.strip()))
