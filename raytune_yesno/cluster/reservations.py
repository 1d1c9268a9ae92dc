"""What a training run reserves on a cluster, and where Ray Train 2.60 does not set it free."""

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

    Where workers are killed for memory, Ray Train fails to shut them down, gives the run up, and
    keeps what they had reserved for as long as the job lives.
    """
    for id in ids:
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(id)))


def cancel_request(run_id: str) -> None:
    """Take back what a training run asked the cluster for.

    Of a run that was cut off it would stand for three minutes more, and so long an elastic run
    does not begin where nothing else is left.
    """
    with contextlib.suppress(ray.exceptions.RayError):  # then there is none
        coordinator = get_or_create_autoscaling_coordinator()
        ray.get(coordinator.cancel_request.remote(f"train-{run_id}"), timeout=_ANSWER_S)
