"""Whether a folder has room is found without holding that many bytes in memory."""

import errno
import os
import tracemalloc
from pathlib import Path

import pytest

from raytune_yesno.files.full_disk import find_obstacle

SIZE = 64 << 20


@pytest.mark.parametrize("reserves", [True, False], ids=["reserved", "written"])
def test_room_is_found_in_little_memory(
    reserves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not reserves:  # as on macOS
        monkeypatch.delattr(os, "posix_fallocate")
    tracemalloc.start()
    try:
        assert find_obstacle(tmp_path, SIZE) is None
        assert tracemalloc.get_traced_memory()[1] < SIZE / 8
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_obstacle(tmp_path: Path) -> None:
    obstacle = find_obstacle(tmp_path / "away", 1)
    assert obstacle
    assert obstacle.errno == errno.ENOENT
