"""``raytune-yesno launch`` on premises: machines with sshd, from the YAML to the results."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.hosts import ROOT, Hosts, run_hosts, wait_until
from helpers.laptop import STUDY, Laptop, assert_same_outcome

from raytune_yesno.launch.versions import PYTHON
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE, read_events

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        sys.version_info[:2] != tuple(map(int, PYTHON.split("."))),
        reason=f"a cluster's nodes have Python {PYTHON}",
    ),
]

ADDRESSES = {"head": "10.77.0.1", "worker": "10.77.0.2", "laptop": "10.77.0.9"}


def fill_in(work: Path, **changes: Any) -> Path:
    """Write cluster/onprem.yaml with the hosts' addresses and one slot per host."""
    definition = yaml.safe_load((ROOT / "cluster/onprem.yaml").read_text())
    definition["metadata"]["studies"] = str(work / "studies")
    definition["provider"].update(head_ip="10.77.0.1", worker_ips=["10.77.0.2"])
    definition["auth"]["ssh_user"] = "root"
    # The installed versions may differ from the pins; with these pip downloads nothing.
    import ray

    constraints = work / "constraints.txt"
    constraints.write_text(f"ray=={ray.__version__}\n")
    definition["file_mounts"]["~/raytune-yesno/constraints.txt"] = str(constraints)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        # Every host sees all CPUs of the machine.
        definition[key][-1] += " --num-cpus=1 --object-store-memory=100000000"
    definition.update(changes)
    path = work / "onprem.yaml"
    path.write_text(yaml.safe_dump(definition))
    return path


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    work = tmp_path_factory.mktemp("lab")
    with run_hosts(work, ADDRESSES) as hosts:
        yield Laptop(hosts, fill_in(work))


@pytest.fixture
def study_file(laptop: Laptop, request: pytest.FixtureRequest) -> Path:
    trials, epochs = request.param
    path = laptop.hosts.work / "home" / f"study-{trials}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(STUDY.format(trials=trials, epochs=epochs))
    return path


@pytest.mark.parametrize("study_file", [(2, 2)], indirect=True)
def test_from_yaml_to_results(laptop: Laptop, study_file: Path) -> None:
    home = laptop.hosts.work / "home/first"
    # With one slot per host, a trial of two workers spans both.
    tune = ["tune", "--config", str(study_file), "--workers-per-trial", "2", "--json"]
    exit_code, output = laptop.launch("--keep", "--out", str(home), "--", *tune)
    assert exit_code == 0, output
    result = json.loads([line for line in output.splitlines() if line.startswith("{")][-1])
    assert result["trials"] == 2
    assert result["errors"] == 0
    study = load(home)
    assert {trial.status for trial in study.trial_list} == {"done"}
    assert study.settings["slots"] == 1
    assert study.refit
    assert (home / "refit/best/state_dict_model.pt").exists()
    token = laptop.hosts.check("laptop", "cat", "/root/.ray/auth_token").strip()
    assert token not in output
    check_who_gets_in(laptop.hosts, token)

    tune[tune.index("2")] = "1"
    exit_code, output = laptop.launch("--out", str(home.with_name("second")), "--", *tune)
    assert exit_code == 0, output
    assert load(home.with_name("second")).refit
    assert "nothing is left on 2 nodes" in output
    for name in ADDRESSES:
        assert laptop.hosts.ray_processes(name) == []


def check_who_gets_in(hosts: Hosts, token: str) -> None:
    """Assert that the cluster asks for its token on every host, and that no log shows it."""
    ask = ["-m", "ray.scripts.scripts", "status", "--address", "10.77.0.1:6379"]
    for name in ADDRESSES:
        tried = [
            subprocess.run(
                hosts.command(name, sys.executable, *ask),
                env=hosts.environment(RAY_AUTH_MODE="token", **given),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
            )
            for given in (
                {"RAY_AUTH_TOKEN": token},
                {"RAY_AUTH_TOKEN": "0" * len(token)},
            )
        ]
        assert "Active" in tried[0].stdout, tried[0].stderr
        assert tried[1].returncode != 0
        assert "Active" not in tried[1].stdout
        assert hosts.check(name, "stat", "-c", "%a", "/root/.ray/auth_token").strip() == "600"
        assert token not in hosts.check(name, "ps", "-eo", "args")
        logs = ["bash", "-c", f"grep -rlF {token} /tmp/ray* || true"]
        assert hosts.check(name, *logs) == ""
    dashboard = ["bash", "-c", "curl -s -m 5 http://10.77.0.1:8265 || echo nobody"]
    assert hosts.check("laptop", *dashboard) == "nobody\n"  # it listens on the head's loopback only


def test_check_finds_an_unshared_folder_and_starts_nothing(laptop: Laptop) -> None:
    hosts = laptop.hosts
    definition = yaml.safe_load(laptop.definition.read_text())
    definition["metadata"]["studies"] = "/root/studies"  # not shared
    path = hosts.work / "unshared.yaml"
    path.write_text(yaml.safe_dump(definition))
    exit_code, output = Laptop(hosts, path).launch("--check")
    assert exit_code == 2
    (line,) = output.splitlines()
    assert line.startswith("raytune-yesno: 10.77.0.2: /root/studies")
    for name in ADDRESSES:
        assert hosts.ray_processes(name) == []


@pytest.mark.slow
def test_study_yaml_gives_the_same_study_as_on_one_machine(laptop: Laptop) -> None:
    folder = laptop.hosts.work / "same"
    tune = ["--config", str(ROOT / "cluster/study.yaml")]
    exit_code, output = laptop.launch("--out", str(folder / "hosts"), "--", "tune", *tune)
    assert exit_code == 0, output
    laptop.tune_here(folder / "here", *tune)
    assert_same_outcome(folder / "here", folder / "hosts")
    assert load(folder / "hosts").epochs["host"].nunique() == 2


@pytest.mark.slow
@pytest.mark.parametrize("study_file", [(3, 40)], indirect=True)
def test_a_launch_survives_a_lost_worker_and_a_lost_head(laptop: Laptop, study_file: Path) -> None:
    hosts, home = laptop.hosts, laptop.hosts.work / "home/lost"
    remote = hosts.work / "studies/lost"
    process = laptop.begin("--out", str(home), "--", "tune", "--config", str(study_file))

    def epochs(**wanted: Any) -> list[dict[str, Any]]:
        if not (remote / STORE).exists():
            return []
        events = [event for event in read_events(remote)[0] if event["event"] == "epoch"]
        return [e for e in events if all(e[key] == value for key, value in wanted.items())]

    wait_until(lambda: epochs(host="worker"), "an epoch on the worker", 400)
    hosts.kill("worker")
    wait_until(lambda: epochs(attempt=2, host="head"), "its trial on the head", 400)
    hosts.kill("head")
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 1, output
    assert "--attach" in output.splitlines()[-1]

    for name in ("head", "worker"):
        hosts.boot(name)
    exit_code, output = laptop.launch("--attach")
    assert exit_code == 0, output
    study = load(home)
    assert {trial.status for trial in study.trial_list} == {"done"}
    for trial in study.trial_list:
        assert [epoch["epoch"] for epoch in trial.epochs] == list(range(1, 41))
    assert study.refit
    for name in ADDRESSES:
        assert hosts.ray_processes(name) == []
