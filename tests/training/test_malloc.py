"""Memory freed by a step is kept for the next step."""

import os
import platform
import subprocess
import sys

import pytest

from raytune_yesno.training.malloc import ONE_ARENA

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the C library is not glibc"
)

_FAULTS = """
import resource, sys, threading, torch
from raytune_yesno.training.malloc import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def take_and_free():
    keep_freed_memory()
    sizes = torch.Generator().manual_seed(0)
    for step in range(60):
        if step == 30:
            before = faults()
        taken = [torch.ones(n) for n in torch.randint(7_000_000, (8,), generator=sizes).tolist()]
        del taken
    print(faults() - before)

if sys.argv[1:] == ["on a thread"]:
    thread = threading.Thread(target=take_and_free)
    thread.start()
    thread.join()
else:
    take_and_free()
"""
_PAGES = 30 * 8 * 3_500_000 * 4 // 4096


def _count_faults(*arguments: str, **environment: str) -> int:
    """Return the number of page faults in thirty steps with eight tensors of up to 28 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.long
def test_freed_memory_is_taken_again_unless_the_environment_says_otherwise() -> None:
    assert _count_faults() < _PAGES // 100
    assert _count_faults(MALLOC_TRIM_THRESHOLD_="0") > _PAGES // 2


@pytest.mark.long
def test_on_a_thread_freed_memory_is_taken_again_where_there_is_one_arena() -> None:
    assert _count_faults("on a thread", **ONE_ARENA) < _PAGES // 100
    assert _count_faults("on a thread") > _PAGES // 50
