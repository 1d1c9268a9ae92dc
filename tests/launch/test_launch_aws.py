"""``raytune-yesno launch cluster/aws.yaml``, against moto; namespaces play the machines.

Ray's own launcher and autoscaler run as they do against Amazon: they ask moto for instances, and
the test boots a host at the address of each instance.
"""

import json
import subprocess
import sys
import time
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

pytest.importorskip("moto", reason="needs the extra dev")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info[:2] != tuple(map(int, PYTHON.split("."))),
        reason=f"a cluster's nodes have Python {PYTHON}",
    ),
]

# moto gives its instances these addresses in order.
MACHINES = {f"node{number}": f"172.31.0.{number}" for number in range(4, 10)}
ADDRESSES = {**MACHINES, "laptop": "172.31.0.250"}
AMAZON = {
    "AWS_ENDPOINT_URL": "http://172.31.0.250:5000",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
MY_ADDRESS = "203.0.113.7/32"

PREPARE = f"""\
import boto3, json
ec2, iam = boto3.client("ec2"), boto3.client("iam")
key = open("/root/.ssh/authorized_keys", "rb").read()
ec2.import_key_pair(KeyName="yesno", PublicKeyMaterial=key)
group = ec2.create_security_group(GroupName="yesno", Description="yesno")["GroupId"]
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
    dict(IpProtocol="tcp", FromPort=22, ToPort=22, IpRanges=[dict(CidrIp="{MY_ADDRESS}")]),
    dict(IpProtocol="-1", UserIdGroupPairs=[dict(GroupId=group)]),
])
trust = dict(Version="2012-10-17", Statement=[dict(
    Effect="Allow", Principal=dict(Service="ec2.amazonaws.com"), Action="sts:AssumeRole")])
iam.create_role(RoleName="yesno-head", AssumeRolePolicyDocument=json.dumps(trust))
iam.put_role_policy(RoleName="yesno-head", PolicyName="yesno-head",
    PolicyDocument=open("{ROOT}/cluster/aws-head-policy.json").read())
iam.create_instance_profile(InstanceProfileName="yesno-head")
iam.add_role_to_instance_profile(InstanceProfileName="yesno-head", RoleName="yesno-head")
print(json.dumps(dict(group=group, image=ec2.describe_images()["Images"][0]["ImageId"])))
"""
LOOK = """\
import boto3, json
ec2, iam = boto3.client("ec2"), boto3.client("iam")
found = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
print(json.dumps(dict(
    machines=found,
    groups=ec2.describe_security_groups()["SecurityGroups"],
    roles=[role["RoleName"] for role in iam.list_roles()["Roles"]],
), default=str))
"""


class Amazon:
    """moto, as seen from the laptop."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts

    def ask(self, script: str) -> dict[str, Any]:
        answer = self.hosts.check("laptop", sys.executable, "-W", "ignore", "-c", script, **AMAZON)
        return json.loads(answer.splitlines()[-1])

    def machines(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the instances that run or have ended, filtered by their attributes."""
        states = [{**m, "state": m["State"]["Name"]} for m in self.ask(LOOK)["machines"]]
        return [m for m in states if all(m[key] == value for key, value in wanted.items())]

    def find_new(self, **wanted: str) -> list[str]:
        """Return the names of running instances without a host."""
        machines = self.machines(state="running", **wanted)
        names = ["node" + machine["PrivateIpAddress"].split(".")[-1] for machine in machines]
        return [name for name in names if name not in self.hosts.pids]

    def boot_new(self, **wanted: str) -> str:
        """Wait for an instance without a host, boot a host at its address, and return its name."""
        new: list[str] = []

        def look() -> bool:
            new.extend(self.find_new(**wanted))
            return bool(new)

        wait_until(look, f"a machine {wanted}", 600, every_s=2)
        self.hosts.boot(new[0])
        return new[0]

    def await_end(self, process: "subprocess.Popen[str]", timeout_s: float = 900) -> str:
        """Wait until a process ends, and return its output.

        An idle worker may end before the refit asks for one, so hosts are booted for new instances.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                output = process.communicate(timeout=2)[0]
                print(output)
                return output
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline
                for name in self.find_new():
                    self.hosts.boot(name)

    def reclaim(self, name: str) -> None:
        """Reclaim a spot instance: kill its host, and terminate it."""
        (machine,) = self.machines(PrivateIpAddress=ADDRESSES[name], state="running")
        self.hosts.kill(name)
        script = (
            "import boto3; boto3.client('ec2').terminate_instances(InstanceIds=[{!r}])\nprint(0)"
        )
        self.ask(script.format(machine["InstanceId"]))


@pytest.fixture
def amazon(tmp_path: Path) -> Iterator[Amazon]:
    settings = "".join(f"export {name}={value}\n" for name, value in AMAZON.items())
    for name in MACHINES:
        home = tmp_path / "hosts" / name / "root"
        home.mkdir(parents=True)
        (home / ".bashrc").write_text(settings)
    with run_hosts(tmp_path, ADDRESSES, later=tuple(MACHINES)) as hosts:
        server = subprocess.Popen(
            hosts.command("laptop", sys.executable, "-m", "moto.server", "-H", "172.31.0.250"),
            env=hosts.environment(MOTO_EC2_LOAD_DEFAULT_AMIS="true"),
            stdin=subprocess.DEVNULL,
            stdout=(tmp_path / "moto.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        try:
            curl = ["curl", "-s", "-m", "2", "172.31.0.250:5000/moto-api/"]
            wait_until(
                lambda: subprocess.run(hosts.command("laptop", *curl), capture_output=True).stdout,
                "an answer of moto",
            )
            yield Amazon(hosts)
        finally:
            server.kill()
            server.wait()


def fill_in(work: Path, image: str, group: str, studies: str = "") -> Path:
    """Write cluster/aws.yaml filled in, with at most one worker and a short idle timeout."""
    import ray

    definition = yaml.safe_load((ROOT / "cluster/aws.yaml").read_text())
    definition.update(max_workers=1, idle_timeout_minutes=0.5)
    definition["metadata"]["studies"] = studies or str(work / "studies")
    definition["provider"].update(
        region="us-east-1", availability_zone="us-east-1a", use_internal_ips=True
    )
    definition["auth"]["ssh_user"] = "root"
    for node_type in definition["available_node_types"].values():
        node_type["node_config"].update(ImageId=image, SecurityGroupIds=[group])
        node_type["max_workers"] = min(1, node_type["max_workers"])
    definition["available_node_types"]["cpu"]["resources"] = {"CPU": 1}
    # Hosts have Python and the shared folder, but no access to the internet.
    definition["setup_commands"] = [
        command
        for command in definition["setup_commands"]
        if "sudo" not in command and ".local/bin/uv" not in command
    ]
    constraints = work / "constraints.txt"
    constraints.write_text(f"ray=={ray.__version__}\n")
    definition["file_mounts"]["~/raytune-yesno/constraints.txt"] = str(constraints)
    definition["head_start_ray_commands"][-1] += " --object-store-memory=100000000"
    definition["worker_start_ray_commands"][-1] += " --num-cpus=1 --object-store-memory=100000000"
    path = work / "aws.yaml"
    path.write_text(yaml.safe_dump(definition))
    return path


def test_a_trial_resumes_after_its_spot_worker_is_reclaimed(amazon: Amazon) -> None:
    hosts, work = amazon.hosts, amazon.hosts.work
    made = amazon.ask(PREPARE)
    laptop = Laptop(hosts, fill_in(work, made["image"], made["group"]), AMAZON)
    study_file = work / "study.yaml"
    study_file.write_text(STUDY.format(trials=2, epochs=900))
    tune = ["tune", "--config", str(study_file)]
    process = laptop.begin("--keep", "--out", str(work / "home"), "--", *tune)

    head = amazon.boot_new(InstanceType="m7i.large")
    first = amazon.boot_new(InstanceType="c7i.xlarge")
    remote = work / "studies/home"

    def events(**wanted: Any) -> list[dict[str, Any]]:
        if not (remote / STORE).exists():
            return []
        found = read_events(remote)[0]
        return [e for e in found if all(e.get(key) == value for key, value in wanted.items())]

    wait_until(lambda: events(event="saved"), "a checkpoint", 600)
    assert {event["host"] for event in events(event="epoch")} == {first}
    amazon.reclaim(first)
    second = amazon.boot_new(InstanceType="c7i.xlarge")
    output = amazon.await_end(process)
    assert process.returncode == 0, output

    study = load(work / "home")
    assert {trial.status for trial in study.trial_list} == {"done"}
    assert study.refit
    resumed = events(event="epoch", attempt=2)
    assert {event["host"] for event in resumed} == {second}
    saved = [e["epoch"] for e in events(event="saved") if e["time"] < resumed[0]["time"]]
    assert resumed[0]["epoch"] == saved[-1] + 1

    def is_idle() -> bool:
        return not amazon.machines(InstanceType="c7i.xlarge", state="running")

    wait_until(is_idle, "the end of the idle worker", every_s=2)
    (running,) = amazon.machines(state="running")
    assert running["InstanceType"] == "m7i.large"
    assert "IamInstanceProfile" in running  # moto forgets it when an instance ends
    for name in set(hosts.pids) & set(ADDRESSES) - {head, "laptop"}:
        hosts.kill(name)
    exit_code, output = laptop.launch("--down")
    assert exit_code == 0, output
    assert "nothing is left" in output
    hosts.kill(head)

    seen = amazon.ask(LOOK)
    assert {machine["State"]["Name"] for machine in seen["machines"]} == {"terminated"}
    for machine in seen["machines"]:
        tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
        assert tags["ray-cluster-name"] == "yesno-aws"
        assert tags["project"] == "raytune-yesno"
        is_head = machine["InstanceType"] == "m7i.large"
        assert machine.get("InstanceLifecycle") == (None if is_head else "spot")
        assert is_head or "IamInstanceProfile" not in machine
        assert [group["GroupId"] for group in machine["SecurityGroups"]] == [made["group"]]
    assert seen["roles"] == ["yesno-head"]  # Ray made none
    open_to = [
        entry["CidrIp"]
        for group in seen["groups"]
        for rule in group["IpPermissions"]
        for entry in rule["IpRanges"]
    ]
    assert open_to == [MY_ADDRESS]
    assert {group["GroupName"] for group in seen["groups"]} == {"default", "yesno"}


def test_study_yaml_in_a_bucket_gives_the_same_study_as_on_one_machine(amazon: Amazon) -> None:
    hosts, work = amazon.hosts, amazon.hosts.work
    made = amazon.ask(PREPARE)
    amazon.ask("import boto3; boto3.client('s3').create_bucket(Bucket='studies')\nprint(0)")
    definition = fill_in(work, made["image"], made["group"], studies="s3://studies/nightly")
    laptop = Laptop(hosts, definition, AMAZON)
    tune = ["--config", str(ROOT / "cluster/study.yaml")]
    process = laptop.begin("--out", str(work / "cloud"), "--", "tune", *tune)
    amazon.boot_new(InstanceType="m7i.large")
    output = amazon.await_end(process)
    assert process.returncode == 0, output
    assert "nothing is left" in output
    assert amazon.machines(state="running") == []
    laptop.tune_here(work / "here", *tune)
    assert_same_outcome(work / "here", work / "cloud")
    assert load(work / "cloud").refit
    assert (work / "cloud/refit/best/state_dict_model.pt").exists()
