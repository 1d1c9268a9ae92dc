"""Whether an error says that another process was lost, and nothing about the task."""

import re

import torch.distributed as dist
from ray.exceptions import RayError

_GLOO = re.compile("gloo/gloo/|Gloo connectFullMesh")  # its sources, which its errors name


def is_lost_connection(error: BaseException) -> bool:
    """Return whether a collective failed, which means that another rank has failed."""
    is_of_gloo = isinstance(error, RuntimeError) and _GLOO.search(str(error))
    return isinstance(error, dist.DistError) or bool(is_of_gloo)


def is_lost(error: BaseException) -> bool:
    """Return whether an error is Ray's, or of a connection between ranks."""
    return isinstance(error, RayError) or is_lost_connection(error)
