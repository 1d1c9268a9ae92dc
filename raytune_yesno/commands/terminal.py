"""Streams that outlive their terminal."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class LastingStream:
    """A stream that falls silent, as a whole, when its terminal is closed.

    Work that goes on without a terminal, under `nohup` say, is not to end for what it cannot show.
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
            if error.errno != errno.EIO:
                raise
            # For compiled code, too, and for what the stream still holds.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def make_lasting(stream: TextIO) -> TextIO:
    """Return such a stream where it is a terminal, else the stream itself."""
    return cast(TextIO, LastingStream(stream)) if stream.isatty() else stream


@contextlib.contextmanager
def lasting_stderr() -> Iterator[None]:
    """Let standard error be such a stream, where it is a terminal."""
    before = sys.stderr
    sys.stderr = make_lasting(before)
    try:
        yield
    finally:
        sys.stderr = before
