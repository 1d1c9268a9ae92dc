"""How far a cluster can grow: known to its autoscaler, and to a study that wants the room."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

VARIABLE = "RAYTUNE_YESNO_CLUSTER"
"""On the head, in a job's environment: the definition that the autoscaler there goes by."""
BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""Where Ray's launcher puts it, with the resources of each type of machine filled in."""


def read_growth() -> list[dict[str, float]]:
    """Return the resources of every worker node that may come; empty where none will."""
    path = Path(os.environ.get(VARIABLE, "")).expanduser()
    if not path.is_file():
        return []
    return list_workers(yaml.safe_load(path.read_text(encoding="utf-8")))


def list_workers(definition: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return the resources of the workers that a definition allows, at most."""
    most = definition.get("max_workers", 0)
    found: list[dict[str, float]] = []
    for name, node_type in (definition.get("available_node_types") or {}).items():
        resources = node_type.get("resources")
        if name != definition.get("head_node_type") and resources:
            found += [resources] * node_type.get("max_workers", most)
    return found[:most]
