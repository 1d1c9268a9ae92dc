"""Why a trial failed: each cause has its own number of restarts.

================ ======================================================== =====================
cause            how it shows                                             restarts
================ ======================================================== =====================
lost node        its node died, was drained or was taken away             unlimited
lost process     its process died, or its ranks lost their connection     three
storage          a file could not be read or written                      three
out of memory    Ray or the system killed it, or an allocation failed     one, alone
user error       the task's own code raised                               none
================ ======================================================== =====================
"""

import math
import re
from dataclasses import dataclass

import torch
from ray.exceptions import NodeDiedError, RayError, RayTaskError
from ray.exceptions import OutOfMemoryError as RayOutOfMemoryError

from raytune_yesno.errors import InputError, UnfinishedError
from raytune_yesno.text import last_line
from raytune_yesno.training.lost_processes import is_lost_connection
from raytune_yesno.user_code import TaskError

LOST_NODE, LOST_PROCESS, STORAGE = "lost node", "lost process", "storage"
OUT_OF_MEMORY, USER_ERROR = "out of memory", "user error"

MAX_RESTARTS = {LOST_NODE: math.inf, OUT_OF_MEMORY: 1, USER_ERROR: 0}
"""The most restarts of a trial for each cause that has its own limit.

For every other cause there are as many as ``MAX_TRIAL_RESTARTS`` of :mod:`raytune_yesno.tuning.run`
says.
"""

_NODE_DIED = ("node has died", "node died", "node was terminated")
_SIZE = re.compile(r"\d ?([KMGT]i?B|bytes)\b")
_NO_MEMORY = ("memoryerror", "can't allocate memory", "out of memory", "running low on memory")


@dataclass(frozen=True)
class Failure:
    """A failure of a trial.

    Attributes:
        cause: a cause of the table above.
        text: what happened, in one line.
    """

    cause: str
    text: str


def classify(error: BaseException) -> Failure:
    """Return the cause of a trial's failure from the exception that Ray raised."""
    root = error.as_instanceof_cause() if isinstance(error, RayTaskError) else error
    cause = getattr(root, "cause", None)  # Ray wraps the task's exception
    root = cause if isinstance(cause, BaseException) else root
    text = last_line(str(root)) or type(root).__name__
    whole = str(root).lower()
    if isinstance(root, MemoryError | RayOutOfMemoryError | torch.OutOfMemoryError) or any(
        words in whole for words in _NO_MEMORY
    ):
        sizes = (line for line in str(root).splitlines() if _SIZE.search(line))
        return Failure(OUT_OF_MEMORY, next(sizes, text).strip())
    if isinstance(root, TaskError):  # whatever its text mentions
        return Failure(USER_ERROR, text)
    is_of_ray = isinstance(root, RayError)  # another error may mention anything
    says_so = is_of_ray and any(words in whole for words in _NODE_DIED)
    if isinstance(root, NodeDiedError) or says_so:
        return Failure(LOST_NODE, text)
    if is_of_ray or is_lost_connection(root):
        return Failure(LOST_PROCESS, text)
    if isinstance(root, OSError | InputError | UnfinishedError):
        return Failure(STORAGE, text)
    return Failure(USER_ERROR, text)
