"""Errors that stop the work contain the command that resumes it."""

import os
from pathlib import Path

import pytest

from raytune_yesno.commands.common import with_resume_hint
from raytune_yesno.errors import Interrupted, WorkError


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    file = tmp_path / "study.jsonl"
    file.touch()
    return file


def test_an_unwritable_file_is_named_with_the_resume_command(study_file: Path) -> None:
    missing = study_file.parent / "gone" / "file"
    with pytest.raises(WorkError) as caught, with_resume_hint("tune", study_file):
        missing.write_text("")
    assert str(caught.value).startswith(f"{missing}: {os.strerror(2)}; ")
    assert str(caught.value).endswith(f"raytune-yesno tune --resume {study_file.parent}")


def test_work_that_has_not_started_has_no_resume_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), with_resume_hint("tune", tmp_path / "study.jsonl"):
        (tmp_path / "gone" / "file").write_text("")


def test_an_interruption_under_another_error_has_a_resume_command(study_file: Path) -> None:
    with pytest.raises(Interrupted) as caught, with_resume_hint("tune", study_file):
        stop_in_compiled_code()
    assert caught.value.resume == f"raytune-yesno tune --resume {study_file.parent}"


def stop_in_compiled_code() -> None:
    try:
        raise Interrupted(2)
    except Interrupted:
        raise SystemError("returned a result with an exception set") from None
