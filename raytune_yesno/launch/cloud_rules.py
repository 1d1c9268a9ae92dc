"""Rules of each cloud: who may reach a node, and the names of its settings."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from raytune_yesno.errors import suggest_install, suggest_name
from raytune_yesno.launch.definition import Definition

WORLD = frozenset({"0.0.0.0/0", "::/0", "*", "Internet", "any"})
"""Address ranges that mean everybody, as each cloud writes them."""

_NO_SPOT_HEAD = "leave it out; the study ends if a spot head is reclaimed"


def check_aws(definition: Definition) -> Iterator[str]:
    """Yield the problems of a definition for AWS."""
    group = definition.provider.get("security_group") or {}
    for index, rule in enumerate(group.get("IpPermissions") or []):
        ranges = [
            item.get(key)
            for name, key in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"))
            for item in rule.get(name) or []
        ]
        if WORLD.intersection(ranges):
            key = f"provider.security_group.IpPermissions[{index}]"
            yield f"{key}: it is open to the whole world; give your own address"
    for name, node_type in definition.node_types.items():
        key = f"available_node_types.{name}.node_config"
        settings = node_type.get("node_config") or {}
        interfaces = settings.get("NetworkInterfaces") or []
        if "SecurityGroupIds" not in settings and not all(
            "Groups" in interface for interface in interfaces or [{}]
        ):
            yield f"{key}.SecurityGroupIds: missing; Ray would make one with SSH open to the world"
        if name == definition.head_type and "InstanceMarketOptions" in settings:
            yield f"{key}.InstanceMarketOptions: {_NO_SPOT_HEAD}"
    yield from _check_fields_aws(definition)


def _check_fields_aws(definition: Definition) -> Iterator[str]:
    try:
        from botocore.validate import ParamValidator
    except ImportError:
        yield f"provider aws: boto3 is missing; {suggest_install('aws')}"
        return
    shape = _load_run_instances()
    for name, node_type in definition.node_types.items():
        settings = dict(node_type.get("node_config") or {}, MinCount=1, MaxCount=1)
        report = ParamValidator().validate(settings, shape)
        for line in report.generate_report().splitlines():
            yield f"available_node_types.{name}.node_config: {line.split(', must be one of')[0]}"


@cache
def _load_run_instances() -> Any:
    """Return the parameters of EC2's RunInstances; botocore takes 0.2 s to read them."""
    import botocore.session

    service = botocore.session.get_session().get_service_model("ec2")
    return service.operation_model("RunInstances").input_shape


def check_gcp(definition: Definition) -> Iterator[str]:
    """Yield the problems of a definition for Google Cloud."""
    for name, node_type in definition.node_types.items():
        key = f"available_node_types.{name}.node_config"
        settings = node_type.get("node_config") or {}
        if not settings.get("networkInterfaces"):
            yield (
                f"{key}.networkInterfaces: missing; Ray would take the project's first subnet, and "
                "the default network has SSH open to the world"
            )
        if "serviceAccounts" not in settings:
            yield f"{key}.serviceAccounts: give your own; Ray's account may change every instance"
        spot = settings.get("scheduling")
        if isinstance(spot, Mapping) and name == definition.head_type and _is_spot_gcp(spot):
            yield f"{key}.scheduling: {_NO_SPOT_HEAD}"
    yield from _check_fields_gcp(definition)


def _is_spot_gcp(scheduling: Mapping[str, Any]) -> bool:
    return scheduling.get("provisioningModel") == "SPOT" or bool(scheduling.get("preemptible"))


def _check_fields_gcp(definition: Definition) -> Iterator[str]:
    """Compare with the API description that Google's client contains."""
    try:
        import googleapiclient.discovery_cache as cache
    except ImportError:
        yield f"provider gcp: its client is missing; {suggest_install('gcp')}"
        return
    document = Path(cache.__file__).parent / "documents" / "compute.v1.json"
    schemas = json.loads(document.read_text(encoding="utf-8"))["schemas"]
    for name, node_type in definition.node_types.items():
        key = f"available_node_types.{name}.node_config"
        yield from _compare(node_type.get("node_config") or {}, {"$ref": "Instance"}, schemas, key)


_JSON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": (str, int),  # the API writes 64-bit numbers as strings
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def _compare(
    value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], key: str
) -> Iterator[str]:
    """Yield the differences between a value and a schema of Google's discovery documents."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"]]
    kind = str(schema.get("type"))
    if kind == "object":
        if not isinstance(value, Mapping):
            yield f"{key}: expected a mapping, not {value!r}"
            return
        known = schema.get("properties")
        for name, inner in value.items():
            if known is None:
                yield from _compare(
                    inner, schema.get("additionalProperties", {}), schemas, f"{key}.{name}"
                )
            elif name not in known:
                yield f"{key}: unknown field {name!r}; {suggest_name(name, known)}"
            else:
                yield from _compare(inner, known[name], schemas, f"{key}.{name}")
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{key}: expected a list, not {value!r}"
            return
        for index, inner in enumerate(value):
            yield from _compare(inner, schema["items"], schemas, f"{key}[{index}]")
    elif kind in _JSON_TYPES and not isinstance(value, _JSON_TYPES[kind]):
        yield f"{key}: expected {kind}, not {value!r}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{key}: unknown value {value!r}; {suggest_name(str(value), schema['enum'])}"


def check_azure(definition: Definition) -> Iterator[str]:
    """Yield the problems of a definition for Azure."""
    provider = definition.provider
    if not provider.get("use_internal_ips"):
        yield (
            "provider.use_internal_ips: set it to true; Ray opens SSH to the world on every node "
            "with a public address"
        )
    if provider.get("use_external_head_ip") and not provider.get("unique_id"):
        yield (
            "provider.unique_id: missing; with it you can make the head's network beforehand, "
            "with SSH from your own address only"
        )
    auth = definition.raw.get("auth") or {}
    if ("ssh_private_key" in auth) != ("ssh_public_key" in auth):
        yield "auth: give both ssh_private_key and ssh_public_key, or neither"
    known = _azure_parameters()
    for name, node_type in definition.node_types.items():
        key = f"available_node_types.{name}.node_config"
        settings = node_type.get("node_config") or {}
        for field in settings.keys() - {"azure_arm_parameters", "tags"}:
            yield f"{key}: unknown field {field!r}; Ray reads azure_arm_parameters and tags"
        parameters = settings.get("azure_arm_parameters") or {}
        for field in parameters.keys() - known:
            yield (
                f"{key}.azure_arm_parameters: unknown field {field!r}; "
                f"{suggest_name(field, sorted(known))}"
            )
        if "vmSize" not in parameters:
            yield f"{key}.azure_arm_parameters.vmSize: missing; give the size of the node"
        if name == definition.head_type and parameters.get("priority") == "Spot":
            yield f"{key}.azure_arm_parameters.priority: {_NO_SPOT_HEAD}"


def _azure_parameters() -> frozenset[str]:
    """Return the parameters of Ray's template for a node, without those that Ray fills in."""
    from raytune_yesno.cluster.ray_private import autoscaler_package

    template = Path(str(autoscaler_package.__file__)).parent / "_azure" / "azure-vm-template.json"
    known = json.loads(template.read_text(encoding="utf-8"))["parameters"].keys()
    ours = {"vmName", "vmTags", "vmCount", "provisionPublicIp", "msi", "nsg", "subnet", "zones"}
    return frozenset(known - ours | {"availability_zone"})
