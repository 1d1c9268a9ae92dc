"""The example for the first ten minutes runs, with small numbers."""

from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "scripts/examples/first_steps.py"


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.usefixtures("one_slot")
def test_first_steps_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ray_cluster: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = EXAMPLE.read_text()
    for large, small in (
        ("EPOCHS, STUDY = 16, 6,", "EPOCHS, STUDY = 4, 1,"),
        ('{"epochs": EPOCHS}', '{"epochs": EPOCHS, "min_examples": 1, "max_examples": 20}'),
    ):
        assert large in text
        text = text.replace(large, small)
    names: dict[str, Any] = {}
    exec(compile(text, str(EXAMPLE), "exec"), names)
    assert len(names["study"].trial_list) == 8
    said = capsys.readouterr().out
    assert "best: {'rate'" in said
    assert (tmp_path / "studies/first-steps/report.html").is_file()
    assert (tmp_path / "runs/first-steps/last/checkpoint.json").is_file()
