"""That what a step frees is there for the next one."""

import os
import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, torch
from raytune_yesno.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
for _ in range(20):
    before = faults()
    a, b = torch.zeros(4_000_000), torch.zeros(2_000_000)
    a += 1
    b += 1
    del a, b
    last = faults() - before
print(last)
"""
_PAGES = 24_000_000 // 4096


def _count_faults(**environment: str) -> int:
    """Return the pages that the kernel hands out for two tensors of 24 MB, the twentieth time."""
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_taken_again_unless_the_environment_says_otherwise() -> None:
    assert _count_faults() < _PAGES // 100
    assert _count_faults(MALLOC_TRIM_THRESHOLD_="0") > _PAGES // 2
