"""Checkpoints at a URI, which are read from a temporary copy."""

from pathlib import Path

import pytest

from raytune_yesno.checkpoint import DESCRIPTION
from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.training.resume import find_latest


def test_an_error_names_the_uri_and_not_the_copy(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / DESCRIPTION).write_text("damaged")
    uri = tmp_path.as_uri()
    with pytest.raises(InputError, match=f"^{uri}: no checkpoint.*{uri}/best"):
        Recognizer.load(uri)
    with pytest.raises(InputError, match=f"^{uri}/best: the checkpoint is damaged"):
        Recognizer.load(f"{uri}/best")


def test_a_trial_is_told_the_uri_of_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text("damaged")
    checkpoint, damage = find_latest([tmp_path.as_uri()])
    assert checkpoint is None
    assert damage is not None
    assert damage.startswith(f"{tmp_path.as_uri()}: the checkpoint is damaged")
