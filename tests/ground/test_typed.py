"""What type checkers and completion know of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

import raytune_yesno

USE = """\
import raytune_yesno
from raytune_yesno import tune
from raytune_yesno.space import Float

def objective(config: dict[str, float]) -> dict[str, float]:
    return {"accuracy": config["x"]}

space = {"x": Float(0, 1)}
study = raytune_yesno.tune(objective, space, metric="accuracy", trials=16)
reveal_type(study)
tune(objective, space, trials="many")
raytune_yesno.tun(objective)
"""


def test_the_function_is_listed_before_it_is_imported() -> None:
    assert {"tune", "__version__"} <= set(dir(raytune_yesno))
    assert callable(raytune_yesno.tune)


@pytest.mark.long
def test_mypy_knows_the_signature_of_tune(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(USE)
    options = ("--follow-imports=silent", f"--cache-dir={tmp_path}/cache", "--no-error-summary")
    command = [sys.executable, "-m", "mypy", "--config-file=", *options, str(tmp_path / "use.py")]
    # Where the package is found: mypy does not know the import hook of an editable installation.
    root = Path(raytune_yesno.__file__).parents[1]
    said = subprocess.run(command, capture_output=True, text=True, cwd=root).stdout.splitlines()
    assert [line.partition(" ")[0].rsplit(":", 2)[1] for line in said] == ["10", "11", "12"]
    assert 'Revealed type is "raytune_yesno.study.study.Study"' in said[0]
    assert "has no attribute" in said[2]
