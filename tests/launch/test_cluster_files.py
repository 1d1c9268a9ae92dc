"""The definitions in cluster/ pass, filled in, Ray's validation, KubeRay schemas and our rules."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from helpers.pins import PINS
from packaging.requirements import Requirement

from raytune_yesno.launch.definition_rules import check_definition
from raytune_yesno.launch.versions import PYTHON, ray_version
from raytune_yesno.tuning.plan_checks import check_plan

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster"
CLOUDS = ("gcp", "azure")


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run at the root: file mounts are relative to the working directory."""
    monkeypatch.chdir(ROOT)


def fill_in(name: str, folder: Path) -> Path:
    """Write a definition with its EDIT marks replaced."""
    text = (FOLDER / name).read_text()
    path = folder / name
    path.write_text(re.sub(r"EDIT-([a-z]+)", r"my-\1", text))
    return path


@pytest.mark.parametrize("name", ["gcp.yaml", "azure.yaml", "kubernetes.yaml"])
def test_a_filled_in_definition_has_no_problems(name: str, tmp_path: Path) -> None:
    assert check_definition(fill_in(name, tmp_path)) == []


@pytest.mark.parametrize("name", ["gcp.yaml", "azure.yaml", "kubernetes.yaml"])
def test_the_original_definition_lacks_only_the_marks(name: str) -> None:
    problems = check_definition(FOLDER / name)
    assert problems
    assert all("EDIT" in problem for problem in problems)


@pytest.mark.parametrize("name", ["gcp.yaml", "azure.yaml", "kubernetes.yaml"])
def test_every_mark_is_explained(name: str) -> None:
    lines = (FOLDER / name).read_text().splitlines()
    for number, line in enumerate(lines):
        if "EDIT-" in line.split("#")[0]:
            nearby = lines[max(0, number - 25) : number + 1]
            assert any(re.search(r"# EDIT:", other) for other in nearby), line


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_are_spot_and_on_demand_and_the_head_is_not(name: str) -> None:
    definition = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    types = definition["available_node_types"]
    assert set(types) == {"head", "cpu", "gpu"}
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["gpu"]["resources"]["GPU"] == 1
    for worker in ("cpu", "gpu"):
        assert types[worker]["min_workers"] == 0
        settings = str(types[worker]["node_config"])
        assert re.search("SPOT|Spot", settings)
    assert not re.search("SPOT|Spot", str(types["head"]["node_config"]))


@pytest.mark.parametrize("name", ["onprem", "aws", *CLOUDS])
def test_ports_without_a_token_stay_closed(name: str) -> None:
    definition = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    head, worker = (definition[f"{kind}_start_ray_commands"][-1] for kind in ("head", "worker"))
    for start in (head, worker):
        assert re.search(r"export .*RAY_AUTH_MODE=token.* RAY_enable_metrics_collection=0", start)
    assert "AUTOSCALER_METRIC_PORT=65536 DASHBOARD_METRIC_PORT=65536;" in head


def test_constraints_match_the_requirements() -> None:
    assert PINS["ray"] == ray_version()
    assert f"Python {PYTHON}" in (FOLDER / "constraints.txt").read_text()
    pyproject = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", pyproject, flags=re.M | re.S)
    assert listed
    for text in re.findall(r'"([^"]+)"', listed[1]):
        requirement = Requirement(text)
        assert requirement.specifier.contains(PINS[requirement.name]), text


def test_constraints_include_the_dashboard_and_clouds() -> None:
    assert {"aiohttp", "opencensus", "boto3", "google-api-python-client"} <= set(PINS)


# Kubernetes


def find_schemas() -> Path:
    """Return the folder of KubeRay's schemas; skip the test if there is none."""
    folder = os.environ.get("KUBERAY_CRDS") or ROOT.parent / "shared" / "cluster-lab" / "crds"
    if not Path(folder).is_dir():
        pytest.skip("no KubeRay schemas: set KUBERAY_CRDS to the folder of its CRDs")
    return Path(folder)


def make_strict(schema: Any) -> Any:
    """Return a schema that rejects unknown fields, like ``kubectl --validate=strict``."""
    if isinstance(schema, list):
        return [make_strict(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    strict = {
        # A property may have the name of a keyword.
        key: {name: make_strict(inner) for name, inner in value.items()}
        if key == "properties"
        else make_strict(value)
        for key, value in schema.items()
    }
    if strict.pop("x-kubernetes-int-or-string", False):
        strict.pop("type", None)
        strict["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if strict.get("nullable") and isinstance(strict.get("type"), str):
        strict["type"] = [strict["type"], "null"]
    if "properties" in strict and not strict.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


@pytest.fixture(scope="module")
def job_schema() -> jsonschema.Draft4Validator:
    text = (find_schemas() / "ray.io_rayjobs.yaml").read_text()
    (crd,) = (item for item in yaml.load_all(text, yaml.CSafeLoader) if item)
    (schema,) = (
        version["schema"]["openAPIV3Schema"]
        for version in crd["spec"]["versions"]
        if version["name"] == "v1"
    )
    strict = make_strict(schema)
    strict["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft4Validator(strict)


def read_manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def find_errors(schema: jsonschema.Draft4Validator, job: dict[str, Any]) -> list[str]:
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in schema.iter_errors(job)
    ]


def test_the_job_fits_kuberays_schema(job_schema: jsonschema.Draft4Validator) -> None:
    assert find_errors(job_schema, read_manifests()[0]) == []


def cluster(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["rayClusterSpec"]


def head_pod(job: dict[str, Any]) -> dict[str, Any]:
    return cluster(job)["headGroupSpec"]["template"]["spec"]


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["spec"].update(entryPoint="x"),
        lambda job: cluster(job)["workerGroupSpecs"][0].update(replicas="two"),
        lambda job: cluster(job).pop("headGroupSpec"),
        lambda job: head_pod(job)["containers"][0].update(imag="x"),
        lambda job: cluster(job)["authOptions"].update(mode="none"),
    ],
)
def test_the_schema_rejects_errors(
    job_schema: jsonschema.Draft4Validator, change: Callable[[dict[str, Any]], Any]
) -> None:
    job = read_manifests()[0]
    change(job)
    assert find_errors(job_schema, job)


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda job: cluster(job).update(rayVersion="2.9.0"), "rayVersion: '2.9.0' must be"),
    (lambda job: head_pod(job)["containers"][0].update(image="r/y:2.9.0-py311"), "image: its tag"),
    (lambda job: head_pod(job)["containers"][0].update(image="r/y"), "image: its tag"),
    (lambda job: head_pod(job).update(restartPolicy="Always"), "restartPolicy: "),
    (lambda job: head_pod(job).pop("restartPolicy"), "restartPolicy: "),
    (lambda job: head_pod(job).update(hostNetwork=True), "hostNetwork: "),
    (lambda job: head_pod(job)["volumes"].clear(), "volumes: "),
    (
        lambda job: head_pod(job)["containers"][0]["resources"]["requests"].update(cpu="4000m"),
        "requests.cpu: 4000m",
    ),
    (
        lambda job: head_pod(job)["containers"][0]["resources"]["requests"].update(memory="8 GB"),
        "'8 GB'",
    ),
    (
        lambda job: head_pod(job)["containers"][0]["resources"]["limits"].pop("memory"),
        "limits.memory: ",
    ),
    (lambda job: cluster(job)["authOptions"].update(mode="disabled"), "authOptions.mode: "),
    (lambda job: cluster(job).pop("enableInTreeAutoscaling"), "enableInTreeAutoscaling: "),
    (
        lambda job: cluster(job)["headGroupSpec"].update(serviceType="LoadBalancer"),
        "serviceType: ",
    ),
    (
        lambda job: cluster(job)["workerGroupSpecs"][0].update(minReplicas=9),
        "minReplicas ≤ replicas ≤ maxReplicas",
    ),
    (lambda job: job["spec"].pop("shutdownAfterJobFinishes"), "shutdownAfterJobFinishes: "),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_the_rules_find_what_the_schema_cannot_express(
    change: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path
) -> None:
    manifests = read_manifests()
    change(manifests[0])
    path = tmp_path / "kubernetes.yaml"
    path.write_text(yaml.safe_dump_all(manifests).replace("EDIT-", "my-"))
    problems = check_definition(path)
    assert [problem for problem in problems if said in problem], problems


def test_the_slurm_script_is_valid_bash() -> None:
    script = FOLDER / "slurm.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


_SRUN = """\
#!/bin/bash
while [[ $1 == --* ]]; do shift; done
[ "$1" = hostname ] && { echo 10.0.0.1; exit; }
exec "$@"
"""
_UNTIL_STOPPED = """\
#!/bin/bash
trap 'echo {name} stopped; kill $!; exit 143' TERM
sleep 60 >/dev/null &
echo {name} began
wait
"""
_MAKES_TOKEN = '[ "$2" = - ] || { echo x; exit; }\n'


@pytest.mark.parametrize("step", ["python", "raytune-yesno"])
def test_slurms_signal_stops_the_study_before_its_nodes(step: str, tmp_path: Path) -> None:
    """Slurm's commands are played; the script and its signals are real."""
    programs = dict.fromkeys(("ray", "raytune-yesno"), _UNTIL_STOPPED)
    programs |= {"srun": _SRUN, "scontrol": "#!/bin/bash\necho one\n"}
    rest = _UNTIL_STOPPED.removeprefix("#!/bin/bash\n") if step == "python" else ""
    programs["python"] = f"#!/bin/bash\n{_MAKES_TOKEN}{rest}"
    for name, text in programs.items():
        program = tmp_path / "environment/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text.replace("{name}", name))
        program.chmod(0o755)
    variables = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "one", "HOME": str(tmp_path)}
    variables |= {"YESNO_ENVIRONMENT": str(tmp_path / "environment"), "PATH": "/usr/bin:/bin"}
    words = ["bash", str(FOLDER / "slurm.sh"), "tune"]
    events: list[str] = []
    with subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout
        for line in script.stdout:
            events.append(line.strip())
            if sorted(events) == sorted(["ray began", f"{step} began"]):
                script.terminate()
    assert script.returncode == 143
    assert events[2:] == [f"{step} stopped", "ray stopped"]
    assert list((tmp_path / ".ray").iterdir()) == []  # the token


def test_study_yaml_is_a_valid_study() -> None:
    from argparse import Namespace

    from raytune_yesno.cli import build_parser
    from raytune_yesno.commands.settings import build_plan, read_settings

    options: Namespace = build_parser().parse_args(["tune", "--config", "cluster/study.yaml"])
    plan = build_plan(read_settings(options), options)
    check_plan(plan)
    assert plan.ordered


def test_the_readme_names_every_file() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.iterdir():
        if path.suffix in (".yaml", ".sh", ".txt"):
            assert path.name in text, path.name
    assert f"rayproject/ray:{ray_version()}-py{PYTHON.replace('.', '')}" in text
