"""Run a command in the process of the tests."""

import signal
from collections.abc import Callable, Iterator

import pytest
from helpers.commands import Ended

from raytune_yesno import cli


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    """Return what runs a command; its signal handlers are removed afterwards."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def run_command(*arguments: str) -> Ended:
        try:
            code = cli.main(arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Ended(code, *capfd.readouterr())

    yield run_command
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
