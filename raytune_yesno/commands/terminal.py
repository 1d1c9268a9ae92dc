"""Standard streams that are closed, full, or without a reader, and do not end the work."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from raytune_yesno.errors import WorkError

_GONE = (errno.EIO, errno.EPIPE, errno.EBADF)  # a terminal that was closed, a pipe without a reader


class ReaderGone(Exception):
    """Nobody reads the results any more: the other end of standard output's pipe is closed."""


class LastingStream:
    """A stream whose failures do not end the work.

    What a stream without a reader is sent from then on is discarded, also what compiled code sends.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._lasting():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lasting():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._bear(error)

    def _bear(self, error: OSError) -> None:
        if error.errno in _GONE:
            discard(self._stream)


class ResultStream(LastingStream):
    """The stream of results. Only the loss of its terminal is borne in silence."""

    def _bear(self, error: OSError) -> None:
        """Handle an error.

        Raises:
            ReaderGone: the reader of a pipe has gone.
            WorkError: the results cannot be written.
        """
        discard(self._stream)
        if error.errno == errno.EPIPE:
            raise ReaderGone from None
        if error.errno != errno.EIO:
            raise WorkError(f"standard output: cannot be written ({error.strerror})") from None


def discard(stream: TextIO) -> None:
    """Let a stream end nowhere, with what it still holds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def open_closed_streams() -> None:
    """Open what is closed of standard input, output and error, and let all text be written.

    Otherwise the next file that is opened would get its number, and with it what is printed.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the least number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a locale may lack a letter


@contextlib.contextmanager
def lasting_stderr() -> Iterator[None]:
    """Let standard error be a stream whose failures do not end the work."""
    before = sys.stderr
    sys.stderr = cast(TextIO, LastingStream(before))
    try:
        yield
    finally:
        sys.stderr = before
        try:
            before.flush()
        except OSError:  # a full disk: otherwise Python would fail when it ends
            discard(before)


@contextlib.contextmanager
def flushed_stdout() -> Iterator[None]:
    """Write what is printed meanwhile, and raise what :class:`ResultStream` raises."""
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
    """Give the standard output to results alone; what else is printed goes to standard error.

    Libraries print to file descriptor 1 at times, and a program that reads our last line should
    not have to know.
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
