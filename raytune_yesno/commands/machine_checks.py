"""The checks of ``doctor`` on this machine: CPUs, memory, GPUs, disks, limits, temporary folder."""

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator

from raytune_yesno.commands.doctor_checks import Check
from raytune_yesno.cpus import count_cpus

_MIN_MEMORY = 2e9  # bytes: the driver and two trial processes
_MIN_DISK = 2e9  # bytes: Ray's logs and spilled objects, and the checkpoints of running trials
_MIN_FILES = 4096  # Ray opens sockets and pipes for each worker
_MAX_FULL = 0.95  # Ray refuses to write to a disk that is fuller


def examine_hardware() -> Iterator[Check]:
    """Yield what this machine offers to a study, and what would stop one."""
    import psutil

    usable, all_cpus = count_cpus(), os.cpu_count() or 1
    part = "" if usable == all_cpus else f" of {all_cpus}"
    yield Check("CPUs", "ok", f"{usable}{part} usable")
    memory = psutil.virtual_memory()
    said = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB available"
    if memory.available < _MIN_MEMORY:
        yield Check("memory", "warn", said, "end other programs, or run fewer trials at a time")
    else:
        yield Check("memory", "ok", said)
    yield _examine_gpus()
    yield from _examine_disks()
    yield _examine_limits()
    yield _examine_temp_folder()


def _examine_gpus() -> Check:
    import torch

    if not torch.accelerator.is_available():
        return Check("GPUs", "ok", "none; everything runs on CPUs")
    kind = torch.accelerator.current_accelerator()
    return Check("GPUs", "ok", f"{torch.accelerator.device_count()} ({kind})")


def _examine_disks() -> Iterator[Check]:
    """Check the temporary folder, which Ray writes to, and shared memory, which holds objects."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    disk = shutil.disk_usage(folder)
    said = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB free in {folder}"
    if disk.free < _MIN_DISK or disk.used > _MAX_FULL * disk.total:
        todo = "free some space, or set RAY_TMPDIR to a folder on another disk"
        yield Check("disk", "warn", said, todo)
    else:
        yield Check("disk", "ok", said)
    shared = "/dev/shm"  # noqa: S108 - read only
    if not os.path.isdir(shared):
        return
    usage = shutil.disk_usage(shared)
    said = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free in {shared}"
    if usage.free < _MIN_DISK / 10:
        todo = "Ray's objects go to the disk and slow down; in a container: --shm-size=2g"
        yield Check("shared memory", "warn", said, todo)
    else:
        yield Check("shared memory", "ok", said)


def _examine_limits() -> Check:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # Ray raises the soft limit itself
    found = [
        (f"at most {files} open files", f"ulimit -Hn {_MIN_FILES}")
        if 0 <= files < _MIN_FILES
        else None,
        *(
            (f"at most {limit / 1e9:.1f} GB of {what}", f"ulimit {flag} unlimited")
            if (limit := resource.getrlimit(number)[0]) != resource.RLIM_INFINITY
            else None
            for number, what, flag in (
                (resource.RLIMIT_AS, "address space", "-v"),
                (resource.RLIMIT_FSIZE, "a file", "-f"),
            )
        ),
    ]
    if limits := [limit for limit in found if limit]:
        said = ", ".join(limit for limit, _ in limits)
        return Check("limits", "warn", said, "; ".join(todo for _, todo in limits))
    return Check("limits", "ok", "enough open files; no limit of memory or file size")


def _examine_temp_folder() -> Check:
    from raytune_yesno.cluster.temp_folder import MAX_PATH_BYTES

    name = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    folder = os.path.abspath(os.environ.get(name) or tempfile.gettempdir())
    length = len(os.fsencode(folder)) + len("/ray")
    if not os.access(folder, os.W_OK):
        todo = "set RAY_TMPDIR to a folder that you can write to"
        return Check("temporary folder", "problem", f"{folder} is not writable", todo)
    if length > MAX_PATH_BYTES:
        said = f"{folder} is too long for Ray's sockets; a short link to it is used"
        return Check("temporary folder", "ok", said)
    return Check("temporary folder", "ok", folder)
