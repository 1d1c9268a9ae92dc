"""A terminal that is closed while something is printed to it."""

import os
import pty

import pytest

from raytune_yesno.terminal import LastingStream


def test_a_stream_falls_silent_when_its_terminal_is_closed() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        lasting = LastingStream(stream)
        assert lasting.isatty()
        print("seen", file=lasting, flush=True)
        assert os.read(master, 100) == b"seen\r\n"
        os.close(master)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(slave, b"x")
        print("not seen", file=lasting, flush=True)
        print("nor this", file=lasting, flush=True)
        assert not lasting.isatty()


def test_a_stream_still_fails_for_other_causes() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    with pytest.raises(BrokenPipeError):
        print("x", file=LastingStream(stream), flush=True)
    with pytest.raises(BrokenPipeError):
        stream.close()
