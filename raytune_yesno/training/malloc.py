"""What the C library does with memory that is freed."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's parameters, from glibc's malloc.h
_KEPT_BYTES = 1 << 30
_LARGEST_BYTES = 32 << 20  # glibc takes no more

ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
"""What the environment of a process says whose training does not run on its first thread.

Left alone glibc gives other threads memory in pieces of 64 MB, and gives those back whatever
:func:`keep_freed_memory` says: 2 to 3 % of an epoch.
"""


def keep_freed_memory() -> None:
    """Have glibc keep what a step frees, for the next step.

    Left alone it gives tensors of megabytes back to the kernel, and the kernel fills them with
    zeros when they are wanted again: on one thread up to a quarter of an epoch. A process does not
    grow by it: it holds its peak, which it comes to at every step.

    Where the environment sets glibc's own variables, they stand; other C libraries are left alone.
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
