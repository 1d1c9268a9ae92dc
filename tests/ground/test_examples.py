"""The examples in docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest

import raytune_yesno

PACKAGE = Path(raytune_yesno.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if any(">>>" in line and "+SKIP" not in line for line in path.read_text().splitlines())
)


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples_are_true(module: str) -> None:
    found = importlib.import_module(module)
    failed, attempted = doctest.testmod(found)
    assert attempted
    assert not failed
