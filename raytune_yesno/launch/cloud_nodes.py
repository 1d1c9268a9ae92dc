"""The nodes of a cluster that a cloud still runs, according to the cloud."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from raytune_yesno.errors import WorkError


def list_cloud_nodes(definition: Path) -> list[str]:
    """Return the nodes of a definition's cluster that have not ended, as ``id (kind)``.

    Raises:
        WorkError: the cloud did not answer, usually because of credentials or the region.
    """
    from ray.autoscaler.tags import TAG_RAY_NODE_KIND

    from raytune_yesno.cluster.ray_private import autoscaler_util, get_node_provider

    raw: Mapping[str, Any] = yaml.safe_load(definition.read_text())
    kind = raw["provider"]["type"]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            config = autoscaler_util.prepare_config(raw)
            provider = get_node_provider(config["provider"], config["cluster_name"])
            found = provider.non_terminated_nodes({})
            kinds = {node: provider.node_tags(node).get(TAG_RAY_NODE_KIND, "?") for node in found}
    except (Exception, SystemExit) as error:  # each cloud's client has its own errors
        reason = " ".join((str(error) or said.getvalue()).split())[:200]
        raise WorkError(f"{kind}: cannot list the cluster's nodes: {reason}") from error
    return [f"{node} ({kind})" for node, kind in sorted(kinds.items())]
