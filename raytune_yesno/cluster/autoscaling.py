"""The workers that the autoscaler of a cluster may add."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEFINITION_VARIABLE = "RAYTUNE_YESNO_CLUSTER"
"""Variable of a job's environment: the definition that the autoscaler on the head reads."""
DEFINITION_ON_HEAD = "~/ray_bootstrap_config.yaml"
"""Path on the head to which Ray's launcher copies it, with the resources of each node type."""


def read_autoscaling_workers() -> list[dict[str, float]]:
    """Return the resources of each worker node that the autoscaler may add; empty without one."""
    path = Path(os.environ.get(DEFINITION_VARIABLE, "")).expanduser()
    if not path.is_file():
        return []
    return list_workers(yaml.safe_load(path.read_text(encoding="utf-8")))


def list_workers(definition: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return the resources of each worker node that a definition allows at most."""
    max_workers = definition.get("max_workers", 0)
    found: list[dict[str, float]] = []
    for name, node_type in (definition.get("available_node_types") or {}).items():
        resources = node_type.get("resources")
        if name != definition.get("head_node_type") and resources:
            found += [resources] * node_type.get("max_workers", max_workers)
    return found[:max_workers]
