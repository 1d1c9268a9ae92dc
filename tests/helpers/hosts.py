"""Machines for tests: each with its own network, processes, mounts, home, /tmp and sshd.

All of them live in one outer set of namespaces, whose first process ends with the test's: the
kernel then ends every process inside and takes down every network, even when the tests are killed.
There is no route out of it, and nothing of it is seen outside.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("unshare", "nsenter", "ip", "sshd", "ssh", "ssh-keygen", "rsync")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYSTEM = {"PATH": _PATH, "LANG": "C.UTF-8"}
_PR_SET_PDEATHSIG = 1

_OUTER = """\
set -eu
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
echo ready
exec sleep infinity
"""

_HOST = """\
set -eu
hostname {name}
ip link set lo up
{binds}
mount --rbind {folder}/root /root
mount --rbind {folder}/tmp /tmp
mount -t tmpfs -o size=2g tmpfs /dev/shm
mount --bind {etc}/hosts /etc/hosts
mount --bind {etc}/resolv.conf /etc/resolv.conf
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
cd /
/usr/sbin/sshd -D -e -f {folder}/sshd_config &
echo ready
wait $!
"""

_SSHD = """\
ListenAddress 0.0.0.0
HostKey {folder}/host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
PidFile none
AuthorizedKeysFile /root/.ssh/authorized_keys
Subsystem sftp internal-sftp
"""


def skip_without_namespaces() -> None:
    """Skip the test, with the reason, where such machines cannot be had."""
    missing = [name for name in NEEDED if not shutil.which(name, path=_PATH)]
    if missing:
        pytest.skip(f"no hosts can be made here: {', '.join(missing)} missing")
    if os.geteuid() != 0:
        pytest.skip("no hosts can be made here: sshd for several users takes root")
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--fork", "ip", "link", "set", "lo", "up"],
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        pytest.skip(f"no hosts can be made here: {tried.stderr.strip()}")


class Hosts:
    """Machines that see each other and nothing else; `work` is a folder that they share."""

    def __init__(self, work: Path, addresses: Mapping[str, str], later: Sequence[str] = ()) -> None:
        self.work, self.addresses, self.later = work, dict(addresses), later
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.pids: dict[str, int] = {}

    def start(self) -> None:
        """Start the outer namespaces, then every machine."""
        etc = self.work / "etc"
        etc.mkdir()
        names = [f"{address} {name}" for name, address in self.addresses.items()]
        # Without names, Ray waits half a minute for a DNS that cannot answer.
        (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
        (etc / "resolv.conf").write_text("")
        _make_key(self.work / "key")
        unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._begin("outer", unshare, _OUTER)
        for name in self.addresses:
            if name not in self.later:
                self.boot(name)

    def boot(self, name: str) -> None:
        """Start a machine; one that was killed finds its disk as it was."""
        folder = self.work / "hosts" / name
        binds = self._prepare(folder)
        enter = ["nsenter", "-t", str(self.pids["outer"]), "--net", "--mount", "--pid", "--"]
        unshare = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork"]
        script = _HOST.format(name=name, folder=folder, etc=self.work / "etc", binds=binds)
        self._begin(name, [*enter, *unshare, "--mount-proc", "--kill-child"], script)
        self._connect(name, self.addresses[name])

    def _connect(self, name: str, address: str) -> None:
        """Give a machine its network card."""
        card = f"v-{name}"
        # Seen from the outer namespaces, the machine's first process has another number.
        status = Path(f"/proc/{self.pids[name]}/status").read_text()
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
        # The same hardware address after a restart: the others remember it for a minute.
        hardware = "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))
        peer = ["peer", "name", "eth0", "address", hardware, "netns", numbers[2]]
        self.outer("ip", "link", "add", card, "type", "veth", *peer)
        self.outer("ip", "link", "set", card, "master", "br0", "up")
        self.check(name, "ip", "addr", "add", f"{address}/16", "dev", "eth0")
        self.check(name, "ip", "link", "set", "eth0", "up")
        self.check(name, "ip", "route", "add", "default", "via", _gateway(address), "dev", "eth0")

    def kill(self, name: str) -> None:
        """Let a machine lose its power: every process there ends at once."""
        os.kill(self.pids.pop(name), signal.SIGKILL)
        self.processes.pop(name).wait()

    def stop(self) -> None:
        """End every machine, and all that runs on them."""
        if "outer" in self.pids:
            os.kill(self.pids.pop("outer"), signal.SIGKILL)
        for process in self.processes.values():
            process.kill()
            process.communicate()

    def command(self, name: str, *words: str) -> list[str]:
        """Return what runs a command on a machine."""
        enter = ["nsenter", "-t", str(self.pids[name]), "--net", "--mount", "--pid", "--uts"]
        return [*enter, "--ipc", "--root", "--wd=/", "--", *words]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command on a machine."""
        return {**_SYSTEM, "HOME": "/root", "USER": "root", "SHELL": "/bin/bash", **more}

    def check(self, name: str, *words: str, **more: str) -> str:
        """Run a command on a machine and return what it printed; fail if it fails."""
        done = subprocess.run(
            self.command(name, *words),
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{name}: {' '.join(words)}: {done.stdout}"
        return done.stdout

    def outer(self, *words: str) -> None:
        enter = ["nsenter", "-t", str(self.pids["outer"]), "--net", "--mount", "--pid", "--"]
        done = subprocess.run([*enter, *words], capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"

    def ray_processes(self, name: str) -> list[str]:
        """Return the command lines of Ray's processes on a machine."""
        listing = self.check(name, "ps", "-eo", "args", "--no-headers").splitlines()
        return [line for line in listing if "/ray/" in line or "ray::" in line]

    def _prepare(self, folder: Path) -> str:
        """Make a machine's folders; return the script that keeps what it needs visible."""
        (folder / "root/.ssh").mkdir(parents=True, exist_ok=True)
        (folder / "tmp").mkdir(exist_ok=True)
        (folder / "tmp").chmod(0o1777)
        for private in (folder / "root", folder / "root/.ssh"):
            private.chmod(0o700)
        _make_key(folder / "host_key")
        shutil.copy(self.work / "key", folder / "root/.ssh/yesno")
        shutil.copy(self.work / "key.pub", folder / "root/.ssh/authorized_keys")
        (folder / "sshd_config").write_text(_SSHD.format(folder=folder))
        if not (folder / "root/raytune-yesno/env").exists():
            _make_environment(folder / "root/raytune-yesno/env")
        lines = []
        for path in sorted({self.work, ROOT, Path(sys.prefix), Path(sys.base_prefix)}):
            for hidden in ("root", "tmp"):
                for place in {path, path.resolve()}:
                    if place.is_relative_to(f"/{hidden}"):
                        target = folder / place.relative_to("/")
                        lines += [f"mkdir -p {target}", f"mount --rbind {place} {target}"]
        return "\n".join(lines)

    def _begin(self, name: str, command: Sequence[str], script: str) -> None:
        """Start a machine's first process and wait until it is ready."""
        process = subprocess.Popen(
            [*command, "bash", "-c", script],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.work / f"{name}.log").open("w"),
            text=True,
            preexec_fn=_end_with_parent,
        )
        self.processes[name] = process
        assert process.stdout
        line = process.stdout.readline()
        assert line == "ready\n", (self.work / f"{name}.log").read_text()
        self.pids[name] = _find_first(process.pid)


def _find_first(pid: int) -> int:
    """Return the innermost descendant: the first process of the new namespaces."""
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children or Path(f"/proc/{pid}/comm").read_text().strip() == "bash":
            return pid
        pid = int(children[0])


def _gateway(address: str) -> str:
    """Return a gateway that is not there: Ray finds a machine's address by its way out."""
    return ".".join([*address.split(".")[:2], "255", "254"])


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _make_key(path: Path) -> None:
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _make_environment(folder: Path) -> None:
    """Make a machine's environment: it has this one's libraries, without the project."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A path in a .pth file is searched, the .pth files there (an editable project's) are not read.
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    ray = folder / "bin/ray"
    home = "/root/raytune-yesno/env/bin/python"
    ray.write_text(f"#!{home}\nfrom ray.scripts.scripts import main\nmain()\n")
    ray.chmod(0o755)


@contextmanager
def run_hosts(
    work: Path, addresses: Mapping[str, str], later: Sequence[str] = ()
) -> Iterator[Hosts]:
    """Run machines, all but those that come later; nothing of them is left afterwards."""
    skip_without_namespaces()
    hosts = Hosts(work, addresses, later)
    try:
        hosts.start()
        yield hosts
    finally:
        hosts.stop()


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float = 240.0, every_s: float = 0.1
) -> None:
    """Look until something is so; fail when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(every_s)
