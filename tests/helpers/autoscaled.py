"""Run a study on a cluster that Ray's autoscaler grows and shrinks; print what was seen.

A script of its own: it is run in namespaces, and never twice in one process.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.cluster_utils import AutoscalingCluster

from raytune_yesno import cli
from raytune_yesno.cluster.autoscaling import DEFINITION_VARIABLE

WORKERS, TIMEOUT_S = 2, 120
HEAD = "ray.head.default"  # the fake provider's own word for it
STORE = {"object_store_memory": 80_000_000}
PROVIDER = {
    # The type "fake_multinode" reads an example for its defaults that Ray's wheel lacks.
    "type": "external",
    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
    "launch_multiple": True,
    "head_node_id": FAKE_HEAD_NODE_ID,
}


class Cluster(AutoscalingCluster):
    """Ray's own, without the example."""

    def _generate_config(
        self, head_resources: Any, worker_node_types: Any, **more: Any
    ) -> dict[str, Any]:
        more.pop("autoscaler_v2", None)
        lists = [
            f"{prefix}_commands"
            for prefix in (
                "initialization",
                "setup",
                "head_setup",
                "worker_setup",
                "head_start_ray",
                "worker_start_ray",
            )
        ]
        return {
            "cluster_name": "fake",
            "upscaling_speed": 1.0,
            "provider": PROVIDER,
            "auth": {},
            "docker": {},
            "file_mounts": {},
            "file_mounts_sync_continuously": False,
            **{
                key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter", *lists)
            },
            "head_node_type": HEAD,
            "available_node_types": {
                **worker_node_types,
                HEAD: {"resources": head_resources, "node_config": {}, "max_workers": 0},
            },
            **more,
        }


def count_nodes() -> int:
    return sum(node["Alive"] for node in ray.nodes())


def wait_for(number: int) -> float:
    began = time.monotonic()
    while count_nodes() != number:
        if time.monotonic() - began > TIMEOUT_S:
            raise TimeoutError(f"{count_nodes()} nodes, not {number}")
        time.sleep(0.2)
    return round(time.monotonic() - began, 1)


def main(out: str, plan: list[str]) -> None:
    worker = {"resources": {"CPU": 1, **STORE}, "node_config": {}, "max_workers": WORKERS}
    cluster = Cluster(
        head_resources={"CPU": 0, **STORE},
        worker_node_types={"cpu": {**worker, "min_workers": 0}},
        autoscaler_v2=True,
        idle_timeout_minutes=0.5,  # long enough for the study to begin
        max_workers=WORKERS,
    )
    cluster.start()
    try:
        ray.init("auto", log_to_driver=False)
        began_with = count_nodes()
        ray.shutdown()
        definition = Path(f"{out}.yaml")  # as Ray's launcher leaves it on the head
        definition.write_text(yaml.safe_dump(cluster._config))
        os.environ[DEFINITION_VARIABLE] = str(definition)
        sys.argv = ["raytune-yesno"]
        code = cli.main(["tune", "--address", "auto", "--out", out, "--json", *plan])
        ray.init("auto", log_to_driver=False)
        down = wait_for(1)
        ray.shutdown()
    finally:
        cluster.shutdown()
    print("SEEN " + json.dumps({"code": code, "began_with": began_with, "down_s": down}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
