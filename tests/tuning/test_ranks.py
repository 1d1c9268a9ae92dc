"""The process group of a trial's ranks."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import ray
import torch
import torch.distributed as dist
from helpers.processes import outlive
from ray.exceptions import RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raytune_yesno.config import Config, build_config
from raytune_yesno.tuning.ranks import RankGroup, open_store, replicate


def test_the_store_is_reached_at_the_nodes_address_alone() -> None:
    store = open_store("127.0.0.1", world_size=2)
    with socket.create_connection(("127.0.0.1", store.port), timeout=5):
        pass
    # Another address of the same node. A store on all interfaces would answer here as well.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", store.port), timeout=5)


@dataclass
class FailingOnOne:
    """A payload whose ranks train one step per epoch; one of them fails in the second."""

    failing: int
    config: Config = field(default_factory=lambda: build_config({"num_workers": 3}))

    def records(self, launch: Any, resume: Any) -> Iterator[int]:
        model = replicate(torch.device("cpu"))(torch.nn.Linear(2, 2))
        for epoch in range(1, 4):
            if epoch == 2 and dist.get_rank() == self.failing:
                raise ValueError(f"rank {self.failing} has had enough")
            model(torch.ones(1, 2)).sum().backward()
            yield epoch


def take_steps(payload: Any) -> list[int]:
    peers = RankGroup(payload)
    peers.begin({}, None)
    records = payload.records({}, None)
    return [peers.step(lambda: next(records)) for _ in range(3)]


@pytest.mark.parametrize("failing", [0, pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_rank_that_fails_is_heard_of_while_the_others_wait_for_it(
    failing: int, ray_cluster: str
) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not import tests
    group = placement_group([{"CPU": 1}] * 3)
    strategy = PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )
    try:
        # The process ends after one call, like that of a failed trial.
        once = ray.remote(max_calls=1, max_retries=0, num_cpus=1)(take_steps)
        steps = once.options(scheduling_strategy=strategy)
        # Otherwise the other ranks would wait for half an hour.
        with pytest.raises(RayTaskError, match=f"rank {failing} has had enough"):
            ray.get(steps.remote(FailingOnOne(failing)), timeout=120)
    finally:
        remove_placement_group(group)
    assert outlive("ray::RankActor") == []
