"""The README's cluster by hand: two nodes on this machine, started and stopped by its commands.

They live in namespaces of their own (processes, network, mounts), for `ray stop` ends every Ray
process that it can see. When the first process there ends, the kernel ends all the others.
"""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from readme import read_blocks

from raytune_yesno.study import Study, load

pytestmark = pytest.mark.cluster

TIMEOUT_S = 400
SMALL = "--data synthetic:10 --trials 6 --epochs 3 --set channels=4,8 --set hidden_units=16"
MARK = "RAYTUNE_YESNO_TEST"  # in the environment of all that is started there
LOOPBACK_UP = """\
import fcntl, socket, struct
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
"""
# The shell stays as process 1: it reaps the others, which `ray stop` waits for.
PROLOGUE = f"set -eu\n{sys.executable} -c '{LOOPBACK_UP}'\n"
LIST_PROCESSES = "for process in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$process; echo; done"


@functools.cache
def namespaces() -> tuple[str, ...]:
    """Return the command that runs another in new namespaces; skip the test where none does."""
    base = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--net")
    complaint = "there is no unshare"
    for command in (base, (*base, "--map-root-user")) if shutil.which("unshare") else ():
        trial = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if trial.returncode == 0:
            return command
        complaint = trial.stderr.strip()
    pytest.skip(f"no namespaces are to be had here: {complaint}")


def run_apart(
    script: str, environment: dict[str, str], timeout_s: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a script in namespaces of its own; nothing of it is left when this returns or raises."""
    process = subprocess.Popen(
        [*namespaces(), "bash", "-c", PROLOGUE + script],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        log, _ = process.communicate(timeout=timeout_s)
    except BaseException:
        # With the first process there all others end, and unshare ends after them.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for number in children.split() or [process.pid]:
            os.kill(int(number), signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, log)


def find_marked(mark: str) -> list[str]:
    """Return the command lines of the processes that have a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def build_script(out: Path) -> str:
    """Return the README's commands, made small and complete, and what is looked at between them."""
    (text,) = (block.text for block in read_blocks() if block.section == "On a cluster")
    small_node = "--num-cpus=1 --object-store-memory=100000000"
    lines = []
    for line in text.splitlines():
        command = line.split(" #")[0].strip()
        if command.startswith("ray start --head"):
            command += f" {small_node} --include-dashboard=false"
        elif command.startswith("ray start --address=HEAD:"):
            command = f"{command.replace('HEAD', '127.0.0.1')} {small_node}"
        elif command.startswith("raytune-yesno tune"):
            command = command.replace("/shared/", f"{out}/")
            lines += [f"{LIST_PROCESSES} >{out}/before", f"{command} {SMALL} --json >{out}/result"]
            continue
        lines.append(command)
    lines.append(f"{LIST_PROCESSES} >{out}/after")
    for name, address in (("auto", "auto"), ("port", "127.0.0.1:6379")):
        lines += [
            f"raytune-yesno tune --address {address} {SMALL} --out {out}/none 2>{out}/{name} "
            f"&& echo 0 >{out}/{name}_exit || echo $? >{out}/{name}_exit"
        ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Visit:
    """What was seen of the cluster while it stood and after."""

    out: Path
    log: str
    survivors: list[str]

    def read(self, name: str) -> str:
        return (self.out / name).read_text()

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.read("result").splitlines()[-1])

    @property
    def study(self) -> Study:
        return load(self.out / "studies/first")


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Give Ray a home of its own, for its token, and a folder whose name is short, for sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        yield {
            "HOME": folder,
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            MARK: folder,
        }


@pytest.fixture(scope="module")
def visit(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Visit:
    out = tmp_path_factory.mktemp("shared")
    script = "unset RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN\n" + build_script(out)
    done = run_apart(script, environment)
    assert done.returncode == 0, done.stdout
    return Visit(out, done.stdout, find_marked(environment[MARK]))


def test_two_nodes_stood(visit: Visit) -> None:
    processes = visit.read("before").splitlines()
    assert sum("/raylet --" in process for process in processes) == 2
    assert sum("/gcs_server --" in process for process in processes) == 1


def test_trials_ran_on_both_nodes(visit: Visit) -> None:
    study = visit.study
    assert study.asked["slots"] == 2
    assert len(study.trial_list) == visit.result["trials"] == 6
    assert {trial.status for trial in study.trial_list} <= {"done", "stopped"}
    nodes = study.epochs.groupby("node")["trial"].nunique()
    assert len(nodes) == 2
    assert study.epochs.groupby("pid")["node"].nunique().eq(1).all()
    assert study.epochs["host"].nunique() == 1  # it takes the node to tell them apart
    assert study.refit
    assert visit.result["errors"] == 0


def test_ray_stop_ends_all_of_it(visit: Visit) -> None:
    assert "ray" in visit.read("before")
    left = [line for line in visit.read("after").splitlines() if "/ray/" in line or "ray::" in line]
    assert left == []


@pytest.mark.parametrize(("name", "address"), [("auto", "auto"), ("port", "127.0.0.1:6379")])
def test_an_address_with_nobody_there_is_one_line_and_exit_2(
    visit: Visit, name: str, address: str
) -> None:
    assert visit.read(f"{name}_exit") == "2\n"
    (line,) = (line for line in visit.read(name).splitlines() if "network_util" not in line)
    assert line.startswith(f"raytune-yesno: --address {address}: no Ray cluster answers there")
    assert not (visit.out / "none").exists()


def test_nothing_is_left_running(visit: Visit) -> None:
    assert visit.survivors == []


def test_nothing_is_left_running_of_what_does_not_end(environment: dict[str, str]) -> None:
    mark = environment[MARK]
    script = "setsid sleep 1000 & sleep 1000"
    with pytest.raises(subprocess.TimeoutExpired):
        run_apart(script, environment, timeout_s=1)
    assert find_marked(mark) == []
