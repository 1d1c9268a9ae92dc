"""All private parts of Ray that are used, each with its reason (for Ray 2.60).

Private parts change without notice: check this file when Ray's version changes. The linter bans
private modules everywhere else, and private attributes of other objects. A subclass uses private
members of its base class, which are listed here as well. Each name is imported on first use, so
importing this file does not import Ray.
"""

import importlib
from typing import Any, NamedTuple


class _Part(NamedTuple):
    path: str  # "module:attribute", or a module
    why: str
    members: str = ""  # private members that our code uses, most of them in a subclass


_PARTS = {
    "TuneController": _Part(
        "ray.tune.execution.tune_controller:TuneController",
        "Tune offers no other way to change how actors are reused, how their loss is counted, and "
        "whether snapshots are written (ray#11233, ray#43689); see tuning/controller.py",
        "_actor_cache _actor_manager _cached_trial_decisions _class_cache _cleanup_cached_actors "
        "_execute_action _maybe_add_actors _maybe_cache_trial_actor _maybe_reuse_cached_actor "
        "_process_trial_failure _resetting_trials _schedule_trial_actor _schedule_trial_save "
        "_search_alg _staged_trials _started_actors _trial_task_failure _trial_to_actor",
    ),
    "ActorClassCache": _Part(
        "ray.tune.execution.class_cache:_ActorClassCache",
        "it gives actors an environment of their own, which needs new processes",
        "_cache",
    ),
    "RayActorManager": _Part(
        "ray.air.execution._internal:RayActorManager",
        "it ends the study if an actor is killed for memory, instead of counting a lost actor",
        "_actor_task_failed _live_actors_to_ray_actors_resources _resource_manager",
    ),
    "TrackedActorTask": _Part(
        "ray.air.execution._internal.tracked_actor_task:TrackedActorTask",
        "type of an argument of RayActorManager",
    ),
    "Trainable": _Part(
        "ray.tune:Trainable",
        "two processes must not number checkpoints alike, and a failed copy of a checkpoint must "
        "not count as a failure of the trial; see tuning/trial.py",
        "_report_class_trainable_checkpoint _storage",
    ),
    "TrialScheduler": _Part(
        "ray.tune.schedulers:TrialScheduler",
        "a scheduler that pauses trials must see each result at once",
        "_supports_buffered_results",
    ),
    "Searcher": _Part(
        "ray.tune.search:Searcher", "metric and mode of the TuneConfig are for it", "_metric _mode"
    ),
    "TorchTrainer": _Part(
        "ray.train.torch:TorchTrainer",
        "two of its callbacks start processes that a run has no use for",
        "_create_default_callbacks",
    ),
    "JobConfig": _Part(
        "ray.job_config:JobConfig",
        "workers import from where the driver imports; no public setting says so",
        "_py_driver_sys_path",
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
    "ResourceAndLabelSpec": _Part(
        "ray._private.resource_and_label_spec:ResourceAndLabelSpec",
        "no public function tells the resources of a cluster before it is started",
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
    "KubernetesHttpApiClient": _Part(
        "ray.autoscaler._private.kuberay.node_provider:KubernetesHttpApiClient",
        "on Kubernetes, only the cluster's resource tells which workers the autoscaler may add: it "
        "reports no cluster config to the head, see get_cluster_config in ray._private.state",
    ),
    "derive_autoscaling_config_from_ray_cr": _Part(
        "ray.autoscaler._private.kuberay.autoscaling_config:_derive_autoscaling_config_from_ray_cr",
        "it computes the resources of each group of workers as the autoscaler does",
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


def build_job_config(import_path: Any) -> Any:
    """Return Ray's settings of a job whose workers import from a list of folders."""
    job = __getattr__("JobConfig")()
    job._py_driver_sys_path = import_path
    return job


def resource_manager_of(actor_manager: Any) -> Any:
    """Return the resource manager of Ray's actor manager."""
    return actor_manager._resource_manager


def resources_of(actor_manager: Any, actor: Any) -> Any:
    """Return the acquired resources of a live actor."""
    _, resources = actor_manager._live_actors_to_ray_actors_resources[actor]
    return resources
