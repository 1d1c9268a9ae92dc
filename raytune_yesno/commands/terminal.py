"""Standard streams that keep the work going when they are closed, full or without a reader."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from raytune_yesno.errors import WorkError

_GONE = (errno.EIO, errno.EPIPE, errno.EBADF)  # a terminal that was closed, a pipe without a reader


_clear: list[Callable[[], None]] = []  # of the progress that a terminal shows, at most one


def own_terminal(clear: Callable[[], None]) -> None:
    """Clear the progress that another object shows; ``clear`` erases that of the caller."""
    if _clear != [clear]:
        clear_progress()
        _clear.append(clear)


def clear_progress() -> None:
    """Erase the progress on the terminal, before anything else is printed."""
    while _clear:
        _clear.pop()()


class ReaderGone(Exception):
    """The other end of the pipe at standard output was closed."""


class TolerantStream:
    """A stream whose write errors do not stop the work.

    Once its reader is gone, all further output is discarded, that of compiled code included.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; return its length even if it could not be written."""
        with self._tolerating():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream; ignore errors."""
        with self._tolerating():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _tolerating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._handle_error(error)

    def _handle_error(self, error: OSError) -> None:
        if error.errno in _GONE:
            discard(self._stream)


class ResultStream(TolerantStream):
    """The stream of results. Every error is raised, except the loss of its terminal."""

    def _handle_error(self, error: OSError) -> None:
        """Handle an error.

        Raises:
            ReaderGone: the reader of the pipe is gone.
            WorkError: the results cannot be written.
        """
        discard(self._stream)
        if error.errno == errno.EPIPE:
            raise ReaderGone from None
        if error.errno != errno.EIO:
            raise WorkError(f"standard output: cannot be written ({error.strerror})") from None


def discard(stream: TextIO) -> None:
    """Redirect a stream to the null device, with its buffered text."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def open_closed_streams() -> None:
    """Open closed standard streams on the null device, and escape characters they cannot encode.

    Otherwise the next opened file would get the number of the closed stream, and the printed text.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # the locale may not encode all characters


@contextlib.contextmanager
def tolerant_stderr() -> Iterator[None]:
    """Replace standard error by a :class:`TolerantStream`."""
    before = sys.stderr
    sys.stderr = cast(TextIO, TolerantStream(before))
    try:
        yield
    finally:
        sys.stderr = before
        try:
            before.flush()
        except OSError:  # a full disk; Python would fail at exit
            discard(before)


@contextlib.contextmanager
def flushed_stdout() -> Iterator[None]:
    """Replace standard output by a :class:`ResultStream`, and flush it at the end."""
    before = sys.stdout
    stream = ResultStream(before)
    sys.stdout = cast(TextIO, stream)
    try:
        yield
    finally:
        sys.stdout = before
        stream.flush()


@contextlib.contextmanager
def result_stream() -> Iterator[TextIO]:
    """Reserve standard output for results; all other output goes to standard error.

    Libraries sometimes print to file descriptor 1. Programs that read our results must not see it.

    Yields:
        The stream of results.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    results = os.fdopen(os.dup(kept), "w", encoding="utf-8", errors="backslashreplace")
    try:
        yield cast(TextIO, ResultStream(results))
    finally:
        with contextlib.suppress(OSError):
            results.close()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
