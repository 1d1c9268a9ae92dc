"""Files are replaced as a whole."""

from pathlib import Path

import pytest

from raytune_yesno.files.atomic import replace_file


def write_half(file: Path) -> None:
    with replace_file(file) as part:
        part.write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    for text in ("first", "second"):
        with replace_file(file) as part:
            part.write_text(text)
        assert file.read_text() == text
    with pytest.raises(RuntimeError):
        write_half(file)
    assert file.read_text() == "second"
    assert list(tmp_path.iterdir()) == [file]
