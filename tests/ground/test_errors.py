"""What a person is told when something stops the work."""

import os
from pathlib import Path

import pytest

from raytune_yesno.commands.common import telling_way_on
from raytune_yesno.errors import Interrupted, WorkError


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    file = tmp_path / "study.jsonl"
    file.touch()
    return file


def test_a_file_that_cannot_be_written_is_named_with_the_way_on(begun: Path) -> None:
    missing = begun.parent / "gone" / "file"
    with pytest.raises(WorkError) as told, telling_way_on("tune", begun):
        missing.write_text("")
    assert str(told.value).startswith(f"{missing}: {os.strerror(2)}; ")
    assert str(told.value).endswith(f"raytune-yesno tune --resume {begun.parent}")


def test_work_that_has_not_begun_has_no_way_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), telling_way_on("tune", tmp_path / "study.jsonl"):
        (tmp_path / "gone" / "file").write_text("")


def test_an_interruption_under_another_error_has_a_way_on(begun: Path) -> None:
    with pytest.raises(Interrupted) as told, telling_way_on("tune", begun):
        stop_in_compiled_code()
    assert told.value.resume == f"raytune-yesno tune --resume {begun.parent}"


def stop_in_compiled_code() -> None:
    try:
        raise Interrupted(2)
    except Interrupted:
        raise SystemError("returned a result with an exception set") from None
