"""Which workers the autoscaler may add, on Kubernetes."""

from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from helpers.readme import ROOT

from raytune_yesno.cluster import autoscaling, ray_private, session
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError


@pytest.fixture
def kuberay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run on the head of the cluster of ``kubernetes.yaml``; return its resource."""
    import ray

    job = next(iter(yaml.safe_load_all((ROOT / "cluster/kubernetes.yaml").read_text())))
    resource = {
        "metadata": {"name": "study-x", "namespace": "team"},
        "spec": job["spec"]["rayClusterSpec"],
    }

    def get(client: Any, path: str) -> dict[str, Any]:
        if path != "rayclusters/study-x":
            raise requests.HTTPError("404")
        return resource

    namespace = tmp_path / "namespace"
    namespace.write_text("team")
    monkeypatch.setattr(autoscaling, "NAMESPACE_FILE", namespace)
    monkeypatch.setenv(autoscaling.KUBERAY_VARIABLE, "study-x")
    monkeypatch.delenv(autoscaling.DEFINITION_VARIABLE, raising=False)
    monkeypatch.setattr(ray_private.KubernetesHttpApiClient, "get", get)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 0.0}}])
    return resource


def test_the_groups_of_a_cluster_on_kubernetes_count(kuberay: dict[str, Any]) -> None:
    assert session.count_fitting(build_config({})) == 4 * 4
    assert session.count_fitting(build_config({"memory_per_worker": 8.0})) == 4
    with pytest.raises(InputError, match="use_gpu"):
        session.count_fitting(build_config({"use_gpu": True}))
    kuberay["spec"]["workerGroupSpecs"][1]["maxReplicas"] = 2
    assert session.count_fitting(build_config({"use_gpu": True})) == 2


def test_a_cluster_whose_resource_cannot_be_read_has_the_nodes_that_run(
    kuberay: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(autoscaling.KUBERAY_VARIABLE, "another")
    assert autoscaling.read_addable_nodes() == autoscaling.AddableNodes([], 0)
