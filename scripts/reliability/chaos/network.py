"""A network of this campaign that can be cut (Linux, as root).

The campaign moves into network and mount namespaces of its own, where nothing else is seen or hurt,
and which end with its last process. A node lives in another network namespace behind a bridge.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from reliability.chaos.disk import run_or_fail

NEEDED = ("unshare", "ip")
HEAD = "10.77.0.1"
_NAMES = Path("/run/netns")  # where `ip netns` keeps them
_MOVED = "RAYTUNE_YESNO_CHAOS"  # set where this process is in such namespaces


def why_not() -> str | None:
    """Return why it cannot be made here, or None."""
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        return f"{', '.join(missing)} missing"
    if os.geteuid() != 0:
        return "network namespaces take root"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False
    )
    return tried.stderr.strip() if tried.returncode else None


def move_into_namespaces() -> None:
    """Run this program again in its own namespaces, if the system allows it."""
    if why_not() is None and not os.environ.get(_MOVED):
        os.environ[_MOVED] = "1"
        command = ["unshare", "--net", "--mount", sys.executable, *sys.argv]
        os.execvp(command[0], command)


class Network:
    """A bridge at ``HEAD``, and behind it one network namespace per node."""

    def __init__(self) -> None:
        self.cards: list[str] = []
        # So that disks which are mounted later are seen by the nodes: each gets mounts of its own.
        run_or_fail("mount", "--make-rshared", "/")
        _NAMES.mkdir(exist_ok=True)
        run_or_fail("mount", "-t", "tmpfs", "tmpfs", str(_NAMES))  # in this mount namespace alone
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "br0", "type", "bridge")
        _ip("addr", "add", f"{HEAD}/24", "dev", "br0")
        _ip("link", "set", "br0", "up")

    def add(self, index: int) -> tuple[str, list[str]]:
        """Make the namespace of a node; return its address and the command that runs one there."""
        name, card, ip = f"node-{index}", f"v-{index}", f"10.77.0.{index + 1}"
        _ip("netns", "add", name)
        _ip("link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", card, "master", "br0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{ip}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        self.cards.append(card)
        return ip, ["ip", "netns", "exec", name]

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Cut the nodes off from the head and from each other."""
        for card in self.cards:  # were it the bridge, the head would not even reach itself
            _ip("link", "set", card, "down")
        try:
            yield
        finally:
            for card in self.cards:
                _ip("link", "set", card, "up")


def _ip(*words: str) -> None:
    run_or_fail("ip", *words)
