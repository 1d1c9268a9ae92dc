"""All uses of private parts of Ray, each with its reason (for Ray 2.60).

Private parts change without notice: check this file when Ray's version changes. The linter bans
them everywhere else. Each name is imported on first use, so importing this file does not import
Ray.
"""

import importlib
from typing import Any, NamedTuple


class _Part(NamedTuple):
    path: str  # "module:attribute", or a module
    why: str


_PARTS = {
    "TuneController": _Part(
        "ray.tune.execution.tune_controller:TuneController",
        "Tune offers no other way to change how actors are reused, how their loss is counted, and "
        "whether snapshots are written (ray#11233, ray#43689); see tuning/controller.py",
    ),
    "ActorClassCache": _Part(
        "ray.tune.execution.class_cache:_ActorClassCache",
        "it gives actors an environment of their own, which needs new processes",
    ),
    "RayActorManager": _Part(
        "ray.air.execution._internal:RayActorManager",
        "it ends the study if an actor is killed for memory, instead of counting a lost actor",
    ),
    "TrackedActorTask": _Part(
        "ray.air.execution._internal.tracked_actor_task:TrackedActorTask",
        "type of an argument of RayActorManager",
    ),
    "tune_module": _Part(
        "ray.tune.tune",
        "Tuner.fit looks up the controller here; a function of the same name hides the module",
    ),
    "TorchBackend": _Part(
        "ray.train.torch.config:_TorchBackend",
        "workers must choose their network interface before the process group is made",
    ),
    "TrainingFailedError": _Part(
        "ray.train.v2.api.exceptions:TrainingFailedError",
        "TorchTrainer.fit raises it when workers fail; it has no public name",
    ),
    "DatasetsCallback": _Part(
        "ray.train.v2._internal.callbacks:DatasetsCallback",
        "a run without datasets starts a process for them all the same",
    ),
    "PlacementGroupCleanerCallback": _Part(
        "ray.train.v2._internal.callbacks.placement_group_callback:PlacementGroupCleanerCallback",
        "its process outlives a lost controller to release its workers, which a cluster that ends "
        "with its driver does not need",
    ),
    "PlacementGroupID": _Part(
        "ray._raylet:PlacementGroupID",
        "if workers are killed for memory, Ray Train keeps their placement group; removing it by "
        "id needs this type",
    ),
    "get_or_create_autoscaling_coordinator": _Part(
        "ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator"
        ":get_or_create_autoscaling_coordinator",
        "an interrupted training run keeps its resource request for three minutes",
    ),
    "available_resources_per_node": _Part(
        "ray._private.state:available_resources_per_node",
        "the public ray.available_resources only returns the sum of all nodes",
    ),
    "state": _Part(
        "ray._private.state:state",
        "the public state API needs the dashboard, which a local cluster does not start",
    ),
    "Node": _Part(
        "ray._private.node:Node",
        "ray.init has no option to start a cluster without autoscaler, log monitor and API server, "
        "which one of a single node does not use",
    ),
    "raylet": _Part(
        "ray._raylet", "no public function tells whether the cluster asks for a token (compiled)"
    ),
    "ray_constants": _Part(
        "ray._private.ray_constants",
        "it reads once, at import, whether Ray may listen on loopback alone (ray#26293)",
    ),
    "services": _Part(
        "ray._private.services",
        "Ray replaces 127.0.0.1 by the machine's own address (ray#26293)",
    ),
    "autoscaler_util": _Part(
        "ray.autoscaler._private.util",
        "Ray's validation of a cluster's YAML file; no command offers it",
    ),
    "get_node_provider": _Part(
        "ray.autoscaler._private.providers:_get_node_provider",
        "lists the nodes that a cloud still runs for a cluster; no command offers it",
    ),
    "autoscaler_package": _Part(
        "ray.autoscaler._private",
        "its folder contains Ray's template of an Azure node, with the names of its parameters",
    ),
}


def __getattr__(name: str) -> Any:
    """Import a private part by its name in ``_PARTS``."""
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PARTS[name].path.partition(":")
    found: Any = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found
