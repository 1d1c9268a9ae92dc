"""Reach the cluster directly, whatever proxies the environment names.

``http_proxy`` and the like are meant for the internet. A proxy cannot reach a loopback address, and
it can read what it is sent, such as the cluster's token. Ray's own clients obey these variables as
well: its state API (``requests``), and the metrics exporter of every process (gRPC). So the remedy
is in the environment, which they and all processes started from here share: ``no_proxy``.
"""

import os
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from raytune_yesno.errors import InputError

# The last two are the machine's own: where a cloud tells it about itself, which Ray asks for.
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "metadata.google.internal")
_VARIABLES = ("no_proxy", "NO_PROXY")  # programs that read both prefer either
_FOR_GRPC = "no_grpc_proxy"  # where it is set, gRPC ignores the others


def reach_directly(*hosts: str) -> None:
    """Have this process, and those that it starts, use no proxy to this machine and to hosts."""
    known = [entry for name in _VARIABLES for entry in os.environ.get(name, "").split(",")]
    for name in _VARIABLES:
        os.environ[name] = _join([*known, *_THIS_MACHINE, *hosts])
    if entries := os.environ.get(_FOR_GRPC):
        os.environ[_FOR_GRPC] = _join([*entries.split(","), *_THIS_MACHINE, *hosts])


def direct_variables(hosts: Iterable[str]) -> dict[str, str]:
    """Return variables that have a job's processes, on all nodes, use no proxy to hosts.

    Ray replaces ``${NAME}`` by the node's own value.
    """
    value = _join([*(f"${{{name}}}" for name in _VARIABLES), *_THIS_MACHINE, *hosts])
    return dict.fromkeys(_VARIABLES, value)


def find_host(address: str) -> str:
    """Return the host of a URL or of HOST:PORT; the empty string if it names none."""
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:  # brackets that hold no IPv6 address
        return ""


def check_private(address: str) -> None:
    """Check that nobody on the way to a URL can read what is sent there.

    Raises:
        InputError: it is not encrypted, and its host is another machine.
    """
    host = find_host(address)
    if host and not address.lower().startswith("https://") and not _is_this_machine(host):
        raise InputError(
            f"{address}: the cluster's token would travel there unencrypted; open an SSH tunnel "
            f"(ssh -L 8265:127.0.0.1:8265 {host}) and give http://127.0.0.1:8265"
        )


def _is_this_machine(host: str) -> bool:
    """Return whether all addresses of a host are this machine's own."""
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
