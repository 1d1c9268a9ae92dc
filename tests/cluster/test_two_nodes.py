"""The README's manual cluster: two nodes on this machine, started and stopped by its commands.

They run in namespaces of their own, because ``ray stop`` ends every Ray process that it sees.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.apart import MARK, find_marked, own_home, run_apart
from helpers.meeting import write_meeting
from helpers.readme import read_blocks

from raytune_yesno.study import Study, load

pytestmark = pytest.mark.cluster

LIST_PROCESSES = "for process in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$process; echo; done"


def build_script(out: Path) -> str:
    """Return the README's commands, made small and complete, with probes between them."""
    (text,) = (block.text for block in read_blocks() if block.section == "On a cluster")
    small_node = "--num-cpus=1 --object-store-memory=100000000"
    plan = write_meeting(out / "meeting", trials=6)
    lines = []
    for line in text.splitlines():
        command = line.split(" #")[0].strip()
        if command.startswith("ray start --head"):
            command += f" {small_node} --include-dashboard=false"
        elif command.startswith("ray start --address=HEAD:"):
            command = f"{command.replace('HEAD', '127.0.0.1')} {small_node}"
        elif command.startswith("raytune-yesno tune"):
            command = command.replace("/shared/", f"{out}/")
            lines += [f"{LIST_PROCESSES} >{out}/before", f"{command} {plan} --json >{out}/result"]
            continue
        lines.append(command)
    lines.append(f"{LIST_PROCESSES} >{out}/after")
    for name, address in (("auto", "auto"), ("port", "127.0.0.1:6379")):
        lines += [
            f"raytune-yesno tune --address {address} {plan} --out {out}/none 2>{out}/{name} "
            f"&& echo 0 >{out}/{name}_exit || echo $? >{out}/{name}_exit"
        ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Visit:
    """What was observed while the cluster ran and afterwards."""

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
    with own_home() as environment:
        yield environment


@pytest.fixture(scope="module")
def visit(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Visit:
    out = tmp_path_factory.mktemp("shared")
    script = "unset RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN\n" + build_script(out)
    done = run_apart(script, environment)
    assert done.returncode == 0, done.stdout
    return Visit(out, done.stdout, find_marked(environment[MARK]))


def test_two_nodes_ran(visit: Visit) -> None:
    processes = visit.read("before").splitlines()
    assert sum("/raylet --" in process for process in processes) == 2
    assert sum("/gcs_server --" in process for process in processes) == 1


def test_trials_ran_on_both_nodes(visit: Visit) -> None:
    study = visit.study
    assert study.settings["slots"] == 2
    assert len(study.trial_list) == visit.result["trials"] == 6
    assert {trial.status for trial in study.trial_list} == {"done"}
    nodes = study.epochs.groupby("node")["trial"].nunique()
    assert len(nodes) == 2
    assert study.epochs.groupby("pid")["node"].nunique().eq(1).all()
    assert study.epochs["host"].nunique() == 1  # only the node tells them apart
    assert study.refit
    assert visit.result["errors"] == 0


def test_ray_stop_ends_the_whole_cluster(visit: Visit) -> None:
    assert "ray" in visit.read("before")
    left = [line for line in visit.read("after").splitlines() if "/ray/" in line or "ray::" in line]
    assert left == []


@pytest.mark.parametrize(("name", "address"), [("auto", "auto"), ("port", "127.0.0.1:6379")])
def test_an_address_without_a_cluster_is_one_line_and_exit_2(
    visit: Visit, name: str, address: str
) -> None:
    assert visit.read(f"{name}_exit") == "2\n"
    (line,) = (line for line in visit.read(name).splitlines() if "network_util" not in line)
    assert line.startswith(f"raytune-yesno: address {address}: ")
    assert not (visit.out / "none").exists()


def test_nothing_is_left_running(visit: Visit) -> None:
    assert visit.survivors == []


def test_a_timeout_ends_all_processes(environment: dict[str, str]) -> None:
    mark = environment[MARK]
    script = "setsid sleep 1000 & sleep 1000"
    with pytest.raises(subprocess.TimeoutExpired):
        run_apart(script, environment, timeout_s=1)
    assert find_marked(mark) == []
