"""The examples in docstrings are true."""

import doctest
import importlib

import pytest

MODULES = (
    "config",
    "metrics",
    "registry",
    "search",
    "search.algorithm",
    "search.observation",
    "space",
    "space.choice",
    "space.constraints",
    "space.numeric",
    "space.text_form",
)


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples_are_true(module: str) -> None:
    found = importlib.import_module(f"raytune_yesno.{module}")
    failed, attempted = doctest.testmod(found)
    assert attempted
    assert not failed
