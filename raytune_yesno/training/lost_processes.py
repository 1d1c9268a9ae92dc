"""Lost processes: how an error shows one, and how many a training run survives."""

import re

import torch.distributed as dist
from ray.exceptions import RayError

MAX_LOSSES = 3
"""The most restarts of a training run in a row, without an epoch between them."""

_GLOO = re.compile("gloo/gloo/|Gloo connectFullMesh")  # its sources, which its errors name


def is_lost_connection(error: BaseException) -> bool:
    """Return whether a collective failed, which means that another rank has failed."""
    is_of_gloo = isinstance(error, RuntimeError) and _GLOO.search(str(error))
    return isinstance(error, dist.DistError) or bool(is_of_gloo)


def is_lost(error: BaseException) -> bool:
    """Return whether an error is Ray's, or of a connection between ranks."""
    return isinstance(error, RayError) or is_lost_connection(error)
