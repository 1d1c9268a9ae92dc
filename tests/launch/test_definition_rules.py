"""The rules for the definition of a cluster. No cloud is asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from raytune_yesno.launch.definition_rules import check_definition
from raytune_yesno.launch.versions import PYTHON, ray_version

HEAD = (
    "export RAY_AUTH_MODE=token; ray start --head --port=6379 --disable-usage-stats "
    "--autoscaling-config=~/ray_bootstrap_config.yaml"
)
WORKER = "export RAY_AUTH_MODE=token; ray start --address=$RAY_HEAD_IP:6379"
COMMON: dict[str, Any] = {
    "cluster_name": "small",
    "max_workers": 2,
    "idle_timeout_minutes": 5,
    "auth": {"ssh_user": "ubuntu"},
    "head_node_type": "head",
    "file_mounts": {"~/.ray/auth_token": "~/.ray/auth_token"},
    "setup_commands": [f"pip install ray=={ray_version()}"],
    "head_start_ray_commands": ["ray stop", HEAD],
    "worker_start_ray_commands": ["ray stop", WORKER],
}
_AWS = {"InstanceType": "m5.large", "ImageId": "ami-1", "SecurityGroupIds": ["sg-1"]}
_GCP: dict[str, Any] = {
    "machineType": "n2-standard-4",
    "networkInterfaces": [{"subnetwork": "projects/p/regions/r/subnetworks/s"}],
    "serviceAccounts": [{"email": "a@b", "scopes": ["x"]}],
}
_AZURE = {"azure_arm_parameters": {"vmSize": "Standard_D4s_v5"}}


def definition(kind: str) -> dict[str, Any]:
    """Return a small definition without problems."""
    provider, settings = {
        "aws": ({"region": "us-east-1"}, _AWS),
        "gcp": ({"region": "r", "availability_zone": "r-a", "project_id": "p"}, _GCP),
        "azure": ({"location": "l", "resource_group": "g", "use_internal_ips": True}, _AZURE),
    }[kind]
    types: dict[str, Any] = {
        "head": {"resources": {}, "max_workers": 0, "node_config": settings},
        "worker": {"resources": {}, "max_workers": 2, "node_config": settings},
    }
    whole = {**COMMON, "provider": {"type": kind, **provider}, "available_node_types": types}
    return yaml.safe_load(yaml.safe_dump(whole))  # a deep copy


def local() -> dict[str, Any]:
    """Return an on-premises definition."""
    head = HEAD.replace("ray start", "export RAY_enable_autoscaler_v2=0; ray start")
    whole = {
        **COMMON,
        "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]},
        "head_start_ray_commands": [head],
    }
    for key in ("head_node_type", "setup_commands"):
        del whole[key]
    return yaml.safe_load(yaml.safe_dump(whole))


def check(content: object, folder: Path) -> list[str]:
    path = folder / "cluster.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    problems = check_definition(path)
    assert all(problem.startswith(str(path)) for problem in problems)
    assert not any("\n" in problem for problem in problems)
    return [problem.removeprefix(str(path)) for problem in problems]


@pytest.mark.parametrize("kind", ["aws", "gcp", "azure"])
def test_a_good_definition_has_no_problems(kind: str, tmp_path: Path) -> None:
    assert check(definition(kind), tmp_path) == []


def test_a_good_onprem_definition_has_no_problems(tmp_path: Path) -> None:
    assert check(local(), tmp_path) == []


def node(whole: dict[str, Any], name: str) -> dict[str, Any]:
    return whole["available_node_types"][name]


def settings(whole: dict[str, Any], name: str = "worker") -> dict[str, Any]:
    return node(whole, name)["node_config"]


def rewrite(key: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    """Return a change that replaces part of the commands under a key."""

    def change(whole: dict[str, Any]) -> None:
        assert any(old in command for command in whole[key])
        whole[key] = [command.replace(old, new) for command in whole[key]]

    return change


def open_group(cidr: dict[str, Any]) -> dict[str, Any]:
    rule = {"FromPort": 22, "ToPort": 22, "IpProtocol": "TCP", **cidr}
    return {"GroupName": "g", "IpPermissions": [rule]}


BROKEN: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("aws", lambda d: d.update(bogus=1), "'bogus' was unexpected"),
    ("aws", lambda d: d.update(max_workers="two"), "max_workers: 'two' is not of type 'integer'"),
    ("aws", lambda d: d.update(head_node_type="none"), "`head_node_type` must be one of"),
    ("aws", lambda d: d.pop("provider"), "'provider' is missing"),
    ("aws", lambda d: d["provider"].update(type="openstack"), "openstack"),
    ("aws", lambda d: d["provider"].pop("region"), "provider.region: "),
    ("gcp", lambda d: d["provider"].pop("project_id"), "provider.project_id: "),
    ("azure", lambda d: d["provider"].pop("location"), "provider.location: "),
    ("aws", lambda d: d["provider"].update(region="EDIT"), "region: 'EDIT'"),
    ("aws", lambda d: d.update(cluster_name="EDIT-me"), "cluster_name: 'EDIT-me'"),
    ("aws", lambda d: d.pop("max_workers"), ": max_workers: "),
    ("aws", lambda d: d.pop("idle_timeout_minutes"), "idle_timeout_minutes: "),
    ("aws", lambda d: node(d, "head").pop("max_workers"), "head.max_workers: "),
    ("aws", lambda d: node(d, "worker").update(max_workers=3), "worker.max_workers: 3"),
    (
        "aws",
        lambda d: node(d, "worker").update(min_workers=2, max_workers=1),
        "worker: min_workers 2 is more than max_workers 1",
    ),
    ("aws", lambda d: d.pop("head_start_ray_commands"), "head_start_ray_commands: "),
    (
        "aws",
        rewrite("head_start_ray_commands", "--port", "--dashboard-host=0.0.0.0 --port"),
        "--dashboard-host=0.0.0.0",
    ),
    (
        "aws",
        rewrite("head_start_ray_commands", "--autoscaling-config", "--other"),
        "add --autoscaling-config",
    ),
    (
        "aws",
        rewrite("head_start_ray_commands", "--disable-usage-stats", ""),
        "add --disable-usage-stats",
    ),
    (
        "aws",
        rewrite("worker_start_ray_commands", "RAY_AUTH_MODE=token", "A=b"),
        "worker_start_ray_commands: export RAY_AUTH_MODE=token",
    ),
    ("aws", lambda d: d.update(file_mounts={}), "file_mounts: ~/.ray/auth_token"),
    ("aws", lambda d: d["file_mounts"].update({"~/x": "/none"}), "~/x: /none"),
    ("aws", lambda d: d.update(setup_commands=[]), f"setup_commands: install ray=={ray_version()}"),
    (
        "aws",
        lambda d: d.update(setup_commands=["pip install -U 'ray[default]==2.9.0'"]),
        "setup_commands: ray==2.9.0: ",
    ),
    (
        "aws",
        lambda d: d["setup_commands"].append("uv venv --python 3.9 ~/environment"),
        f"python 3.9: the versions are pinned for {PYTHON}",
    ),
    (
        "aws",
        lambda d: d.update(docker={"image": "rayproject/ray:latest", "container_name": "r"}),
        "image rayproject/ray:latest: ",
    ),
    ("aws", lambda d: settings(d).pop("SecurityGroupIds"), "SSH open to the world"),
    (
        "aws",
        lambda d: d["provider"].update(
            security_group=open_group({"IpRanges": [{"CidrIp": "0.0.0.0/0"}]})
        ),
        "provider.security_group.IpPermissions[0]: ",
    ),
    (
        "aws",
        lambda d: d["provider"].update(
            security_group=open_group({"Ipv6Ranges": [{"CidrIpv6": "::/0"}]})
        ),
        "provider.security_group.IpPermissions[0]: ",
    ),
    ("aws", lambda d: settings(d).update(Bogus=1), "Bogus"),
    ("aws", lambda d: settings(d).update(ImageId=1), "ImageId"),
    (
        "aws",
        lambda d: settings(d, "head").update(InstanceMarketOptions={"MarketType": "spot"}),
        "a spot head",
    ),
    ("gcp", lambda d: settings(d).pop("networkInterfaces"), "networkInterfaces: "),
    ("gcp", lambda d: settings(d).pop("serviceAccounts"), "serviceAccounts: "),
    ("gcp", lambda d: settings(d).update(machinType="x"), "did you mean 'machineType'?"),
    ("gcp", lambda d: settings(d).update(machineType=[]), "machineType: expected string"),
    (
        "gcp",
        lambda d: settings(d, "head").update(scheduling={"provisioningModel": "SPOT"}),
        "a spot head",
    ),
    ("azure", lambda d: d["provider"].pop("use_internal_ips"), "provider.use_internal_ips: "),
    (
        "azure",
        lambda d: d["provider"].update(use_external_head_ip=True),
        "provider.unique_id: ",
    ),
    ("azure", lambda d: d["auth"].update(ssh_private_key="k"), "auth: "),
    (
        "azure",
        lambda d: settings(d)["azure_arm_parameters"].update(vmsize="x"),
        "'vmsize'; did you mean 'vmSize'?",
    ),
    ("azure", lambda d: settings(d).update(vmSize="x"), "unknown field 'vmSize'"),
    (
        "azure",
        lambda d: settings(d, "head")["azure_arm_parameters"].update(priority="Spot"),
        "a spot head",
    ),
]


@pytest.mark.parametrize(("kind", "change", "said"), BROKEN, ids=[case[2] for case in BROKEN])
def test_a_broken_definition_has_a_problem(
    kind: str, change: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path
) -> None:
    broken = definition(kind)
    change(broken)
    problems = check(broken, tmp_path)
    assert [problem for problem in problems if said in problem], problems


def test_an_autoscaler_version_without_workers_is_a_problem(tmp_path: Path) -> None:
    broken = local()
    rewrite("head_start_ray_commands", "RAY_enable_autoscaler_v2=0", "A=b")(broken)
    (problem,) = check(broken, tmp_path)
    assert "export RAY_enable_autoscaler_v2=0" in problem


def test_a_machine_that_is_there_twice_is_a_problem(tmp_path: Path) -> None:
    whole = local()
    path = tmp_path / "cluster.yaml"
    for workers in (["10.0.0.1"], ["10.0.0.2", "10.0.0.2"]):
        whole["provider"]["worker_ips"] = workers
        path.write_text(yaml.safe_dump(whole))
        (problem,) = check_definition(path)
        assert workers[0] in problem


def test_a_wrong_field_of_an_onprem_definition_is_one_line(tmp_path: Path) -> None:
    (problem,) = check({**local(), "available_node_types": {"a": {}}}, tmp_path)
    assert "available_node_types" in problem


@pytest.mark.parametrize("content", ["", "- a list", "a: [", "a: 1\n---\nb: 2", "\0"])
def test_a_file_that_is_not_a_definition_is_one_line(content: str, tmp_path: Path) -> None:
    assert len(check(content, tmp_path)) == 1


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    (problem,) = check_definition(tmp_path / "none.yaml")
    assert "No such file" in problem
