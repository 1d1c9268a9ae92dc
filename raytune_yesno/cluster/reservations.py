"""Release the resources that Ray Train 2.60 leaves reserved after a training run."""

import contextlib
from collections.abc import Iterable

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from raytune_yesno.cluster.ray_private import (
    PlacementGroupID,
    get_or_create_autoscaling_coordinator,
)

_ANSWER_S = 5.0


def list_reserved() -> set[str]:
    """Return the ids of the placement groups that this job holds."""
    job = ray.get_runtime_context().get_job_id()
    groups = ray.util.placement_group_table().items()
    return {id for id, group in groups if id.endswith(job) and group["state"] != "REMOVED"}


def release_reserved(ids: Iterable[str]) -> None:
    """Remove placement groups.

    If workers are killed for memory, Ray Train fails to shut them down, abandons the run, and keeps
    their reservation until the job ends.

    Args:
        ids: hexadecimal ids of the placement groups.
    """
    for id in ids:
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(id)))


def start_coordinator() -> None:
    """Begin to start the process at which a training run requests resources.

    A run's controller would start it only when it runs itself, and wait for it.
    """
    get_or_create_autoscaling_coordinator()


def cancel_request(run_id: str) -> None:
    """Withdraw the resource request of a training run.

    The request of an interrupted run would remain for three minutes. Until then an elastic run does
    not start if nothing else is free.
    """
    with contextlib.suppress(ray.exceptions.RayError):  # there is no request
        coordinator = get_or_create_autoscaling_coordinator()
        ray.get(coordinator.cancel_request.remote(f"train-{run_id}"), timeout=_ANSWER_S)
