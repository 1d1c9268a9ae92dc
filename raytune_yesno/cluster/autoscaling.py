"""The workers that the autoscaler of a cluster may add."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEFINITION_VARIABLE = "RAYTUNE_YESNO_CLUSTER"
"""Variable of a job's environment: the definition that the autoscaler on the head reads."""
KUBERAY_VARIABLE = "RAY_CLUSTER_NAME"
"""Variable of all of KubeRay's pods: the name of the cluster's resource."""
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""The namespace of a pod."""
DEFINITION_ON_HEAD = "~/ray_bootstrap_config.yaml"
"""Path on the head to which Ray's launcher copies it, with the resources of each node type."""


@dataclass(frozen=True)
class AddableNodes:
    """The worker nodes that an autoscaler may add.

    Attributes:
        resources: those of each node, of all types.
        limit: the most nodes at a time.
    """

    resources: list[dict[str, float]]
    limit: int


def read_addable_nodes() -> AddableNodes:
    """Return the worker nodes that the autoscaler may add; none without one."""
    path = Path(os.environ.get(DEFINITION_VARIABLE, "")).expanduser()
    if path.is_file():
        return list_addable_nodes(yaml.safe_load(path.read_text(encoding="utf-8")))
    return list_addable_nodes(_ask_kuberay())


def _ask_kuberay() -> Mapping[str, Any]:
    """Return the definition that the autoscaler reads on Kubernetes; empty elsewhere.

    The pod of the head has the right to get it: the autoscaler runs there. A cluster without an
    autoscaler has neither.
    """
    name = os.environ.get(KUBERAY_VARIABLE)
    if not name or not NAMESPACE_FILE.is_file():
        return {}
    from raytune_yesno.cluster.ray_private import (
        KubernetesHttpApiClient,
        derive_autoscaling_config_from_ray_cr,
    )

    try:
        client = KubernetesHttpApiClient(NAMESPACE_FILE.read_text().strip())
        definition = derive_autoscaling_config_from_ray_cr(client.get(f"rayclusters/{name}"))
    except (OSError, ValueError, LookupError):  # requests' errors are OSError
        return {}
    return dict(definition)


def list_addable_nodes(definition: Mapping[str, Any]) -> AddableNodes:
    """Return the worker nodes that a definition allows."""
    max_workers = definition.get("max_workers", 0)
    found: list[dict[str, float]] = []
    for name, node_type in (definition.get("available_node_types") or {}).items():
        resources = node_type.get("resources")
        if name != definition.get("head_node_type") and resources:
            found += [resources] * node_type.get("max_workers", max_workers)
    return AddableNodes(found, max_workers)
