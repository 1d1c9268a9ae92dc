"""Rules for the definition of a cluster, beyond the checks of its launcher.

Ray's validation finds unknown keys at the top level, wrong types and a missing head node type. It
does not find a missing region, a port open to the world, an unknown node setting, or versions that
do not match. Without these rules, such errors appear after a node that costs money has started.
"""

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.launch.cloud_rules import check_aws, check_azure, check_gcp
from raytune_yesno.launch.definition import (
    EDIT_MARK,
    Definition,
    find_wrong_types,
    is_manifest,
    read_documents,
    walk_values,
)
from raytune_yesno.launch.kubernetes import check_manifests
from raytune_yesno.launch.packaging import find_mounted
from raytune_yesno.launch.versions import PYTHON, ray_version

TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 (its name)

_REQUIRED_PROVIDER_KEYS: Mapping[str, tuple[str, ...]] = {
    "aws": ("region",),
    "gcp": ("region", "availability_zone", "project_id"),
    "azure": ("location", "resource_group"),
    "local": ("head_ip", "worker_ips"),
}

_CLOUDS: Mapping[str, Callable[[Definition], Iterator[str]]] = {
    "aws": check_aws,
    "gcp": check_gcp,
    "azure": check_azure,
}


def check_definition(path: str | Path) -> list[str]:
    """Return the problems of a cluster's YAML, one line each; an empty list if it is good.

    Nothing is started, and no cloud is asked.
    """
    path = Path(path)
    try:
        documents = read_documents(path)
    except InputError as error:
        return [str(error)]
    unfilled: dict[str, str] = {}  # an alias repeats a value under several keys
    for document in documents:
        for key, value in walk_values(document):
            if isinstance(value, str) and EDIT_MARK in value:
                unfilled.setdefault(value, f"{path}: {key}: {value!r} must be filled in")
    if is_manifest(documents):
        found = iter([*find_wrong_types(documents)] or check_manifests(documents))
    elif len(documents) != 1 or not isinstance(documents[0], Mapping):
        return [f"{path}: expected one mapping with cluster_name, provider and so on"]
    else:
        found = check_ray_definition(Definition(path, documents[0]))
    lines = list(unfilled.values()) + [f"{path}: {problem}" for problem in found]
    return [one_line(line) for line in lines]


def check_ray_definition(definition: Definition) -> Iterator[str]:
    """Yield the problems of a definition for Ray's launcher."""
    refused = ask_ray(definition.raw)
    if refused:
        yield refused
        return  # the other checks rely on the types
    if misshapen := [*find_wrong_types(definition.raw)]:
        yield from misshapen
        return
    yield from check_provider(definition)
    yield from check_workers(definition)
    yield from check_start_commands(definition)
    yield from check_token(definition)
    yield from check_versions(definition)
    yield from check_mounts(definition)
    check_cloud = _CLOUDS.get(definition.provider_type)
    if check_cloud:
        yield from check_cloud(definition)


def ask_ray(raw: Mapping[str, Any]) -> str | None:
    """Return why Ray's validation rejects a definition, in one line; None if it accepts it."""
    from raytune_yesno.cluster.ray_private import autoscaler_util

    said = io.StringIO()
    logging.getLogger(autoscaler_util.__name__).setLevel(logging.WARNING)
    try:
        # Ray prints, and ends the process if a field does not fit the provider.
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            autoscaler_util.validate_config(autoscaler_util.prepare_config(dict(raw)))
    except (Exception, SystemExit) as error:
        key = ".".join(str(part) for part in getattr(error, "absolute_path", ()))
        reason = getattr(error, "message", "") or str(error) or said.getvalue().strip()
        if isinstance(error, KeyError):
            reason = f"{error} is missing"
        if type(error).__name__ == "ClickException" or not reason:
            reason = said.getvalue().strip() or type(error).__name__
        return (f"{key}: " if key else "") + " ".join(reason.split())
    return None


def check_provider(definition: Definition) -> Iterator[str]:
    """Check that the provider is known and its keys are set."""
    kind = definition.provider_type
    if kind not in _REQUIRED_PROVIDER_KEYS:
        known = ", ".join(_REQUIRED_PROVIDER_KEYS)
        yield f"provider.type: {kind!r} is not supported; give one of {known}"
    for key in _REQUIRED_PROVIDER_KEYS.get(kind, ()):
        if definition.provider.get(key) in (None, "", []):
            yield f"provider.{key}: missing; Ray would choose one, or fail"
    if kind == "local":
        workers = definition.provider.get("worker_ips") or []
        addresses = [definition.provider.get("head_ip"), *workers]
        for address in sorted({str(one) for one in addresses if addresses.count(one) > 1}):
            yield (
                f"provider: head_ip and worker_ips list {address} more than once; list each "
                "machine once"
            )


def check_workers(definition: Definition) -> Iterator[str]:
    """Check that workers start on demand and end when idle, and that the head runs no trials."""
    max_workers = definition.raw.get("max_workers")
    if definition.provider_type == "local":
        return  # Ray counts the addresses
    if not max_workers:
        yield "max_workers: missing; set the largest number of workers"
        max_workers = 0
    idle = definition.raw.get("idle_timeout_minutes")
    if not idle:
        yield "idle_timeout_minutes: missing; set how long idle workers, which cost money, are kept"
    for name, node_type in definition.node_types.items():
        key = f"available_node_types.{name}"
        min_own = node_type.get("min_workers", 0)
        max_own = node_type.get("max_workers", max_workers)
        if min_own > max_own:
            yield f"{key}: min_workers {min_own} is more than max_workers {max_own}"
        if name == definition.head_type and node_type.get("max_workers") != 0:
            yield f"{key}.max_workers: set it to 0, or further heads start as workers"
        if name != definition.head_type and max_own > max_workers:
            yield f"{key}.max_workers: {max_own} exceeds max_workers of the cluster, {max_workers}"


def check_start_commands(definition: Definition) -> Iterator[str]:
    """Check the commands that start Ray; Ray's defaults are not safe enough."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [line for line in definition.commands(key) if "ray start" in line]
        if len(starts) != 1:
            yield f"{key}: expected exactly one command with `ray start`"
            continue
        (start,) = starts
        host = re.search(r"--dashboard-host[= ]?(\S+)", start)
        if host and host[1] not in ("127.0.0.1", "localhost"):
            yield f"{key}: --dashboard-host={host[1]}: remove it; use an SSH tunnel"
        if key.startswith("head"):
            yield from _check_head_start(definition, start)
        elif "$RAY_HEAD_IP" not in start:
            yield f"{key}: add --address=$RAY_HEAD_IP:PORT to `ray start`"


def _check_head_start(definition: Definition, start: str) -> Iterator[str]:
    key = "head_start_ray_commands"
    if "--autoscaling-config" not in start:
        yield f"{key}: add --autoscaling-config=~/ray_bootstrap_config.yaml, or no worker starts"
    if "--disable-usage-stats" not in start and "RAY_USAGE_STATS_ENABLED=0" not in start:
        yield f"{key}: add --disable-usage-stats, or the cluster sends usage reports"
    if definition.provider_type == "local" and "RAY_enable_autoscaler_v2=0" not in start:
        yield f"{key}: export RAY_enable_autoscaler_v2=0 before `ray start`, or no worker starts"


def check_token(definition: Definition) -> Iterator[str]:
    """Check that Ray asks for a token: without one, whoever reaches its ports runs code."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in definition.commands(key):
            if "ray start" in command and "RAY_AUTH_MODE=token" not in command:
                yield f"{key}: export RAY_AUTH_MODE=token before `ray start`"
    mounts = definition.raw.get("file_mounts") or {}
    if TOKEN_FILE not in mounts:
        yield f"file_mounts: {TOKEN_FILE} is missing; add it for all nodes"


def check_versions(definition: Definition) -> Iterator[str]:
    """Check the versions of Ray and Python, which Ray itself checks only after the start."""
    texts = list(definition.all_commands)
    texts += [(key, str(value)) for key, value in walk_values(definition.raw.get("docker"))]
    pinned = False
    for key, text in texts:
        for problem in find_other_versions(text):
            yield f"{key}: {problem}"
        pinned |= f"=={ray_version()}" in text or "rayproject/ray" in text or "-r " in text
    if not pinned and definition.provider_type != "local":
        yield f"setup_commands: install ray=={ray_version()} or a constraints file"


def find_other_versions(text: str) -> Iterator[str]:
    """Yield the versions of Ray and Python in a text that differ from the project's."""
    ours = ray_version()
    for image, tag in re.findall(r"(rayproject/ray[\w-]*)(?::([\w.-]+))?", text):
        python = "py" + PYTHON.replace(".", "")
        if not re.fullmatch(rf"{re.escape(ours)}-{python}(-.*)?", tag):
            yield f"image {image}:{tag or 'latest'}: use {image}:{ours}-{python}…"
    for pin in re.findall(r"(?<![\w-])ray(?:\[[\w,]+\])?(==[\w.*]+|[<>~]=?[\w.*]+)", text):
        if pin != f"=={ours}":
            yield f"ray{pin}: this machine has {ours}; install the same on all nodes"
    for python in re.findall(r"python[ =]+=?(3\.\d+)", text):
        if python != PYTHON:
            yield f"python {python}: the versions are pinned for {PYTHON}; use that"


def check_mounts(definition: Definition) -> Iterator[str]:
    """Check that the files to copy to the nodes exist on this machine."""
    for remote, local in (definition.raw.get("file_mounts") or {}).items():
        if remote != TOKEN_FILE and not find_mounted(str(local)).exists():
            yield f"file_mounts.{remote}: {local} does not exist on this machine"
