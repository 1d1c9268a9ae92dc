"""What the first and the second signal that asks to stop do, and what is left behind."""

import signal
import subprocess
import sys
import threading

import pytest

from raytune_yesno import cli
from raytune_yesno.signals import HANGUP_SIGNALS, STOP_SIGNALS, stop_signals


def find_handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOP_SIGNALS]


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_the_first_signal_is_handled_and_the_handlers_are_restored(signum: int) -> None:
    before, got = find_handlers(), list[int]()
    with stop_signals(got.append):
        signal.raise_signal(signum)
        assert got == [signum]
        assert find_handlers() == [signal.SIG_DFL, signal.SIG_DFL]
    assert find_handlers() == before


def test_a_second_signal_may_meet_the_handlers_of_before() -> None:
    outer, inner = list[int](), list[int]()
    with stop_signals(outer.append):
        with stop_signals(inner.append, second_ends=False):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        assert (inner, outer) == ([signal.SIGTERM], [signal.SIGINT])
        assert find_handlers() == [signal.SIG_DFL, signal.SIG_DFL]  # a third one ends the process


def test_a_terminal_that_closes_twice_does_not_break_off_the_end() -> None:
    ours, got = signal.signal(signal.SIGHUP, signal.SIG_DFL), list[int]()
    try:
        with stop_signals(got.append, numbers=HANGUP_SIGNALS):
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
        assert got == [signal.SIGHUP]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, ours)


def test_an_exception_of_the_handler_restores_them_too() -> None:
    def stop(signum: int) -> None:
        raise ValueError

    before = find_handlers()
    with pytest.raises(ValueError), stop_signals(stop):  # noqa: PT011
        signal.raise_signal(signal.SIGINT)
    assert find_handlers() == before


def test_a_command_leaves_the_handlers_of_its_caller(capfd: pytest.CaptureFixture[str]) -> None:
    before, codes = find_handlers(), list[int]()
    assert cli.main(["completion", "bash"]) == 0
    assert find_handlers() == before
    thread = threading.Thread(target=lambda: codes.append(cli.main(["completion", "bash"])))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_second_signal_ends_a_program_at_once() -> None:
    code = (
        "import signal\nfrom raytune_yesno.signals import stop_signals\n"
        "with stop_signals(print):\n"
        "    signal.raise_signal(signal.SIGTERM)\n    signal.raise_signal(signal.SIGINT)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGINT
