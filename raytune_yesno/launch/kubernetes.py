"""Rules for KubeRay's manifests that their schema cannot express."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raytune_yesno.launch.versions import PYTHON, ray_version

_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def check_manifests(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the problems of the manifests of one job."""
    jobs = [document for document in documents if document.get("kind") == "RayJob"]
    if len(jobs) != 1:
        yield f"expected exactly one RayJob, found {len(jobs)}"
        return
    spec = jobs[0].get("spec") or {}
    if spec.get("shutdownAfterJobFinishes") is not True:
        yield "spec.shutdownAfterJobFinishes: set it to true, or the cluster keeps running"
    if "ttlSecondsAfterFinished" not in spec:
        yield "spec.ttlSecondsAfterFinished: missing; set how long an ended cluster is kept"
    cluster = spec.get("rayClusterSpec") or {}
    yield from _check_cluster(cluster, "spec.rayClusterSpec")
    submitter = (spec.get("submitterPodTemplate") or {}).get("spec")
    if submitter is not None:
        yield from _check_pod(submitter, "spec.submitterPodTemplate.spec")
    claims = {
        str(document.get("metadata", {}).get("name")): document
        for document in documents
        if document.get("kind") == "PersistentVolumeClaim"
    }
    yield from _check_storage(cluster, claims)
    if not any(document.get("kind") == "NetworkPolicy" for document in documents):
        yield "NetworkPolicy: missing; add one, or every pod reaches Ray's ports"


def _check_cluster(cluster: Mapping[str, Any], key: str) -> Iterator[str]:
    if cluster.get("rayVersion") != ray_version():
        yield f"{key}.rayVersion: {cluster.get('rayVersion')!r} must be {ray_version()}, as here"
    if (cluster.get("authOptions") or {}).get("mode") != "token":
        yield f"{key}.authOptions.mode: set it to token, or Ray asks for none"
    if cluster.get("enableInTreeAutoscaling") is not True:
        yield f"{key}.enableInTreeAutoscaling: set it to true, or no worker starts"
    if not (cluster.get("autoscalerOptions") or {}).get("idleTimeoutSeconds"):
        yield f"{key}.autoscalerOptions.idleTimeoutSeconds: missing; set one for idle workers"
    head = cluster.get("headGroupSpec") or {}
    if head.get("serviceType", "ClusterIP") != "ClusterIP":
        yield f"{key}.headGroupSpec.serviceType: set it to ClusterIP, or Ray is open to the world"
    if (head.get("rayStartParams") or {}).get("num-cpus") != "0":
        yield f'{key}.headGroupSpec.rayStartParams.num-cpus: set it to "0"; trials run on workers'
    groups = [(f"{key}.headGroupSpec", head)]
    for index, group in enumerate(cluster.get("workerGroupSpecs") or []):
        where = f"{key}.workerGroupSpecs[{index}]"
        groups.append((where, group))
        minimum, maximum = group.get("minReplicas", 0), group.get("maxReplicas")
        if maximum is None:
            yield f"{where}.maxReplicas: missing; set the largest number of pods"
        elif not minimum <= group.get("replicas", minimum) <= maximum:
            yield f"{where}: minReplicas ≤ replicas ≤ maxReplicas must hold"
    for where, group in groups:
        pod = (group.get("template") or {}).get("spec") or {}
        yield from _check_pod(pod, f"{where}.template.spec")


def _check_pod(pod: Mapping[str, Any], key: str) -> Iterator[str]:
    if pod.get("restartPolicy") != "Never":
        yield f"{key}.restartPolicy: set it to Never; the autoscaler and KubeRay replace pods"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{key}.{field}: remove it; the pod must not share the namespaces of its machine"
    for index, container in enumerate(pod.get("containers") or []):
        where = f"{key}.containers[{index}]"
        tag = str(container.get("image", "")).rpartition(":")[2]
        wanted = f"{ray_version()}-py{PYTHON.replace('.', '')}"
        if not re.fullmatch(rf"{re.escape(wanted)}(-.*)?", tag):
            yield f"{where}.image: its tag must be {wanted}, the versions of Ray and Python here"
        yield from _check_resources(container.get("resources") or {}, f"{where}.resources")


def _check_resources(resources: Mapping[str, Any], key: str) -> Iterator[str]:
    """Check requests against limits. Ray counts the limits, Kubernetes places by the requests."""
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name in ("cpu", "memory"):
        if name not in limits:
            yield f"{key}.limits.{name}: missing; Ray would count all of the Kubernetes node's"
        if name not in requests:
            yield f"{key}.requests.{name}: missing; set it to the limit"
    for name, amount in requests.items():
        try:
            if name in limits and _quantity(amount) > _quantity(limits[name]):
                yield f"{key}.requests.{name}: {amount} exceeds the limit, {limits[name]}"
            if name == "nvidia.com/gpu" and amount != limits.get(name):
                yield f"{key}.requests.{name}: it must equal the limit"
        except ValueError as error:
            yield f"{key}: {error}"


def _quantity(text: Any) -> float:
    """Read a Kubernetes quantity, such as 500m, 2 or 8Gi."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if not match or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is not a quantity; write 500m, 2 or 8Gi")
    return float(match[1]) * _UNITS[match[2]]


def _check_storage(
    cluster: Mapping[str, Any], claims: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Check that all pods that train write to the same volume."""
    shared: set[str] | None = None
    groups = [cluster.get("headGroupSpec") or {}, *(cluster.get("workerGroupSpecs") or [])]
    for group in groups:
        pod = (group.get("template") or {}).get("spec") or {}
        names = {
            str(volume["persistentVolumeClaim"].get("claimName"))
            for volume in pod.get("volumes") or []
            if "persistentVolumeClaim" in volume
        }
        shared = names if shared is None else shared & names
    if not shared:
        yield "volumes: head and workers share no volume; mount one in all, for the checkpoints"
    for name in sorted(shared or ()):
        modes = (claims.get(name, {}).get("spec") or {}).get("accessModes", ["ReadWriteMany"])
        if "ReadWriteMany" not in modes:
            yield f"PersistentVolumeClaim {name}: add ReadWriteMany to accessModes"
