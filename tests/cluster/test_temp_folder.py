"""The folder of Ray's session: a path short enough for its sockets."""

import os
import shutil
from pathlib import Path

import pytest

from raytune_yesno.cluster import temp_folder
from raytune_yesno.cluster.temp_folder import MAX_PATH_BYTES, short_temp_folder
from raytune_yesno.errors import InputError


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_long_path_gets_a_short_link(
    name: str, exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100) / "é"
    if exists:
        long.mkdir(parents=True)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(name, str(long))
    with short_temp_folder() as folder:
        assert folder is not None
        assert len(os.fsencode(folder)) <= MAX_PATH_BYTES
        Path(folder).mkdir()
        assert [path.name for path in long.iterdir()] == ["ray"]
    assert not Path(folder).parent.is_symlink()
    assert long.is_dir()


def test_a_short_path_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    with short_temp_folder() as folder:
        assert folder is None


def test_what_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file" / ("x" * 100)))
    with pytest.raises(InputError, match=r"RAY_TMPDIR: .* cannot be made"):
        short_temp_folder().__enter__()


def test_where_no_link_can_be_made_the_limit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temp_folder, "_SHORT", (str(tmp_path / "none"),))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 100)))
    with pytest.raises(InputError, match="too long for Ray's sockets; set RAY_TMPDIR"):
        short_temp_folder().__enter__()


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = temp_folder.MIN_FREE_BYTES - 1
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(InputError, match=r"RAY_TMPDIR: .* has 2\.0 MB free.* to a folder"):
        short_temp_folder().__enter__()
