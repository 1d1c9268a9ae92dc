"""Run a command in the process of the tests."""

from collections.abc import Callable

import pytest
from helpers.commands import Ended

from raytune_yesno import cli


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Return what runs a command."""

    def run_command(*arguments: str) -> Ended:
        try:
            code = cli.main(arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Ended(code, *capfd.readouterr())

    return run_command
