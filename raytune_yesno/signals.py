"""The signals that ask a program to stop."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
HANGUP_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP)
"""With the one that a closed terminal sends; under ``nohup`` it is ignored."""


@contextlib.contextmanager
def stop_signals(
    handle: Callable[[int], object],
    *,
    second_ends: bool = True,
    numbers: Sequence[int] = STOP_SIGNALS,
) -> Iterator[None]:
    """Call a function at the first of some signals; at the end, restore the handlers of before.

    Outside the main thread, which alone receives signals, this does nothing.

    Args:
        handle: called with the number of the signal; it may raise an exception.
        second_ends: whether a second signal, other than SIGHUP, ends the process at once; otherwise
            it meets the handlers of before.
        numbers: the signals. SIGHUP stays ignored where it is.
    """
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        before.clear()  # the end of the block must not restore them once more

    def stop(signum: int, frame: object) -> None:
        if second_ends:
            end_at_signals()
            if signal.SIGHUP in before:  # a terminal that closes may send two
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
        else:
            restore()
        handle(signum)

    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def end_at_signals() -> None:
    """Let the next SIGINT or SIGTERM end the process at once."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
