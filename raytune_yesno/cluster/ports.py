"""Find the ports of this machine that Ray has opened to other machines (Linux)."""

import os
from collections.abc import Iterator
from pathlib import Path

_LISTENING = "0A"
_ANY_ADDRESS = {"00000000", "00000000000000000000000000000000"}


def list_open_ports() -> list[int]:
    """Return the TCP ports on which Ray's processes listen on all interfaces.

    Only root sees the processes of other users.
    """
    open_sockets = dict(_read_listeners())
    if not open_sockets:
        return []
    ports = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if not any(b"/ray/" in word or word.startswith(b"ray::") for word in words):
                continue
            for descriptor in (process / "fd").iterdir():
                inode = os.readlink(descriptor)
                if inode.startswith("socket:["):
                    ports |= {open_sockets[inode[8:-1]]} if inode[8:-1] in open_sockets else set()
        except OSError:
            continue  # ended, or another user's
    return sorted(ports)


def _read_listeners() -> Iterator[tuple[str, int]]:
    """Yield the inode and the port of each socket that listens on all interfaces."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, port = fields[1].split(":")
            if fields[3] == _LISTENING and address in _ANY_ADDRESS:
                yield fields[9], int(port, 16)
