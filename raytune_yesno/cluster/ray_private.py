"""Every private part of Ray that the project uses, in one place, with the reason.

Private parts change without notice: when Ray's version changes, this is the file to check. The
linter allows them nowhere else. Each name is imported when it is first asked for, so that reading
this file costs no import of Ray. The reasons are of Ray 2.60.
"""

import importlib
from typing import Any, NamedTuple


class _Part(NamedTuple):
    place: str  # "module:attribute", or a module
    why: str


_PARTS = {
    "TuneController": _Part(
        "ray.tune.execution.tune_controller:TuneController",
        "Tune offers no other way to change how actors are reused, how their loss is counted, and "
        "whether snapshots are written (ray#11233, ray#43689); see tuning/controller.py",
    ),
    "RayActorManager": _Part(
        "ray.air.execution._internal:RayActorManager",
        "it ends the study when an actor is killed for memory, which is a lost actor",
    ),
    "TrackedActorTask": _Part(
        "ray.air.execution._internal.tracked_actor_task:TrackedActorTask",
        "the type of an argument of the above",
    ),
    "tune_module": _Part(
        "ray.tune.tune",
        "where Tuner.fit looks the controller up; the package hides the module by a function",
    ),
    "TorchBackend": _Part(
        "ray.train.torch.config:_TorchBackend",
        "workers must choose their network interface before the process group is made",
    ),
    "TrainingFailedError": _Part(
        "ray.train.v2.api.exceptions:TrainingFailedError",
        "what TorchTrainer.fit raises when its workers fail; no public name leads to it",
    ),
    "PlacementGroupID": _Part(
        "ray._raylet:PlacementGroupID",
        "Ray Train keeps the placement group of a run whose workers were killed for memory; "
        "removing it by its id takes this type",
    ),
    "get_or_create_autoscaling_coordinator": _Part(
        "ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator"
        ":get_or_create_autoscaling_coordinator",
        "a training run that was cut off keeps its request for resources for three minutes",
    ),
    "available_resources_per_node": _Part(
        "ray._private.state:available_resources_per_node",
        "the public ray.available_resources adds all nodes up",
    ),
    "state": _Part(
        "ray._private.state:state",
        "the public state API needs the dashboard, which a local cluster does not start",
    ),
    "raylet": _Part(
        "ray._raylet", "whether the cluster asks for a token is told nowhere else (compiled)"
    ),
    "ray_constants": _Part(
        "ray._private.ray_constants",
        "whether Ray may listen on loopback alone is read once, at import (ray#26293)",
    ),
    "services": _Part(
        "ray._private.services",
        "Ray replaces 127.0.0.1 by the machine's own address (ray#26293)",
    ),
    "autoscaler_util": _Part(
        "ray.autoscaler._private.util",
        "Ray's own validation of a cluster's YAML file; no command runs it alone",
    ),
    "get_node_provider": _Part(
        "ray.autoscaler._private.providers:_get_node_provider",
        "lists the machines that a cloud still runs for a cluster; no command does",
    ),
    "autoscaler_package": _Part(
        "ray.autoscaler._private",
        "the folder that holds Ray's template of an Azure machine, which names its parameters",
    ),
}


def __getattr__(name: str) -> Any:
    """Import a private part by its name here."""
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PARTS[name].place.partition(":")
    found: Any = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found
