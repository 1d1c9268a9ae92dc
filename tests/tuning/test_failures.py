"""Failures by cause."""

from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError, NodeDiedError, RayTaskError
from torch.distributed import DistError

from raytune_yesno.errors import InputError, UnfinishedError
from raytune_yesno.tuning.controller import ActorLost
from raytune_yesno.tuning.failures import (
    LOST_NODE,
    LOST_PROCESS,
    OUT_OF_MEMORY,
    STORAGE,
    USER_ERROR,
    classify,
)
from raytune_yesno.user_code import TaskError

# The message of Ray's memory monitor.
KILLED = (
    "Task was killed due to the node running low on memory.\n"
    "Memory on the node (IP: 192.0.2.1, ID: ab) where the task was running was "
    "7.61GB / 8.00GB (0.951), which exceeds the memory usage threshold of 0.95.\n"
    "To adjust the threshold, set RAY_memory_usage_threshold."
)
ALLOCATION = "[enforce fail] DefaultCPUAllocator: can't allocate memory: 4000000000000 bytes."


def raised(error: Exception) -> Any:
    """Return an exception as Ray raises it for a task that raised ``error``."""
    return RayTaskError("train", f"Traceback\n{type(error).__name__}: {error}", error)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (raised(ValueError("bad shape")), USER_ERROR),
        (raised(RuntimeError("mat1 and mat2 cannot be multiplied")), USER_ERROR),
        (raised(RuntimeError("igloo: the node died")), USER_ERROR),
        (raised(TaskError("RuntimeError: gloo, the node has died")), USER_ERROR),
        (raised(RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:9]")), LOST_PROCESS),
        (raised(MemoryError()), OUT_OF_MEMORY),
        (raised(RuntimeError(ALLOCATION)), OUT_OF_MEMORY),
        (raised(torch.OutOfMemoryError("CUDA out of memory. Tried 20.00 GiB")), OUT_OF_MEMORY),
        (ActorLost(KILLED), OUT_OF_MEMORY),
        (ActorLost("The actor died because its node has died."), LOST_NODE),
        (NodeDiedError("unreachable"), LOST_NODE),
        (ActorDiedError(), LOST_PROCESS),
        (raised(ActorDiedError()), LOST_PROCESS),
        (raised(DistError("a rank left")), LOST_PROCESS),
        (raised(OSError(28, "No space left on device")), STORAGE),
        (raised(InputError("s3://b/x: cannot be read")), STORAGE),
        (raised(UnfinishedError("save: /tmp cannot be written")), STORAGE),
    ],
)
def test_the_cause_is_found(error: Exception, cause: str) -> None:
    assert classify(error).cause == cause


@pytest.mark.parametrize(
    ("error", "numbers"),
    [
        (ActorLost(KILLED), "7.61GB / 8.00GB"),
        (raised(RuntimeError(ALLOCATION)), "4000000000000 bytes"),
        (raised(torch.OutOfMemoryError("CUDA out of memory. Tried 20.00 GiB")), "20.00 GiB"),
    ],
)
def test_the_numbers_of_a_lack_of_memory_are_kept(error: Exception, numbers: str) -> None:
    assert numbers in classify(error).text
