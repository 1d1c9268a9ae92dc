"""The guide to several objectives: its Python blocks run."""

from pathlib import Path
from typing import Any

import pytest
from helpers.readme import read_blocks


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "one_slot")
def test_the_guide_to_objectives_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module, script = (
        block.text
        for block in read_blocks()
        if block.document == "docs/objectives.md" and block.language == "python"
    )
    Path("tradeoff.py").write_text(module)
    names: dict[str, Any] = {}
    script = script.replace("trials=24", "trials=6, quiet=True")
    exec(compile(script, "objectives.md", "exec"), names)
    assert names["study"].best in names["study"].front
