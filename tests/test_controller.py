"""What Ray Tune's controller is told of lost actors."""

import pytest
from ray.air.execution import FixedResourceManager, ResourceRequest
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError

from raytune_yesno.controller import ActorManager


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_an_actor_killed_for_memory_is_a_lost_actor() -> None:
    class Nothing:
        pass

    manager = ActorManager(FixedResourceManager({"CPU": 1}))
    told: list[Exception] = []
    actor = manager.add_actor(
        Nothing,
        {},
        ResourceRequest([{"CPU": 1}]),
        on_error=lambda _, error: told.append(error),
    )
    while not manager.is_actor_started(actor):
        assert manager.next(timeout=60)
    manager._actor_task_failed(
        tracked_actor_task=TrackedActorTask(actor), exception=OutOfMemoryError("memory ran low")
    )
    (error,) = told
    assert isinstance(error, RayActorError)
    assert str(error) == "memory ran low"
