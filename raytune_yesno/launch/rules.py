"""What every cluster's definition must obey, beyond what its launcher would itself refuse.

Ray's validation finds unknown keys at the top, wrong types and a missing head node type. It does
not find a missing region, a port open to the world, a machine setting that does not exist, or
versions that do not fit together: those are found when a machine that costs money has started.
"""

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, one_line
from raytune_yesno.launch.clouds import check_aws, check_azure, check_gcp
from raytune_yesno.launch.definition import (
    EDIT_MARK,
    Definition,
    find_misshapen,
    read_documents,
    walk_values,
)
from raytune_yesno.launch.kubernetes import check_manifests
from raytune_yesno.launch.versions import PYTHON, ray_version

TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 (its name)

_PLACES: Mapping[str, tuple[str, ...]] = {
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
    """Return what is wrong with a cluster's YAML, a line each; nothing if it is good.

    Nothing is started and nothing asked of any cloud.
    """
    path = Path(path)
    try:
        documents = read_documents(path)
    except InputError as error:
        return [str(error)]
    unfilled: dict[str, str] = {}  # an alias has the value stand in several places
    for document in documents:
        for key, value in walk_values(document):
            if isinstance(value, str) and EDIT_MARK in value:
                unfilled.setdefault(value, f"{path}: {key}: {value!r} is still to be filled in")
    if documents and all(isinstance(item, Mapping) and "kind" in item for item in documents):
        found = iter([*find_misshapen(documents)] or check_manifests(documents))
    elif len(documents) != 1 or not isinstance(documents[0], Mapping):
        return [f"{path}: one mapping is expected, with cluster_name, provider and so on"]
    else:
        found = check_ray_definition(Definition(path, documents[0]))
    lines = list(unfilled.values()) + [f"{path}: {problem}" for problem in found]
    return [one_line(line) for line in lines]


def check_ray_definition(definition: Definition) -> Iterator[str]:
    """Yield what is wrong with a definition for Ray's launcher."""
    refused = ask_ray(definition.raw)
    if refused:
        yield refused
        return  # what comes next may rely on the shape
    if misshapen := [*find_misshapen(definition.raw)]:
        yield from misshapen
        return
    yield from check_place(definition)
    yield from check_workers(definition)
    yield from check_start_commands(definition)
    yield from check_token(definition)
    yield from check_versions(definition)
    yield from check_mounts(definition)
    check_cloud = _CLOUDS.get(definition.provider_type)
    if check_cloud:
        yield from check_cloud(definition)


def ask_ray(raw: Mapping[str, Any]) -> str | None:
    """Return why Ray's own validation refuses a definition, in one line; None if it does not."""
    from raytune_yesno.cluster.ray_private import autoscaler_util

    said = io.StringIO()
    logging.getLogger(autoscaler_util.__name__).setLevel(logging.WARNING)
    try:
        # Ray's launcher prints, and ends the process where it finds a field unsuited to a provider.
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


def check_place(definition: Definition) -> Iterator[str]:
    """Ray would fill in a region of its own choice."""
    kind = definition.provider_type
    if kind not in _PLACES:
        known = ", ".join(_PLACES)
        yield f"provider.type: {kind!r} is none that is known here ({known})"
    for key in _PLACES.get(kind, ()):
        if definition.provider.get(key) in (None, "", []):
            yield f"provider.{key}: it is missing"


def check_workers(definition: Definition) -> Iterator[str]:
    """Workers come on demand and go when idle; what runs trials is not the head alone."""
    most = definition.raw.get("max_workers")
    if definition.provider_type == "local":
        return  # Ray counts the addresses
    if not most:
        yield "max_workers: say how many workers there may be at most"
        most = 0
    idle = definition.raw.get("idle_timeout_minutes")
    if not idle:
        yield "idle_timeout_minutes: without it, who pays for idle workers does not see it here"
    for name, node_type in definition.node_types.items():
        key = f"available_node_types.{name}"
        least = node_type.get("min_workers", 0)
        own_most = node_type.get("max_workers", most)
        if least > own_most:
            yield f"{key}: min_workers {least} is more than max_workers {own_most}"
        if name == definition.head_type and node_type.get("max_workers") != 0:
            yield f"{key}.max_workers: it must be 0, or further heads are started as workers"
        if name != definition.head_type and own_most > most:
            yield f"{key}.max_workers: {own_most} is more than all workers together, {most}"


def check_start_commands(definition: Definition) -> Iterator[str]:
    """The commands that start Ray must say what Ray's defaults leave open."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [line for line in definition.commands(key) if "ray start" in line]
        if len(starts) != 1:
            yield f"{key}: exactly one command with `ray start` is expected"
            continue
        (start,) = starts
        host = re.search(r"--dashboard-host[= ]?(\S+)", start)
        if host and host[1] not in ("127.0.0.1", "localhost"):
            yield f"{key}: --dashboard-host={host[1]}: leave it out; it is reached by SSH tunnel"
        if key.startswith("head"):
            yield from _check_head_start(definition, start)
        elif "$RAY_HEAD_IP" not in start:
            yield f"{key}: `ray start` needs --address=$RAY_HEAD_IP:PORT"


def _check_head_start(definition: Definition, start: str) -> Iterator[str]:
    key = "head_start_ray_commands"
    if "--autoscaling-config" not in start:
        yield f"{key}: without --autoscaling-config=~/ray_bootstrap_config.yaml no worker comes"
    if "--disable-usage-stats" not in start and "RAY_USAGE_STATS_ENABLED=0" not in start:
        yield f"{key}: add --disable-usage-stats, or the cluster reports to Ray's makers"
    if definition.provider_type == "local" and "RAY_enable_autoscaler_v2=0" not in start:
        yield f"{key}: export RAY_enable_autoscaler_v2=0 before `ray start`, or no worker comes"


def check_token(definition: Definition) -> Iterator[str]:
    """Whoever reaches a port of Ray's without a token runs code there."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in definition.commands(key):
            if "ray start" in command and "RAY_AUTH_MODE=token" not in command:
                yield f"{key}: export RAY_AUTH_MODE=token before `ray start`"
    mounts = definition.raw.get("file_mounts") or {}
    if TOKEN_FILE not in mounts:
        yield f"file_mounts: {TOKEN_FILE} is missing; all nodes need the same token"


def check_versions(definition: Definition) -> Iterator[str]:
    """Ray refuses nodes of another Ray or Python, but not before they have started."""
    texts = list(definition.all_commands)
    texts += [(key, str(value)) for key, value in walk_values(definition.raw.get("docker"))]
    pinned = False
    for key, text in texts:
        for problem in find_other_versions(text):
            yield f"{key}: {problem}"
        pinned |= f"=={ray_version()}" in text or "rayproject/ray" in text or "-r " in text
    if not pinned and definition.provider_type != "local":
        yield f"setup_commands: nothing installs ray=={ray_version()} or a list of versions"


def find_other_versions(text: str) -> Iterator[str]:
    """Yield the versions of Ray and Python in a text that are not the project's."""
    ours = ray_version()
    for image, tag in re.findall(r"(rayproject/ray[\w-]*)(?::([\w.-]+))?", text):
        python = "py" + PYTHON.replace(".", "")
        if not re.fullmatch(rf"{re.escape(ours)}-{python}(-.*)?", tag):
            yield f"image {image}:{tag or 'latest'}: it must be {image}:{ours}-{python}…"
    for pin in re.findall(r"(?<![\w-])ray(?:\[[\w,]+\])?(==[\w.*]+|[<>~]=?[\w.*]+)", text):
        if pin != f"=={ours}":
            yield f"ray{pin}: this machine has {ours}, and all must have the same"
    for python in re.findall(r"python[ =]+=?(3\.\d+)", text):
        if python != PYTHON:
            yield f"python {python}: the versions were pinned with {PYTHON}"


def check_mounts(definition: Definition) -> Iterator[str]:
    """What is to be copied to the nodes must be here."""
    for remote, local in (definition.raw.get("file_mounts") or {}).items():
        if remote != TOKEN_FILE and not Path(str(local)).expanduser().exists():
            yield f"file_mounts.{remote}: {local} does not exist here"
